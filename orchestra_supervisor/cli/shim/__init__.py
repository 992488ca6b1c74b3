"""The pump that a client starts (`orchestra mcp`): standard input and output to the gateway's socket.

Standard library only, and of ours `unix_http`, `control_home` and `cli.holder`: for `python -I -S`.
"""
