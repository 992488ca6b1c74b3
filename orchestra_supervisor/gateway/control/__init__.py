"""The control endpoint: the tools, resources and prompts with which the fleet is operated over MCP."""
