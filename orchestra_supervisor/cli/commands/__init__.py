"""One module a command (or a family of like ones): `configure(parser)` and `run(options) -> exit status`."""
