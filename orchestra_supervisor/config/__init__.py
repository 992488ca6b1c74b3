"""Files in every dialect to one validated Fleet."""
