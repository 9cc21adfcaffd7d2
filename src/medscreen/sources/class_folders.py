"""Images in class folders: <root>/<class>/* or, with published splits, <root>/{train,val,test}/<class>/*.

A labels.csv beside them, with columns `file` and `patient`, says whose images they are; so can the files' names.
"""

from collections import Counter
from pathlib import Path, PurePosixPath

from medscreen.errors import MedscreenError
from medscreen.params import FoldersParams
from medscreen.sources import labelled_tree
from medscreen.sources.patients import find_patients
from medscreen.sources.records import Record, Records
from medscreen.sources.trees import files_below, in_words, name_below

# What published folders are called, in any case.
_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_MOST_NAMED = 10


def find_files(root: Path) -> list[Path]:
    """Every file below `root` that no operating system left there, sorted; raises MedscreenError if there is none."""
    files, _ = _files(root)
    return files


def read_records(params: FoldersParams, root: Path) -> Records:
    """One record a file in a class folder, sorted by place.

    Raises MedscreenError where the folders are no classes, a normal class is none of them, or it is known of some of
    the images alone whose they are.
    """
    splits = _split_folders(params, root)
    files, notes = _files(root)
    images: dict[Path, tuple[str, str | None]] = {}
    for path in files:
        parts = PurePosixPath(name_below(path, root)).parts
        split = splits.get(parts[0])
        classes = parts[1:] if split else () if splits else parts
        if len(classes) < 2:  # a file beside the class folders (a table, a licence) is no image
            notes["files outside the class folders"] += path != root / labelled_tree.TABLE
            continue
        images[path] = classes[0], split
    _require_classes(params, root, {name for name, _ in images.values()})
    patients, counted = find_patients(params, root, list(images))
    records = [_record(params, root, path, patients.get(path), *images[path]) for path in images]
    notes.update(counted)
    return Records(records, notes)


def _files(root: Path) -> tuple[list[Path], Counter[str]]:
    files, aside = files_below(root, root)
    if not files:
        raise MedscreenError(
            f"{root} holds no file{in_words(aside)}; put the class folders there or correct root in params.yaml."
        )
    table = root / labelled_tree.TABLE  # it is read even where it is a link to elsewhere
    return sorted({*files, table} if table.is_file() else files), aside


def _record(params: FoldersParams, root: Path, path: Path, patient: str | None, name: str, split: str | None) -> Record:
    normal = {known.casefold() for known in params.normal_classes}
    return Record(
        origin=name_below(path, root),
        image=path,
        patient=patient,
        label=int(name.casefold() not in normal),
        finding=name,
        split=split if params.published_splits == "keep" else None,
    )


def _split_folders(params: FoldersParams, root: Path) -> dict[str, str]:
    """Folder -> split; empty where there are class folders alone."""
    inside = root.iterdir() if root.is_dir() else []
    folders = sorted(path.name for path in inside if path.is_dir() and not path.is_symlink())
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
            f"{root} has no class folder {unknown[0]!r} (it has {_listed(classes)}); correct normal_classes in "
            "params.yaml."
        )


def _listed(classes: set[str]) -> str:
    """Their names, unless so many folders are no classes: patients', perhaps, whom nobody names on a terminal."""
    if len(classes) > _MOST_NAMED:
        return f"{len(classes)} folders, too many for classes"
    return ", ".join(sorted(classes)) or "none"
