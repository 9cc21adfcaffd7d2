"""Images in class folders: <root>/<class>/* or, with published splits, <root>/{train,val,test}/<class>/*.

A table labels.csv beside them, with columns `file` and `patient`, or the file names can state the patients.
"""

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from medscreen.config.datasets import FoldersParams
from medscreen.data.sources.class_names import MOST_NAMED, Place, folders_in, require_classes, split_of
from medscreen.data.sources.file_trees import name_below, required_files, written_name
from medscreen.data.sources.folder_patients import TABLE, find_patients
from medscreen.data.sources.labels import NormalLabels, cleaned, label_key, plain
from medscreen.data.sources.records import Record, Records
from medscreen.errors import MedscreenError

# Masks have the name of their film, and would be read as films of its class.
_MASK_WORD = "(?:masks?|seg|segmentation|annotations?|contours?|ground[ _-]?truth|gt)"
_MASK_FILE = re.compile(rf"(?P<film>.+?)[ _-]+{_MASK_WORD}(?:[ _-]*\d+)?|{_MASK_WORD}[ _-]+(?P<other>.+)")


def find_files(root: Path) -> list[Path]:
    """Every file below `root` but those of operating systems, sorted; raises MedscreenError if there is none."""
    files, _ = _files(root)
    return files


def read_records(params: FoldersParams, root: Path) -> Records:
    """One record per file in a class folder, sorted by path.

    Raises MedscreenError if the folders are not classes, a normal class is missing, or the patients of some images only
    are known.
    """
    normal = NormalLabels(params.normal_classes)
    splits = _split_folders(params, root)
    files, notes = _files(root)
    images: dict[Path, Place] = {}
    beside = set()
    for path in files:
        first, *others = PurePosixPath(name_below(path, root)).parts
        split = splits.get(first)
        classes = others if split else [] if splits else [first, *others]
        if len(classes) < 2:  # a file beside the class folders (a table, a license) is not an image
            notes["files outside the class folders"] += path != root / TABLE
            beside |= {first} if others and not split else set()
            continue
        images[path] = Place(split, classes[0], tuple(classes[1:-1]))
        notes["files in folders below their class folder"] += len(classes) > 2
    notes["class folders without a file"] = require_classes(root, normal, images.values(), splits, beside)
    _require_no_masks(root, images)
    patients, counted = find_patients(params, root, list(images))
    spelled: dict[str, str] = {}
    records = [
        Record(
            origin=name_below(path, root),
            image=path,
            patient=patients.get(path),
            label=normal.label(place.name),
            finding=spelled.setdefault(label_key(place.name), cleaned(place.name)),
            split=place.split if params.published_splits == "keep" else None,
        )
        for path, place in images.items()
    ]
    return Records(records, {**notes, **counted})


def _files(root: Path) -> tuple[list[Path], Counter[str]]:
    files, skipped = required_files(root, root, "the class folders, or correct root")
    table = root / TABLE  # it is read even if it is a link out of the data set
    return sorted({*files, table} if table.is_file() else files), skipped


def _split_folders(params: FoldersParams, root: Path) -> dict[str, str]:
    """Folder -> split; empty if there are class folders only."""
    found: dict[str, str] = {}
    for path in folders_in(root):
        name, split = written_name(Path(path.name)), split_of(path.name)
        if split is None:
            continue
        if path.is_symlink():
            raise MedscreenError(f"{path} is a link, which is not followed; put the folder itself there.")
        if other := next((other for other, known in found.items() if known == split), None):
            raise MedscreenError(f"{root} has two folders for {split}, {other} and {name}; merge them or remove one.")
        found[name] = split
    missing = [split for split in ("train", "val", "test") if split not in found.values()]
    if found and missing and params.published_splits == "keep":
        raise MedscreenError(
            f"{root} has a folder {next(iter(found))}/ and none called {missing[0]}/. Add it, or split all "
            "images anew by `published_splits: discard` in params.yaml."
        )
    return found


def _require_no_masks(root: Path, images: dict[Path, Place]) -> None:
    """Raises MedscreenError if files are named like masks of a film beside them (17.png and 17_mask.png)."""
    films = {(path.parent, plain(path.stem)) for path in images}
    matches = ((path, _MASK_FILE.fullmatch(plain(path.stem))) for path in images)
    masks = [path for path, m in matches if m and (path.parent, m["film"] or m["other"]) in films]
    if masks:
        folders, classes = {images[path].name for path in masks}, {place.name for place in images.values()}
        named = len(folders) == 1 and len(classes) <= MOST_NAMED
        raise MedscreenError(
            f"{root}: {len(masks)} {'file' if len(masks) == 1 else 'files'} of "
            f"{f'the folder {min(folders)!r}' if named else f'{len(folders)} class folders'} would be read as films "
            "and are named like masks of films beside them (17_mask.png beside 17.png). Move these out of root."
        )
