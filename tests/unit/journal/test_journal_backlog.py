from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.journal.backlog import Backlog
from orchestra_supervisor.journal.records import Hold, RunRow
from orchestra_supervisor.model.events import Event


def event(seq: int, kind: str = "service.ready") -> Event:
    return Event(kind, "", 0.0, seq=seq)


def test_the_oldest_event_makes_room_and_is_counted() -> None:
    backlog = Backlog(event_limit=3)
    for seq in range(1, 6):
        backlog.add(event(seq))
    assert [one.seq for one in backlog.pending()] == [3, 4, 5]
    assert backlog.take_dropped() == 2
    assert backlog.take_dropped() == 0


def test_a_newer_word_on_a_hold_wins_over_a_batch_that_came_back() -> None:
    backlog = Backlog()
    hold, row = Hold("web", 1.0, "me"), RunRow("web-1", "web", 1, 1, "b", 1.0)
    backlog.add_hold("web", hold)
    backlog.add_hold("db", hold)
    backlog.add_run(row)
    backlog.take()
    backlog.add_hold("web", None)
    backlog.put_back()
    batch = backlog.take()
    assert batch.holds == {"web": None, "db": hold}
    assert batch.runs == {"web-1": row}


@given(
    steps=st.lists(st.sampled_from(["event", "audit", "take", "done", "put_back"]), min_size=1, max_size=120)
)
def test_no_audit_is_lost_bounds_hold_and_every_drop_is_counted(steps: list[str]) -> None:
    backlog = Backlog(event_limit=5, audit_limit=1000)
    seq = written = 0
    taken: list[int] = []
    audits: set[int] = set()
    for step in steps:
        if step in {"event", "audit"}:
            seq += 1
            backlog.add(event(seq, "control.stop" if step == "audit" else "service.ready"))
            audits |= {seq} if step == "audit" else set()
        elif step == "take":
            if not taken:
                taken = [one.seq for one in backlog.take().events]
        elif step == "done":
            written += len(taken)
            audits -= set(taken)
            taken = []
            backlog.done()
        else:
            backlog.put_back()
            taken = []
    pending = [one.seq for one in backlog.pending()]
    assert len(pending) == len(set(pending))
    assert audits <= set(pending)
    assert written + len(pending) + backlog.dropped == seq
    waiting = [one for one in pending if one not in taken and one not in audits]
    assert len(waiting) <= 5
