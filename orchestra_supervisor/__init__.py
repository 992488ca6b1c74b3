"""Orchestra Supervisor: runs a host's AI backend, context and MCP servers and keeps them healthy."""
