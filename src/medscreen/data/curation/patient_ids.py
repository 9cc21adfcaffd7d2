"""Patient identifiers: their normalized spelling, and a number for each patient."""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from medscreen.data.curation.decoding import Readable
from medscreen.data.sources.labels import plain
from medscreen.data.sources.records import Record


def number_patients(readable: Readable, copies: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    """A number for each image's patient, in order of first appearance.

    `copies`: groups of images that show one patient, whatever their names say. Their owners become one where the
    splits are cut here; who shares images in published val or test, is told and not changed.
    """
    owners = [owner(record) for record in readable.records]
    parent = {name: name for name in owners}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for group in copies:
        cut_here = [i for i in group if readable.records[i].split in {None, "train"}]
        for position in cut_here[1:]:
            parent[root(owners[position])] = root(owners[cut_here[0]])
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(root(name), len(numbers)) for name in owners])


def owner(record: Record) -> str:
    """Whose image it is; of an image whose patient is not known, the image itself."""
    return f"image {record.origin}" if record.patient is None else f"person {person(record.patient)}"


def person(spelled: str) -> str:
    """A patient's identifier without what spellings of it differ in: case, and which separators it has.

    "P-00012", "p_00012" and " P 00012" are one; "P00012" is another, so that "1-11" and "11-1" stay two.
    """
    # letters, their marks and numbers stay (a vowel sign of Devanagari is a mark)
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in plain(spelled))
    return "-".join("".join(kept).split()) or spelled
