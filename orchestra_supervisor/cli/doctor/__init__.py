"""What `orchestra doctor` looks at: the host, and the fleet on it."""
