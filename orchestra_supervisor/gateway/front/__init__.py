"""The front of the gateway: both eras of MCP, over HTTP and over the socket of the shim."""
