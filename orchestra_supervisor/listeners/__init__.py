"""Event listeners of supervisord, run unmodified: our events in its words, over its protocol."""
