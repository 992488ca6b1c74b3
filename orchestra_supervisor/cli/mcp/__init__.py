"""What a person does with MCP at a terminal: the clients' files, the bundle, tools, tokens."""
