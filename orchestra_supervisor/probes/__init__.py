"""Checks of a service's health: http, tcp, command."""
