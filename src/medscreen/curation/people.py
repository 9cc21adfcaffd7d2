"""Whose an image is."""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from medscreen.curation.readable import Readable
from medscreen.sources import Record


def number_patients(readable: Readable) -> NDArray[np.int64]:
    """A number for each image's patient, in order of first appearance; sharing an image makes two one."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    first_owner: dict[str, str] = {}
    published = any(record.split for record in readable.records)
    for record, digest in zip(readable.records, readable.digests, strict=True):
        first = first_owner.setdefault(digest, owner(record))
        if not published and root(owner(record)) != root(first):
            parent[root(owner(record))] = root(first)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(root(owner(record)), len(numbers)) for record in readable.records])


def owner(record: Record) -> str:
    """Whose image it is; of an image whose patient is not known, the image itself."""
    return f"image {record.origin}" if record.patient is None else f"person {person(record.patient)}"


def person(spelled: str) -> str:
    """A patient's identifier without what spellings of it differ in: case, and which separators it has.

    "P-00012", "p_00012" and " P 00012" are one; "P00012" is another, so that "1-11" and "11-1" stay two.
    """
    letters = unicodedata.normalize("NFKC", spelled).casefold()
    # letters, their marks and numbers stay (a vowel sign of Devanagari is a mark); what has no width goes
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in letters if unicodedata.category(c) != "Cf")
    return "-".join("".join(kept).split()) or spelled
