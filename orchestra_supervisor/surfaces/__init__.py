"""Views of control for the outside: the HTTP API."""
