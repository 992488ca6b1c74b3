"""The platform's HTTP API over SQLite: agents, their tasks, and a view of the fleet."""
