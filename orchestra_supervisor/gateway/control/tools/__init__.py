"""The tools of the control endpoint, one module each."""
