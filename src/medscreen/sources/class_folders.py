"""Images in class folders: <root>/<class>/* or, with published splits, <root>/{train,val,test}/<class>/*.

A labels.csv beside them, with columns `file` and `patient`, says whose images they are.
"""

from collections.abc import Iterator
from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.params import FoldersParams
from medscreen.sources import labelled_tree
from medscreen.sources.records import Record

_SPLITS = ("train", "val", "test")


def find_files(root: Path) -> list[Path]:
    """Every file below `root` that is not hidden, sorted; raises MedscreenError if there is none."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(root)))
    if not files:
        raise MedscreenError(f"{root} holds no file; put the class folders there or correct root in params.yaml.")
    return files


def read_records(params: FoldersParams, root: Path) -> list[Record]:
    """One record a file in a class folder, sorted by place.

    Raises MedscreenError where the folders are no classes, or a normal class is none of them.
    """
    splits = [name for name in _SPLITS if (root / name).is_dir()]
    if splits and len(splits) < len(_SPLITS):
        missing = next(name for name in _SPLITS if name not in splits)
        raise MedscreenError(
            f"{root} has a folder {splits[0]}/ and none called {missing}/; give it all of {', '.join(_SPLITS)}, or "
            "class folders alone."
        )
    records = [record for split in splits for record in _records_below(params, root, split)]
    if not splits:
        records = list(_records_below(params, root, None))
    classes = {Path(record.origin).parts[1 if splits else 0] for record in records}
    unknown = [name for name in params.normal_classes if name not in classes]
    if unknown:
        raise MedscreenError(
            f"{root} has no class folder {unknown[0]!r} (it has {', '.join(sorted(classes)) or 'none'}); correct "
            "normal_classes in params.yaml."
        )
    return records


def _records_below(params: FoldersParams, root: Path, split: str | None) -> Iterator[Record]:
    folder, patients = root / (split or ""), labelled_tree.read_patients(root)
    for path in find_files(folder):
        inside = path.relative_to(folder)
        if len(inside.parts) > 1:  # a file beside the class folders (a table, a licence) is no image
            origin = path.relative_to(root).as_posix()
            label = int(inside.parts[0] not in params.normal_classes)
            yield Record(
                origin=origin,
                image=path,
                patient=patients.get(origin),
                label=label,
                finding=inside.parts[0],
                split=split,
            )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
