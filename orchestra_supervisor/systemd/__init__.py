"""Unit files: one that runs the fleet, or one for each of its services. Text only; nothing is started."""
