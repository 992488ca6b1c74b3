"""The keys of replicas and templates: how many, how they are updated, and what a template is given."""

from typing import Annotated, Literal

from pydantic import Field

from orchestra_supervisor.config.form_parts import Form
from orchestra_supervisor.config.values import EnvValue, Integer, Text
from orchestra_supervisor.model.replicas import MAX_REPLICAS

__all__ = ["GroupForm", "ReplicaCount", "TemplateUseForm", "TemplateValues", "Update"]

ReplicaCount = Annotated[Integer, Field(ge=0, le=MAX_REPLICAS)]
Update = Literal["all", "rolling"]
TemplateValues = dict[Annotated[Text, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], EnvValue]
"""Key to text; numbers and truths are taken as text."""


class GroupForm(Form):
    """What is said of all replicas together."""

    replicas: ReplicaCount
    update: Update | None = None


class TemplateUseForm(Form):
    """Which template a service uses, and what it gives to it."""

    template: Text
    values: TemplateValues | None = None
