"""What all tests need: the signals that a terminal sends, in force."""

import signal

# A shell without job control starts what it puts in the background with SIGINT ignored, nohup with SIGHUP.
# All that a test starts would inherit that, and not be ended by Ctrl-C. What is handled here is back at its
# default there; a hangup has to leave us alone, as was asked for.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
