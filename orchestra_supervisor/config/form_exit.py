"""The part of the native form that says when a fleet ends by itself."""

from pydantic import Field

from orchestra_supervisor.config.form_parts import Form
from orchestra_supervisor.config.values import Flag, ServiceName
from orchestra_supervisor.model.exit_policy import ExitPolicySpec

__all__ = ["ExitWhenForm", "exit_policy"]


class ExitWhenForm(Form):
    """What ends a fleet, besides whoever tells it to; each part on its own is enough."""

    ends: list[ServiceName] | None = Field(
        None, description="Services: one of them has ended for good. Its exit status is that of the fleet."
    )
    required_fails: Flag | None = Field(
        None, description="A service that is required for the system has failed for good. Default: false."
    )
    all_ended: Flag | None = Field(
        None, description="Nothing runs any more, and nothing is to run. Default: false."
    )


def exit_policy(form: ExitWhenForm) -> ExitPolicySpec:
    """Return the spec of what was written."""
    return ExitPolicySpec(
        ends=tuple(form.ends or ()),
        required_fails=bool(form.required_fails),
        all_ended=bool(form.all_ended),
    )
