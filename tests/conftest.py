"""What all tests need: the signals that a terminal sends, and nobody who judges how long they took."""

import signal

from hypothesis import HealthCheck, settings

# In CI hypothesis has a profile of its own, which does not look at the clock either.
settings.register_profile("any weather", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if settings.get_current_profile_name() == "default":
    settings.load_profile("any weather")

# A shell without job control starts what it puts in the background with SIGINT ignored, nohup with SIGHUP.
# All that a test starts would inherit that, and not be ended by Ctrl-C. What is handled here is back at its
# default there; a hangup has to leave us alone, as was asked for.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
