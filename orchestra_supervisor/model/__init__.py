"""Vocabulary shared by every floor: specs, states, reports, events, errors."""
