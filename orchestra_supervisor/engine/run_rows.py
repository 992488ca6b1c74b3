"""The journal's ledger of runs: how a next fleet knows what a killed one left."""

from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.journal.records import AnyJournal, RunRow
from orchestra_supervisor.process.identity import boot_id
from orchestra_supervisor.process.orders import RunNews
from orchestra_supervisor.rules.inputs import Gone, Spawned

__all__ = ["note_run"]


def note_run(journal: AnyJournal, clock: Clock, news: RunNews) -> None:
    """Write down that a run has begun, or that nothing of it is left; else nothing."""
    match news.input:
        case Spawned() as run:
            row = RunRow(run.run, news.slot, run.pid, run.start_ticks, boot_id(), run.started_wall)
            journal.run_started(row)
        case Gone(run):
            journal.run_ended(run, clock.wall(), "")
        case _:
            pass
