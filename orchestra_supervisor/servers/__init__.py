"""The embedded backend, context and memory servers: services like any other."""
