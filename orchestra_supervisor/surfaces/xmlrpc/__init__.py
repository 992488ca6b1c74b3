"""The XML-RPC interface of supervisord, as its clients find it: methods, faults, shapes and log tails."""
