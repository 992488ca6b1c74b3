"""How tests look at the findings of a load."""


def codes(result) -> list[str]:
    return [finding.code for finding in result.findings]


def only(result, code: str):
    found = [finding for finding in result.findings if finding.code == code]
    assert len(found) == 1, [f"{finding.code}: {finding.message}" for finding in result.findings]
    return found[0]
