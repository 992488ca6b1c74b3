"""Other tools' files rewritten into the native form, with a word on each value about where it came from."""
