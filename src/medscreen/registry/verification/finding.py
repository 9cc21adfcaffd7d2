"""The finding of a check, and how the checks state one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["matches", "changed", "unreachable"]
Check = Iterator[tuple[Status, str]]
"""Each status with one sentence for people; unreachable: there is nothing to compare with."""

GROUPS = {
    "The version itself": ("package", "operating point", "record"),
    "The workspace around it now": ("scores", "data", "parameters", "code", "DVC objects", "environment"),
}


@dataclass(frozen=True)
class Finding:
    """One result of a check: `subject` is one of those in GROUPS, `says` one sentence for people."""

    subject: str
    status: Status
    says: str


class NothingToCompareError(Exception):
    """Ends a check with the status unreachable; the message is the sentence for people."""


def findings(subject: str, check: Iterable[tuple[Status, str]]) -> Iterator[Finding]:
    """The findings of a check; a part that is too damaged to be read is a finding, too."""
    try:
        yield from (Finding(subject, status, says) for status, says in check)
    except NothingToCompareError as reason:
        yield Finding(subject, "unreachable", str(reason))
    except Exception as error:  # whatever is stored may be damaged in any way
        yield Finding(subject, "changed", f"can't be read ({type(error).__name__}: {' '.join(str(error).split())})")


def agreement(is_same: bool, same: str, different: str) -> tuple[Status, str]:
    """Result of a comparison with its sentence."""
    return ("matches", same) if is_same else ("changed", different)


def listed(names: list[str], most: int = 3) -> str:
    """The first few of many names: `a, b, c and 4 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
