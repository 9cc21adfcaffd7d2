"""Findings of the verification checks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["matches", "changed", "unreachable"]
Check = Iterator[tuple[Status, str]]
"""Pairs of status and sentence of the report; unreachable: nothing to compare with."""

GROUPS = {
    "The version": ("package", "operating point", "record"),
    "The current workspace": ("scores", "data", "parameters", "code", "DVC objects", "environment"),
}


@dataclass(frozen=True)
class Finding:
    """One result of a check: `subject` is one of GROUPS, `says` a sentence for the report."""

    subject: str
    status: Status
    says: str


class NothingToCompareError(Exception):
    """Ends a check with the status unreachable; the message is the finding's sentence."""


def findings(subject: str, check: Iterable[tuple[Status, str]]) -> Iterator[Finding]:
    """The findings of a check; an exception, as from a damaged file, becomes a finding with status changed."""
    try:
        yield from (Finding(subject, status, says) for status, says in check)
    except NothingToCompareError as reason:
        yield Finding(subject, "unreachable", str(reason))
    except Exception as error:  # damaged files fail in many ways
        yield Finding(subject, "changed", f"can't be read ({type(error).__name__}: {' '.join(str(error).split())})")


def agreement(is_same: bool, same: str, different: str) -> tuple[Status, str]:
    """Status of a comparison and its sentence."""
    return ("matches", same) if is_same else ("changed", different)


def listed(names: list[str], most: int = 3) -> str:
    """The first few of many names: `a, b, c and 4 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
