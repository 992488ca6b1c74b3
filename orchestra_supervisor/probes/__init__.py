"""Checks of a service's health: http, tcp, grpc, a line of its log."""
