"""Holds a body to its form, and says of each fault which key of which line it is."""

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError

from orchestra_supervisor.config.draft import Body, KeyPath, Origin
from orchestra_supervisor.config.findings import Finding, Findings, Location, Severity, is_sensitive, shown

__all__ = ["judge", "keys_of", "nearest", "unknown_key"]

Form = TypeVar("Form", bound=BaseModel)

_WAY_OUT = "docs/configuration.md says what each key takes"
_KINDS = {
    "string_type": "text in double quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "finite_number": "a finite number",
}
_SYNONYMS = {
    "cmd": "command",
    "directory": "cwd",
    "working_dir": "cwd",
    "workdir": "cwd",
    "environment": "env",
    "autostart": "enabled",
    "autorestart": "restart",
    "needs": "depends_on",
    "requires": "depends_on",
    "health_check": "health_url",
    "healthcheck": "probes",
    "uid": "user",
    "gid": "group",
}
"""Words of other supervisors for keys of ours."""

_JSON_WORDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "an object"),
)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None."""
    known = list(known)
    if _SYNONYMS.get(word) in known:
        return _SYNONYMS[word]
    found = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.6)
    return found[0] if found else None


def keys_of(form: type[BaseModel]) -> list[str]:
    """Return the keys that may be written for a form."""
    return [info.alias or name for name, info in form.model_fields.items()]


def unknown_key(
    key: str, known: Iterable[str], where: Location, *, subject: str, service: str = "", severity: Severity
) -> Finding:
    """Say that a key means nothing here, and which one was probably meant.

    Args:
        key: As written.
        known: What may stand here.
        where: The key's place.
        subject: What it stands in, to begin the message with: `service api`, `settings`.
        service: The service it belongs to, or empty.
        severity: An error in the native form, a warning in a dialect that other tools read too.
    """
    near = nearest(key, known)
    hint = f"did you mean {near!r}?" if near else f"known keys: {', '.join(sorted(known))}"
    return Finding(
        severity,
        "key.unknown",
        f"{subject}: unknown key {shown(key)!r}",
        (where,),
        shown(key),
        (),
        hint,
        service,
    )


def judge(
    form: type[Form],
    body: Body,
    origin: Origin,
    findings: Findings,
    *,
    subject: str,
    service: str = "",
    beside: Iterable[str] = (),
) -> Form | None:
    """Validate a body.

    Args:
        form: The model it must fit.
        body: Plain values in the native form.
        origin: Where it was written.
        findings: Gets one error for each fault.
        subject: What the body is, to begin messages with: `service api`, `settings`.
        service: The service it describes, or empty.
        beside: Keys that may stand beside the body's own and are checked elsewhere.

    Returns:
        The model, or None when there are faults.
    """
    try:
        return form.model_validate(body)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            fault = cast("dict[str, Any]", fault)
            if fault["type"] == "extra_forbidden":
                findings.add(_to_unknown(form, fault, origin, subject, service, beside))
            else:
                findings.add(_to_finding(fault, origin, subject, service))
        return None


def _to_unknown(
    form: type[BaseModel],
    fault: dict[str, Any],
    origin: Origin,
    subject: str,
    service: str,
    beside: Iterable[str],
) -> Finding:
    *above, key = cast("list[str | int]", [*fault["loc"]])
    inside = _form_at(form, tuple(above))
    known = keys_of(inside) if inside else []
    if above:
        subject = f"{subject}: {origin.named(tuple(above))}"
    else:
        known = [*known, *beside]
    place = origin.where((*above, key), key=True)
    return unknown_key(str(key), known, place, subject=subject, service=service, severity=Severity.ERROR)


def _to_finding(fault: dict[str, Any], origin: Origin, subject: str, service: str) -> Finding:
    kind = str(fault["type"])
    path = cast("KeyPath", fault["loc"])
    if path and path[-1] == "[key]":
        path = path[:-1]
    name = origin.named(path) if path else ""
    if kind == "missing":
        name = ".".join(str(step) for step in origin.written(path))
        return Finding(
            Severity.ERROR,
            "key.missing",
            f"{subject}: `{name}` is missing",
            (origin.where(path[:-1], key=True),),
            name,
            hint=f"add it; {_WAY_OUT}",
            service=service,
        )
    value: object = fault.get("input")
    said, hint = _said(kind, fault, value)
    message = f"{subject}: `{name}` {said}" if name else f"{subject} {said}"
    quoted = _quote(value, path, name)
    if quoted:
        message += f", not {quoted}"
    code = "value.type" if kind in _KINDS else "value.invalid"
    values = (quoted,) if quoted else ()
    where = (origin.where(path),)
    return Finding(Severity.ERROR, code, message, where, name, values, hint or _WAY_OUT, service)


def _said(kind: str, fault: dict[str, Any], value: object) -> tuple[str, str]:
    """Return what a value must be, and a hint."""
    if kind in _KINDS:
        hint = ""
        if kind in ("int_type", "float_type", "bool_type") and isinstance(value, str):
            hint = "write it without quotes"
        elif kind == "string_type" and isinstance(value, int | float):
            hint = "write it in double quotes"
        return f"must be {_KINDS[kind]}", hint
    message = str(fault["msg"])
    if kind == "value_error":
        return message.removeprefix("Value error, "), ""
    if kind == "string_pattern_mismatch":
        return _pattern_said(str(cast("dict[str, object]", fault.get("ctx", {})).get("pattern")))
    if kind == "literal_error":
        expected = str(cast("dict[str, object]", fault.get("ctx", {})).get("expected"))
        near = (
            nearest(value, expected.replace("'", "").replace(" or ", ", ").split(", "))
            if isinstance(value, str)
            else None
        )
        return f"must be {expected}", f"did you mean {near!r}?" if near else ""
    context = cast("dict[str, object]", fault.get("ctx", {}))
    if "hint" in context:
        return message, str(context["hint"])
    for prefix in ("Input should be ", "String should ", "List should ", "Value should "):
        if message.startswith(prefix):
            return "must " + ("be " if prefix == "Input should be " else "") + message.removeprefix(
                prefix
            ), ""
    return message, ""


def _pattern_said(pattern: str) -> tuple[str, str]:
    if "https?" in pattern:
        return "must be an http:// or https:// address", ""
    if pattern == "^[^=]+$":
        return "is not a variable's name", 'names are not empty and hold no "="'
    return (
        "is not a service's name",
        'letters, digits, "_", ".", "-" and "@", up to 64, beginning with a letter, a digit or "_"',
    )


def _quote(value: object, path: KeyPath, name: str) -> str:
    """Return the value as far as it may be shown; what stands in `env` or under a telling key is not."""
    if any(isinstance(step, str) and is_sensitive(step) for step in (*path, name)):
        return ""
    if value is None:
        return "null"
    if isinstance(value, list | dict) or any(step in ("env", "environment", "headers") for step in path):
        return next((word for kind, word in _JSON_WORDS if isinstance(value, kind)), "")
    if isinstance(value, str):
        return repr(shown(str(value), name))
    return shown(value, name) if isinstance(value, int | float) else ""


def _form_at(form: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """Find the model that a path leads to, through optional and annotated fields and mappings."""
    current: object = form
    for step in path:
        model = _model_in(current)
        if model is None:
            return None
        info = next((info for name, info in model.model_fields.items() if (info.alias or name) == step), None)
        if info is not None:
            current = info.annotation
    return _model_in(current)


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if (found := _model_in(part)) is not None:
            return found
    return None
