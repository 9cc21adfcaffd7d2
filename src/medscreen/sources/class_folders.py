"""Images in class folders: <root>/<class>/* or, with published splits, <root>/{train,val,test}/<class>/*.

A labels.csv beside them, with columns `file` and `patient`, says whose images they are; so can the files' names.
"""

import re
from collections import Counter
from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.params import FoldersParams
from medscreen.sources import labelled_tree
from medscreen.sources.records import Record, Records
from medscreen.sources.trees import files_below

# What published folders are called, in any case.
_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def find_files(root: Path) -> list[Path]:
    """Every file below `root` that no operating system left there, sorted; raises MedscreenError if there is none."""
    files, _ = _files(root)
    return files


def read_records(params: FoldersParams, root: Path) -> Records:
    """One record a file in a class folder, sorted by place.

    Raises MedscreenError where the folders are no classes, a normal class is none of them, or the pattern for
    patients matches no file.
    """
    splits = _split_folders(params, root)
    patients = labelled_tree.read_patients(root)
    files, notes = _files(root)
    records = []
    for path in files:
        inside = path.relative_to(root)
        split = splits.get(inside.parts[0])
        classes = inside.parts[1:] if split else () if splits else inside.parts
        if len(classes) < 2:  # a file beside the class folders (a table, a licence) is no image
            notes["files outside the class folders"] += path != root / labelled_tree.TABLE
            continue
        patient = patients.get(inside.as_posix()) or _patient(params.patient_pattern, path.name)
        records.append(_record(params, root, path, classes[0], patient, split))
    _require_classes(params, root, {record.finding for record in records})
    notes["rows of labels.csv without a file"] = len(patients.keys() - {record.origin for record in records})
    if params.patient_pattern is not None:
        notes["images whose patient is not known"] = _require_patients(params, root, records)
    return Records(records, notes)


def _files(root: Path) -> tuple[list[Path], Counter[str]]:
    files, aside = files_below(root)
    if not files:
        raise MedscreenError(f"{root} holds no file; put the class folders there or correct root in params.yaml.")
    return files, aside


def _record(params: FoldersParams, root: Path, path: Path, name: str, patient: str | None, split: str | None) -> Record:
    normal = {known.casefold() for known in params.normal_classes}
    return Record(
        origin=path.relative_to(root).as_posix(),
        image=path,
        patient=patient,
        label=int(name.casefold() not in normal),
        finding=name,
        split=split if params.published_splits == "keep" else None,
    )


def _split_folders(params: FoldersParams, root: Path) -> dict[str, str]:
    """Folder -> split; empty where there are class folders alone."""
    folders = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    splits = {name: _SPLITS[name.casefold()] for name in folders if name.casefold() in _SPLITS}
    twice = [split for split, number in Counter(splits.values()).items() if number > 1]
    if twice:
        both = " and ".join(name for name, split in splits.items() if split == twice[0])
        raise MedscreenError(f"{root} has two folders for {twice[0]}, {both}; merge them or take one away.")
    missing = [split for split in ("train", "val", "test") if split not in splits.values()]
    if splits and missing and params.published_splits == "keep":
        raise MedscreenError(
            f"{root} has a folder {next(iter(splits))}/ and none called {missing[0]}/; add it, or have medscreen "
            "split all images by `published_splits: discard` in params.yaml."
        )
    return splits


def _require_classes(params: FoldersParams, root: Path, classes: set[str]) -> None:
    known = {name.casefold() for name in classes}
    unknown = [name for name in params.normal_classes if name.casefold() not in known]
    if unknown:
        raise MedscreenError(
            f"{root} has no class folder {unknown[0]!r} (it has {', '.join(sorted(classes)) or 'none'}); correct "
            "normal_classes in params.yaml."
        )


def _patient(pattern: str | None, name: str) -> str | None:
    found = re.search(pattern, name) if pattern is not None else None
    return found[1] if found else None


def _require_patients(params: FoldersParams, root: Path, records: list[Record]) -> int:
    """How many records have no patient; raises MedscreenError if that is all of them."""
    unknown = sum(record.patient is None for record in records)
    if unknown == len(records):
        raise MedscreenError(
            f"patient_pattern {params.patient_pattern!r} matches no file name below {root}; correct it in params.yaml, "
            "or set it to null."
        )
    return unknown
