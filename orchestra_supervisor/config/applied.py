"""The fleet as last applied, as text that the next daemon goes on with."""

from pydantic import ValidationError

from orchestra_supervisor.config.thrift import slim
from orchestra_supervisor.model.errors import ConfigError
from orchestra_supervisor.model.spec import Fleet

__all__ = ["dump_fleet", "parse_fleet"]


def dump_fleet(fleet: Fleet) -> str:
    """Return a fleet as JSON. It holds references to secrets, never their values."""
    return fleet.model_dump_json()


def parse_fleet(text: str) -> Fleet:
    """Return the fleet of a text that `dump_fleet` wrote.

    Raises:
        ConfigError: It is not such a text.
    """
    try:
        fleet = Fleet.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in fault["loc"])
        message = f"the applied fleet cannot be read: {place or 'text'}: {fault['msg']}"
        raise ConfigError(
            message, hint="apply the configuration files again: orchestra up", pointer=place
        ) from error
    for spec in (*fleet.services.values(), *fleet.coming.values()):
        slim(spec)
    return fleet
