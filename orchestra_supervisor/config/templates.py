"""Templates: what services of a file have in common, with `{KEY}` for what differs.

The template's texts get their values, then the service's own keys are laid over it: objects key by key,
all else as a whole. The result is a tree like any other, whose values know where they were written, so
that every later finding names that place.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from orchestra_supervisor.config.draft import Body, Origin, Reading, ServiceDraft
from orchestra_supervisor.config.findings import Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.form import TemplateForm
from orchestra_supervisor.config.form_replicas import TemplateUseForm
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.config.judge import judge, keys_of, nearest, unknown_key
from orchestra_supervisor.config.placeholders import REPLICA, Filled, fill_values

__all__ = ["lay_templates", "name_borrower"]

_USE_KEYS = ("template", "values")


def lay_templates(reading: Reading, findings: Findings) -> Reading:
    """Return a file whose services no longer need its templates; those with faults are left out."""
    templates = _templates_of(reading, findings)
    given = _keys_given(reading, templates)
    drafts: list[ServiceDraft] = []
    told: set[Finding] = set()  # a word that is nobody's is told once, not by everybody who uses the template
    for draft in reading.services:
        own = Findings()
        laid = _lay(draft, templates, given, own) if _uses(draft) else draft
        findings.extend(finding for finding in own.items if finding not in told)
        told.update(own.items)
        if laid is not None:
            drafts.append(laid)
    return replace(reading, services=tuple(drafts))


def name_borrower(finding: Finding, draft: ServiceDraft) -> Finding:
    """Add the service's own place to a finding on what a template says of it."""
    if not finding.where or finding.where[0] not in draft.borrowed:
        return finding
    return replace(finding, where=(*finding.where, draft.origin.where(key=True)))


def _uses(draft: ServiceDraft) -> bool:
    return any(draft.body.get(key) is not None for key in _USE_KEYS)


def _templates_of(reading: Reading, findings: Findings) -> dict[str, Node]:
    """Return the templates that can be used; all of them are held to the known keys."""
    root = reading.origin.node.members.get("templates")
    if root is None or "templates" not in reading.head:
        return {}
    if root.kind != "object":
        message = f"`templates` must be an object, not {root.kind}"
        findings.add(Finding(Severity.ERROR, "value.type", message, (root.location,), "templates"))
        return {}
    found: dict[str, Node] = {}
    for name, node in root.members.items():
        subject = f"template {shown(name)}"
        if node.kind != "object":
            message = f"{subject} must be an object, not {node.kind}"
            findings.add(Finding(Severity.ERROR, "value.type", message, (node.location,), shown(name)))
            continue
        found[name] = node
        for key, member in node.members.items():
            place, known = member.key_location, keys_of(TemplateForm)
            if key == "template":
                message = f"{subject} uses another template"
                hint = "a template stands alone: repeat what both have"
                findings.add(Finding(Severity.ERROR, "template.nested", message, (place,), key, hint=hint))
            elif key not in known:
                findings.add(unknown_key(key, known, place, subject=subject, severity=Severity.ERROR))
    return found


def _keys_given(reading: Reading, templates: Mapping[str, Node]) -> dict[str, set[str]]:
    """Return the keys of each template: those that it or anybody who uses it has a value for."""
    given: dict[str, set[str]] = {name: set(_values_of(node)) for name, node in templates.items()}
    for draft in reading.services:
        given.get(str(draft.body.get("template")), set[str]()).update(_values_of(draft.origin.node))
    return given


def _values_of(node: Node) -> dict[str, Node]:
    values = node.members.get("values")
    return values.members if values is not None else {}


@dataclass(slots=True)
class _Filling:
    """A template that is being filled in for one service."""

    values: Mapping[str, str]
    used: set[str]
    unknown: list[tuple[str, Node]]
    places: set[Location]

    def copy(self, node: Node, *, is_root: bool = False) -> Node:
        """Return a node with its texts filled in, each where it was written."""
        self.places.update((node.location, node.key_location))
        value = node.value
        if isinstance(value, str):
            filled: Filled = fill_values(value, self.values)
            self.used |= filled.used
            self.unknown += [(word, node) for word in filled.unknown]
            value = filled.text
        kept = {name: one for name, one in node.members.items() if not is_root or name not in _USE_KEYS}
        members = {name: self.copy(member) for name, member in kept.items()}
        items = [self.copy(item) for item in node.items]
        return Node(node.document, node.kind, node.offset, value, members, items, node.key_offset)


def _lay(
    draft: ServiceDraft, templates: Mapping[str, Node], given: Mapping[str, set[str]], findings: Findings
) -> ServiceDraft | None:
    subject, node = f"service {shown(draft.name)}", draft.origin.node
    said: Body = {key: draft.body[key] for key in _USE_KEYS if key in draft.body}
    form = judge(TemplateUseForm, said, draft.origin, findings, subject=subject, service=draft.name)
    if form is None:
        return None
    template = templates.get(form.template)
    if template is None:
        findings.add(_unknown_template(draft, form.template, templates))
        return None
    defaults = {key: str(member.value) for key, member in _values_of(template).items()}
    filling = _Filling(defaults | (form.values or {}), set(), [], set())
    under = filling.copy(template, is_root=True)
    faults = list(_value_faults(draft, form.template, form.values or {}, filling, given[form.template]))
    findings.extend(faults)
    if any(fault.severity is Severity.ERROR for fault in faults):
        return None
    merged = _overlay(under, _without_use(node))
    origin = Origin(draft.origin.source, merged, draft.origin.aliases)
    return replace(
        draft,
        body=cast("Body", merged.to_python()),
        origin=origin,
        borrowed=frozenset(filling.places - set(_places(node))),
    )


def _without_use(node: Node) -> Node:
    """Return a service's object without the keys that have done their work."""
    members = {key: member for key, member in node.members.items() if key not in _USE_KEYS}
    return replace(node, members=members)


def _overlay(under: Node, over: Node) -> Node:
    """Lay one value over another: objects key by key, all else as a whole."""
    if under.kind != "object" or over.kind != "object":
        return over
    members = dict(under.members)
    for key, member in over.members.items():
        members[key] = _overlay(members[key], member) if key in members else member
    return replace(over, members=members)


def _places(node: Node) -> Iterator[Location]:
    yield node.location
    yield node.key_location
    for child in (*node.members.values(), *node.items):
        yield from _places(child)


def _unknown_template(draft: ServiceDraft, name: str, templates: Mapping[str, Node]) -> Finding:
    near = nearest(name, templates)
    hint = f"did you mean {near!r}?" if near else f"known templates: {', '.join(sorted(templates)) or 'none'}"
    message = f"service {shown(draft.name)}: no template {shown(name)!r} in `templates` of this file"
    place = (draft.origin.where(("template",)),)
    return Finding(
        Severity.ERROR, "template.unknown", message, place, "template", (shown(name),), hint, draft.name
    )


def _value_faults(
    draft: ServiceDraft, template: str, values: Mapping[str, str], filling: _Filling, keys: set[str]
) -> Iterator[Finding]:
    """Yield what the values of a service lack, what they have too much, and words that look like keys."""
    subject = f"service {shown(draft.name)}"

    def fault(code: str, message: str, field: str, where: tuple[Location, ...], hint: str) -> Finding:
        text = f"{subject}: {message}"
        return Finding(Severity.ERROR, f"template.{code}", text, where, field, (), hint, draft.name)

    for key in values:
        where = (draft.origin.where(("values", key), key=True),)
        if key == REPLICA:
            message = f"{{{REPLICA}}} is the number of the replica and takes no value"
            yield fault("value_reserved", message, f"values.{key}", where, "choose another word")
        elif key not in filling.used:
            near = nearest(key, {word for word, _ in filling.unknown})
            hint = f"did you mean {near!r}?" if near else "take it out"
            message = f"template {shown(template)} has no {{{shown(key)}}}"
            yield fault("value_unused", message, f"values.{key}", where, hint)
    for word, node in dict(filling.unknown).items():
        where = (node.location, draft.origin.where(key=True))
        if word in keys:
            message = f"no value for {{{word}}} of template {shown(template)}"
            yield fault("value_missing", message, "values", where, f'add "values": {{"{word}": "..."}}')
        else:
            message = f"template {shown(template)}: {{{word}}} is nobody's value and stays as it is"
            hint = f"write {{{{{word}}}}} if it is meant so"
            yield Finding(Severity.INFO, "template.unknown_word", message, where[:1], hint=hint)
