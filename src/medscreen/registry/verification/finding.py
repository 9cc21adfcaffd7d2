"""What a check says, and how a check says it that trips over something damaged."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["matches", "changed", "unreachable"]

PACKAGE, OPERATING_POINT, RECORD = "package", "operating point", "record"
SCORES, DATA, PARAMETERS, CODE = "scores", "data", "parameters", "code"
OBJECTS, ENVIRONMENT = "DVC objects", "environment"
GROUPS = {
    "The version itself": (PACKAGE, OPERATING_POINT, RECORD),
    "The workspace around it now": (SCORES, DATA, PARAMETERS, CODE, OBJECTS, ENVIRONMENT),
}


@dataclass(frozen=True)
class Finding:
    """What one check found: `subject` is one of those in GROUPS, `says` one sentence for people.

    unreachable: what it would be compared with is not here, so nobody knows.
    """

    subject: str
    status: Status
    says: str


def matches(subject: str, says: str) -> Finding:
    """A finding that is as it was."""
    return Finding(subject, "matches", says)


def changed(subject: str, says: str) -> Finding:
    """A finding that is not as it was, or that is lost."""
    return Finding(subject, "changed", says)


def unreachable(subject: str, says: str) -> Finding:
    """A finding that nobody can make here."""
    return Finding(subject, "unreachable", says)


def guarded(subject: str, check: Iterable[Finding]) -> Iterator[Finding]:
    """What a check finds; a part that is too damaged to be looked at is a finding, too."""
    try:
        yield from check
    except Exception as error:  # whatever is stored may be damaged in any way
        yield changed(subject, f"can't be read ({type(error).__name__}: {' '.join(str(error).split())})")


def listed(names: list[str], shown: int = 3) -> str:
    """The first few of many names: `a, b, c and 4 more`."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
