"""The contract for plugins, and their host."""
