"""The process that writes: pipes to files, index, rotation."""
