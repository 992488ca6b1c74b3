"""What a rolling update holds back, and how far a roll has brought it."""

from dataclasses import replace

from orchestra_supervisor.model.replicas import GroupSpec, ReplicaSpec
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.model.states import Desired
from orchestra_supervisor.rules.rolling import Roll, Turn
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.rules.updates import digest_of, fallbacks, groups_of, reached, staged
from tests.unit.rules.stage import spec_of


def fleet_of(word: str, count: int = 3, update: str = "rolling", title: str = "") -> Fleet:
    services = {
        f"web@{number}": spec_of(f"web@{number}").model_copy(
            update={
                "argv": (word,),
                "title": title,
                "replica": ReplicaSpec(group="web", number=number, count=count),
            }
        )
        for number in range(1, count + 1)
    }
    groups = {"web": GroupSpec.model_validate({"configured": count, "count": count, "update": update})}
    return Fleet(services=services, groups=groups)


OLD, NEW = fleet_of("old"), fleet_of("new")
UP = {name: Service(spec, desired=Desired.UP) for name, spec in OLD.services.items()}


def words(fleet: Fleet) -> list[str]:
    return [spec.argv[0] for spec in fleet.services.values()]


def test_replicas_stay_what_they_are_until_their_turn() -> None:
    fleet = staged(OLD, NEW, UP)
    assert words(fleet) == ["old", "old", "old"]
    assert fleet.coming == NEW.services
    assert groups_of(fleet) == {"web": ["web@1", "web@2", "web@3"]}


def test_nothing_is_held_back_where_all_change_at_once_or_live_or_are_down() -> None:
    for new in (fleet_of("new", update="all"), fleet_of("old", title="other")):
        assert staged(OLD, new, UP) is new
    down = {name: replace(one, desired=Desired.DOWN) for name, one in UP.items()}
    assert staged(OLD, NEW, down) is NEW


def test_new_replicas_come_at_once_and_the_number_holds_at_once() -> None:
    fleet = staged(OLD, fleet_of("new", count=4), UP)
    assert words(fleet) == ["old", "old", "old", "new"]
    assert {spec.replica.count for spec in fleet.services.values() if spec.replica} == {4}


def test_a_roll_has_brought_what_had_its_turn_unless_it_stopped_there() -> None:
    fleet = staged(OLD, NEW, UP)
    roll = Roll("web", "x", 1, ("web@3",), (Turn("web@2", "", 0.0, 1.0),), ("web@1",), update="d")
    assert words(reached(fleet, roll)) == ["new", "new", "old"]
    assert words(reached(fleet, replace(roll, failed="web@2"))) == ["new", "old", "old"]
    assert words(reached(fleet, replace(roll, update=""))) == ["old", "old", "old"]


def test_another_reload_of_the_same_files_goes_on_with_the_roll() -> None:
    fleet = staged(OLD, NEW, UP)
    halfway = reached(fleet, Roll("web", "x", 1, ("web@2", "web@3"), (), ("web@1",), update="d"))
    again = staged(halfway, NEW, UP)
    assert words(again) == ["new", "old", "old"]
    assert again.coming == NEW.services
    assert digest_of(again, "web") == digest_of(halfway, "web")


def test_another_configuration_begins_anew_from_what_is_there() -> None:
    halfway = reached(staged(OLD, NEW, UP), Roll("web", "x", 1, (), (), ("web@1",), update="d"))
    third = staged(halfway, fleet_of("third"), UP)
    assert words(third) == ["new", "old", "old"]
    assert digest_of(third, "web") != digest_of(halfway, "web")
    back = staged(halfway, OLD, UP)
    assert list(back.coming) == ["web@1"], "the others never left"


def test_what_is_kept_on_disk_is_what_replicas_fall_back_to() -> None:
    fleet = staged(OLD, NEW, UP)
    running = reached(fleet, Roll("web", "x", 1, (), (), ("web@1",), update="d"))
    assert fallbacks(running, running, OLD.services) == OLD.services
    assert fallbacks(staged(running, fleet_of("third"), UP), running, OLD.services) == {}


def test_a_digest_tells_configurations_apart_and_is_empty_where_nothing_comes() -> None:
    assert digest_of(OLD, "web") == ""
    fleet = staged(OLD, NEW, UP)
    assert len(digest_of(fleet, "web")) == 12
    assert digest_of(fleet, "web", is_update=False) == ""
