"""The format of log segments and their index: written by the logger, read by everyone."""
