"""From what files say to candidates: replicas counted out, each one resolved, faults told once."""

from collections.abc import Mapping, Sequence

from orchestra_supervisor.config.draft import ServiceDraft
from orchestra_supervisor.config.file_scope import FileScope
from orchestra_supervisor.config.findings import Findings, Severity
from orchestra_supervisor.config.merge import Candidate
from orchestra_supervisor.config.replicas import check_names, check_size, count_out
from orchestra_supervisor.config.resolve import resolve_service
from orchestra_supervisor.config.templates import name_borrower
from orchestra_supervisor.model.replicas import GroupSpec

__all__ = ["to_candidates"]


def to_candidates(
    scopes: Sequence[FileScope], live: Mapping[str, GroupSpec], findings: Findings
) -> list[Candidate]:
    """Resolve every service of every file, and every replica of it.

    Args:
        scopes: Files in order of belief.
        live: Groups of the fleet that runs; see `count_out`.
        findings: Gets what is wrong.

    Returns:
        Those without faults, in order of belief.
    """
    counted: list[tuple[list[ServiceDraft], FileScope]] = []
    for scope in scopes:
        variables = {**scope.environ, **scope.added}
        counted += [(count_out(draft, variables, live, findings), scope) for draft in scope.reading.services]
    everyone = [draft for drafts, _ in counted for draft in drafts]
    if not check_size(everyone, findings):
        return []
    check_names(everyone, findings)
    return [one for drafts, scope in counted for one in _resolve(drafts, scope, findings)]


def _resolve(drafts: Sequence[ServiceDraft], scope: FileScope, findings: Findings) -> list[Candidate]:
    """Resolve a service, or all its replicas up to the first that has a fault."""
    found: list[Candidate] = []
    for draft in drafts:
        own = Findings()
        spec = resolve_service(draft, scope, own)
        findings.read.extend(own.read)
        told = [name_borrower(finding, draft) for finding in own.items]
        is_first = draft.replica is None or draft.replica.number == 1
        findings.extend(one for one in told if is_first or one.severity is Severity.ERROR)
        if spec is None:
            return []
        found.append(Candidate(spec, draft, scope.reading.dialect, scope.reading.origin))
    return found
