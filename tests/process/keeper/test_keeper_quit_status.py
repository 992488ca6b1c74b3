"""What the daemon's side relies on beyond the verbs: the exit status, and answers that name their run."""

import signal

from tests.process.keeper_driver import spawn_message


def _finish(keeper, daemon, logger) -> int:
    logger.event("quit")
    logger.kill()
    daemon.is_closed()
    daemon.kill()
    return keeper.wait()


def test_the_daemons_word_decides_the_exit_status(keeper, daemon, logger):
    daemon.send({"type": "quit", "status": 3})
    assert _finish(keeper, daemon, logger) == 3


def test_a_status_out_of_range_is_refused_and_changes_nothing(keeper, daemon, logger):
    assert daemon.request({"type": "quit", "status": 256})["code"] == "bad_message"
    daemon.sync()
    daemon.send({"type": "quit"})
    assert _finish(keeper, daemon, logger) == 0


def test_a_refused_spawn_names_its_run_so_that_the_service_hears_of_it(daemon):
    daemon.request(spawn_message("a-1", "sleep", "100"))
    reply = daemon.request(spawn_message("a-2", "true", slot="a"))
    assert (reply["code"], reply["request"], reply["run"]) == ("slot_busy", "spawn", "a-2")


def test_a_stop_of_a_run_that_is_gone_already_is_done(keeper, daemon):
    daemon.request(spawn_message("a-1", "true"))
    daemon.event("gone", run="a-1")
    assert daemon.request({"type": "stop", "run": "a-1"})["type"] == "ok"
    assert daemon.request({"type": "stop", "run": "a-9"})["code"] == "no_such_run"
    keeper.signal(signal.SIGHUP)
    daemon.event("reload")
