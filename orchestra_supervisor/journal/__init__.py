"""The durable record of events, audit and desired state, in SQLite."""
