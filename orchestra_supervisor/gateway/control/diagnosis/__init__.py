"""What is wrong with a service: facts in, ranked causes out; nothing here asks anybody."""
