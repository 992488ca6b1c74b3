"""The engine under a fake keeper and a virtual clock: random schedules, replayable from a seed."""
