"""What is behind the gateway: links to MCP servers, a task each, and the calls that go over them."""
