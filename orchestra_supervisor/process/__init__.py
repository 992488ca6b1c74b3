"""What the daemon knows of processes: the keeper client, leftovers, port owners."""
