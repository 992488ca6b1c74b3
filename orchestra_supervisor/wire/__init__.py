"""The byte protocol between keeper, logger and daemon: frames and passed file descriptors."""
