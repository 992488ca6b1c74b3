"""Fleets for the tests of the control endpoint: made, ended and looked after as those of `fleet` are."""

from tests.e2e.fleet.conftest import fleet, make_fleet, nothing_is_left

__all__ = ["fleet", "make_fleet", "nothing_is_left"]
