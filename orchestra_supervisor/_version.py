"""The version, readable without the cost of package metadata; a test holds it to pyproject.toml."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
