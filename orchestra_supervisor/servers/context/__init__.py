"""The context server: what is in a project tree, what has just changed, and where its git stands."""
