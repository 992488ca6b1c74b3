"""The memory server: an MCP server that remembers texts, and finds them by words and tags."""
