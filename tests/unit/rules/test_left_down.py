"""Which services a fresh start leaves down."""

from orchestra_supervisor.model.replicas import GroupSpec, ReplicaSpec
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.model.states import DownReason
from orchestra_supervisor.rules.left_down import left_down
from tests.unit.rules.stage import spec_of

FLEET = Fleet(
    services={
        spec.name: spec
        for spec in (
            spec_of("db"),
            spec_of("web", needs=["db"]),
            spec_of("off", enabled=False),
            spec_of("tool", start_on="demand"),
            spec_of("off-tool", start_on="demand", enabled=False),
            spec_of("pool@1", start_on="demand", replica=ReplicaSpec(group="pool", number=1, count=1)),
            spec_of("@gateway"),
        )
    },
    groups={
        "pool": GroupSpec(configured=1, count=1),
        "none": GroupSpec(configured=0, count=0),
    },
)
RESTING = {"tool": DownReason.DEMAND, "pool@1": DownReason.DEMAND}
OFF = {"off": DownReason.DISABLED, "off-tool": DownReason.DISABLED}


def test_a_start_of_everything_leaves_down_what_is_disabled_and_what_starts_on_demand() -> None:
    assert left_down(FLEET) == {**OFF, **RESTING}


def test_a_choice_is_one_among_what_starts_with_the_fleet() -> None:
    assert left_down(FLEET, ["web"]) == {
        **RESTING,
        "off": DownReason.NOT_SELECTED,
        "off-tool": DownReason.NOT_SELECTED,
    }
    assert left_down(FLEET, ["db"])["web"] is DownReason.NOT_SELECTED


def test_what_starts_on_demand_is_started_where_it_is_named_itself() -> None:
    down = left_down(FLEET, ["tool", "pool", "none"])
    assert {"tool", "pool@1", "@gateway"} & down.keys() == set()
    assert left_down(FLEET, ["t*", "all"])["tool"] is DownReason.DEMAND


def test_a_stop_by_hand_that_is_remembered_is_the_last_word() -> None:
    assert left_down(FLEET, held=["tool", "db", "gone"]) == {
        **OFF,
        "pool@1": DownReason.DEMAND,
        "tool": DownReason.OPERATOR,
        "db": DownReason.OPERATOR,
    }
