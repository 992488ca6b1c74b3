"""The gateway: the process that talks MCP, for the fleet's control tools and all servers behind it."""
