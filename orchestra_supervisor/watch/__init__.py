"""Files that are watched: which count, what may have changed, and what kept them from being watched."""
