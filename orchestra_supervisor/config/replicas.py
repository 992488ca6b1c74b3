"""Replicas in files: one description becomes `web@1`, `web@2`, ... and its name stands for all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from orchestra_supervisor.config.draft import Body, ServiceDraft
from orchestra_supervisor.config.environment import Layers, Scope
from orchestra_supervisor.config.findings import Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.form_replicas import GroupForm
from orchestra_supervisor.config.judge import judge
from orchestra_supervisor.config.merge import Candidate
from orchestra_supervisor.config.placeholders import fill_replica, fill_tree
from orchestra_supervisor.model.replicas import MAX_SERVICES, GroupSpec, ReplicaSpec, replica_name
from orchestra_supervisor.model.spec import ServiceSpec

__all__ = [
    "check_names",
    "check_ports",
    "check_size",
    "count_out",
    "once_a_group",
    "place_replica",
    "spread_dependencies",
]

_GROUP_KEYS = ("replicas", "update")


def count_out(
    draft: ServiceDraft, variables: Mapping[str, str], live: Mapping[str, GroupSpec], findings: Findings
) -> list[ServiceDraft]:
    """Return one draft for each replica of a service, or the draft itself where it has none.

    Args:
        draft: The service as it was written.
        variables: What a variable in `replicas` may use: those of the file and of the supervisor.
        live: Groups of the fleet that runs: what somebody scaled to holds until the file says another number.
        findings: Gets what is wrong; then there are no drafts.
    """
    subject = f"service {shown(draft.name)}"
    body = {key: value for key, value in draft.body.items() if key not in _GROUP_KEYS}
    if draft.body.get("replicas") is None:
        if draft.body.get("update") is None:
            return [draft]
        hint = "add `replicas`, or take it out"
        message = f"{subject}: `update` is for services with `replicas`"
        findings.add(_fault("replica.update", message, draft, ("update",), hint))
        return []
    if "@" in draft.name:
        message = f"{subject}: the name of a service with replicas has no @"
        findings.add(_fault("replica.name", message, draft, (), "its replicas are called NAME@1, NAME@2"))
        return []
    own = Findings()
    said: Body = {key: draft.body[key] for key in _GROUP_KEYS if key in draft.body}
    scope = Scope(draft.origin, Layers(variables).lookup, own, subject, draft.name)
    said["replicas"] = scope.tree(said["replicas"], ("replicas",))
    form = judge(GroupForm, said, draft.origin, own, subject=subject, service=draft.name)
    findings.extend(own.items)
    if form is None or own.has_errors:
        return []
    known = live.get(draft.name)
    count = known.count if known is not None and known.configured == form.replicas else form.replicas
    group = GroupSpec(configured=form.replicas, count=count, update=form.update or "all")
    return [
        replace(
            draft,
            name=replica_name(draft.name, number),
            body=_with_env_files(body, number),
            replica=ReplicaSpec(group=draft.name, number=number, count=count),
            group=group,
        )
        for number in range(1, max(count, 1) + 1)
    ]


def _with_env_files(body: Body, number: int) -> Body:
    """Name the env files of a replica: they are read before anything else is filled in."""
    if "env_files" not in body:
        return body
    return body | {"env_files": fill_tree(body["env_files"], lambda text: fill_replica(text, number))}


def place_replica(body: Body, env: dict[str, str], replica: ReplicaSpec) -> tuple[Body, dict[str, str]]:
    """Put the number of a replica into everything that its file says of it, and into its environment."""

    def fill(text: str) -> str:
        return fill_replica(text, replica.number)

    filled = {name: fill(value) for name, value in env.items()}
    return cast("Body", fill_tree(body, fill)), filled | {"ORCHESTRA_REPLICA": str(replica.number)}


def _fault(
    code: str, message: str, draft: ServiceDraft, path: tuple[str, ...], hint: str, *more: Location
) -> Finding:
    place = draft.origin.where(path, key=not path)
    return Finding(Severity.ERROR, code, message, (place, *more), ".".join(path), (), hint, draft.name)


# Over all services.


def check_size(drafts: Sequence[ServiceDraft], findings: Findings) -> bool:
    """Return whether a fleet is of a size that a host can carry; replicas multiply fast."""
    replicas = [draft for draft in drafts if draft.replica is not None]
    if len(drafts) <= MAX_SERVICES or not replicas:
        return True
    largest = max(replicas, key=lambda draft: draft.replica.count if draft.replica else 0)
    message = f"{len(drafts)} services, every replica counted; a fleet has {MAX_SERVICES} at most"
    findings.add(_fault("replica.too_many", message, largest, ("replicas",), "fewer replicas"))
    return False


def check_names(drafts: Iterable[ServiceDraft], findings: Findings) -> None:
    """Find services that bear the name of a replica of another one."""
    drafts = list(drafts)
    replicas = {draft.name: draft for draft in drafts if draft.replica is not None}
    for draft in drafts:
        other = replicas.get(draft.name)
        if draft.replica is None and other is not None and other.replica is not None:
            message = f"service {shown(draft.name)} is also a replica of {shown(other.replica.group)}"
            findings.add(
                _fault("replica.name_taken", message, draft, (), "rename it", other.origin.where(key=True))
            )


def check_ports(services: Mapping[str, Candidate], findings: Findings) -> None:
    """Find replicas that would listen on one port, or on one socket that is held for them."""
    seen: dict[tuple[str, str], Candidate] = {}
    said: set[str] = set()
    for candidate in services.values():
        replica = candidate.spec.replica
        if replica is None:
            continue
        group = replica.group
        for path, address in _claims(candidate.spec):
            first = seen.setdefault((group, address), candidate)
            if first is candidate or group in said:
                continue
            said.add(group)
            names = f"{first.spec.name} and {candidate.spec.name}"
            message = f"service {group}: its replicas {names} would both listen on {address}"
            hint = f'give each its own, with a sum like "{{{(candidate.spec.port or 8001) - 1}+replica}}"'
            findings.add(_fault("replica.port_twice", message, candidate.draft, path, hint))


def _claims(spec: ServiceSpec) -> list[tuple[tuple[str, ...], str]]:
    """Return what a service listens on and where that is said: the sockets it is handed, else its port."""
    if spec.sockets:
        return [(("sockets", one.name), one.address) for one in spec.sockets]
    return [] if spec.port is None else [(("port",), f"port {spec.port}")]


def spread_dependencies(
    services: Mapping[str, Candidate], groups: Mapping[str, GroupSpec]
) -> dict[str, Candidate]:
    """Let a dependency on a service with replicas be one on each of them."""
    members: dict[str, list[str]] = {group: [] for group in groups}
    for name, candidate in services.items():
        if candidate.spec.replica is not None:
            members[candidate.spec.replica.group].append(name)
    result: dict[str, Candidate] = {}
    for name, candidate in services.items():
        needs = candidate.spec.depends_on
        result[name] = candidate
        if needs.keys() & members.keys():
            spread = {
                one: wanted
                for target, wanted in needs.items()
                for one in members.get(target, [target])
                if one == target or one not in needs
            }
            spec = candidate.spec.model_copy(update={"depends_on": spread})
            result[name] = replace(candidate, spec=spec)
    return result


def once_a_group(findings: Iterable[Finding], services: Mapping[str, Candidate]) -> list[Finding]:
    """Leave out what is said of a further replica in the words of an earlier one."""
    seen: set[tuple[object, ...]] = set()
    kept: list[Finding] = []
    for finding in findings:
        candidate = services.get(finding.service)
        replica = candidate.spec.replica if candidate else None
        key = (replica.group, finding.code, finding.where[:1], finding.values) if replica else None
        if key is None or key not in seen:
            kept.append(finding)
        if key is not None:
            seen.add(key)
    return kept
