"""A fleet as plain units, for those who go on without us: a unit for each service, and a target for all."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.systemd.service_unit import Place, Rendered, render_service
from orchestra_supervisor.systemd.syntax import UnitText

__all__ = ["Exported", "export_fleet"]

_EVERYWHERE = (
    "output goes to the journal (journalctl -u UNIT), not to files of its own",
    "nobody checks whether a service is ready or healthy; ready means that its program was executed",
    "restarts: no jitter, no immediate first one, no reset after a stable spell",
    "services get the environment of systemd (systemctl show-environment), not that of a shell",
    "a stop by hand lasts until the next boot, and is not journalled",
)


_SILENT = "it is an MCP server on its stdin and stdout, and nobody there would talk to it: no unit"
_LISTENER = "it is an event listener, and nobody there would tell it of events: no unit"


@dataclass(frozen=True, slots=True)
class Exported:
    """The files of a fleet.

    Attributes:
        files: Text by name.
        lost: What cannot be said, by service; that of all services under an empty name.
    """

    files: dict[str, str]
    lost: dict[str, tuple[str, ...]]


def export_fleet(fleet: Fleet, place: Place) -> Exported:
    """Return a fleet as units.

    Raises:
        ConfigError: A value cannot be written in a unit file at all.
    """
    silent = {name: (why,) for name, spec in fleet.services.items() if (why := _needs_us(spec))}
    units = {name: render_service(spec, place) for name, spec in fleet.services.items() if name not in silent}
    files = {name: text for unit in units.values() for name, text in unit.files.items()}
    files[f"{place.fleet}.target"] = _target(fleet, units, place)
    lost = silent | _lost(units)
    return Exported(files, {"": tuple(_lost_everywhere(fleet)), **lost})


def _target(fleet: Fleet, units: dict[str, Rendered], place: Place) -> str:
    unit = UnitText()
    unit.note("Made by `orchestra systemd export`.")
    unit.section("Unit")
    unit.set("Description", f"The services of the fleet {place.fleet}")
    for name, spec in fleet.services.items():
        if spec.enabled and name in units:
            for start in units[name].start:
                unit.set("Requires" if spec.required_for_system else "Wants", start)
    unit.section("Install")
    unit.set("WantedBy", "default.target" if place.is_user else "multi-user.target")
    return unit.render()


def _needs_us(spec: ServiceSpec) -> str:
    """Return why a service is nothing without who talks to it, or nothing."""
    if spec.supervisor is not None and spec.supervisor.kind == "eventlistener":
        return _LISTENER
    return _SILENT if spec.stdio else ""


def _lost(units: dict[str, Rendered]) -> dict[str, tuple[str, ...]]:
    return {name: unit.lost for name, unit in units.items() if unit.lost}


def _lost_everywhere(fleet: Fleet) -> Iterator[str]:
    yield from _EVERYWHERE
    if fleet.mcp.backends:
        yield f"{len(fleet.mcp.backends)} MCP servers behind one endpoint"
