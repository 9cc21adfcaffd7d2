"""Check that the folders of a data set are classes, by their names and those of the folders in and beside them."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from medscreen.data.sources.file_trees import left_behind, written_name
from medscreen.data.sources.labels import NormalLabels, is_word_of_a_class, label_key, plain
from medscreen.errors import MedscreenError

# Names of folders of published splits, in any spelling.
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LIKE_A_SPLIT = re.compile(
    r"((external|internal|independent|hidden|blind|final) ?)?"
    r"(train(ing|val)?|val(id|idate|idation)?|test(ing)?|dev(el|elopment)?|eval(uation)?|hold ?out)"
    r"( ?(set|data|images|split|folder))?( ?(\d+|[ab]))?"
    r"|(k ?)?(fold|split|subset|cv) ?\d+"
)
# Names of splits only beside other split folders: elsewhere they can be findings.
_SPLIT_BESIDE_OTHERS = re.compile(r"(external|internal|independent|unseen)( ?(set|data|images))?( ?\d+)?")
# Masks and annotations have the film's file name, and would be read as films of the class.
_DRAWN = re.compile(
    r"(.* )?(manual|left|right|lung)?(masks?|segmentations?|annotations?|ground ?truths?)( ?\d+)?"
    r"|labels?|contours?|rois?"
)
_NO_UTF_8 = re.compile(r"\\x[89a-f][0-9a-f]")  # as `written_name` writes it
_SPLIT, _CLASS, _MASKS = "a split", "a class", "masks"
MOST_NAMED = 10  # folders that a message names; more could be patients'


class Place(NamedTuple):
    """Place of an image: the published split, the class folder, and the folders below that."""

    split: str | None
    name: str
    below: tuple[str, ...]


def split_of(folder: str) -> str | None:
    """The published split that a folder is named after; None for all others."""
    return _SPLITS.get(plain(folder))


def folders_in(folder: Path) -> Iterator[Path]:
    """Subfolders by name, including links, without those that operating systems left."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return (path for path in inside if path.is_dir() and not left_behind(path.name))


def require_classes(
    root: Path, normal: NormalLabels, places: Collection[Place], splits: Mapping[str, str], beside: Collection[str]
) -> int:
    """Number of class folders without a file; raises MedscreenError if folders are not, or may not be, classes.

    `splits`: folder -> published split; `beside`: folders with files beside the split folders.
    """
    classes = {place.name for place in places}
    there = {label_key(name) for name in classes}
    for name in beside:
        role = _role(name, there | normal.named.keys())
        if role in {_CLASS, _SPLIT} or _SPLIT_BESIDE_OTHERS.fullmatch(_words(name)):
            raise MedscreenError(
                f"{root} has {_folder(name, beside)} beside {_folder(next(iter(splits)), splits)}, and its images "
                "would be in none of train, val and test. Move them into one of these, or move the folder out of root."
            )
    _require_plain_names(root, normal, places, there)
    empty = {
        label_key(path.name): path
        for above in [root / name for name in splits] or [root]
        for path in folders_in(above)
        if label_key(path.name) not in there
    }
    for key, wanted in normal.named.items():
        if key in empty:
            what = "is a link, which is not followed" if empty[key].is_symlink() else "holds no file"
            name = written_name(Path(empty[key].name))
            raise MedscreenError(f"{root}: the class folder {name!r} {what}; put the images there.")
        if key not in there:
            # so many folders may be patients', whose names are not printed
            many = f"{len(classes)} folders, too many for classes" if len(classes) > MOST_NAMED else ""
            raise MedscreenError(
                f"{root} has no class folder {str(wanted)!r} (it has {many or ', '.join(sorted(classes)) or 'none'}); "
                "correct normal_classes in params.yaml."
            )
    for name in sorted(classes):
        if doubt := normal.doubt(name) or _doubt_in_bytes(name, normal):
            raise MedscreenError(
                f"{root}: {_folder(name, classes)} {doubt}; rename it, move it out of root, or name it in "
                "normal_classes in params.yaml."
            )
    return sum(not path.is_symlink() for path in empty.values())


def _require_plain_names(root: Path, normal: NormalLabels, places: Collection[Place], there: Collection[str]) -> None:
    """Raises MedscreenError if a class, or a folder in it, has the name of masks, of a split or, in it, of a class."""
    classes = {place.name for place in places}
    inside = {name for place in places for name in place.below}
    known = {*there, *normal.named}
    # numbers of folders inside may be patients, unless these folders have the names of all classes
    if not {*there} <= {label_key(name) for name in inside}:
        known -= {key for key in there if key.isdigit()}
    for place in dict.fromkeys(places):
        its_class = _folder(place.name, classes)
        # normal classes may have any name
        found = [] if label_key(place.name) in normal.named else [(its_class, _role(place.name, None))]
        for name in place.below:
            role = _role(name, known)
            folder = "a folder" if role == _MASKS and len(inside) > MOST_NAMED else f"the folder {name!r}"
            found.append((f"{its_class} holds {folder}, which", role))
        for subject, role in found:
            if role is not None:
                raise MedscreenError(
                    f"{root}: {subject} is named like {role}. Move masks out of root, use <root>/<class>/* or "
                    "<root>/{train,val,test}/<class>/* without folders in between, or correct root in params.yaml."
                )


def _role(folder: str, known: Collection[str] | None) -> str | None:
    """Role by a folder's name: masks, a split or, if `known` gives the keys of classes, a class; None for others."""
    words = _words(folder)
    if _DRAWN.fullmatch(words):
        return _MASKS
    if _LIKE_A_SPLIT.fullmatch(words):
        return _SPLIT
    is_class = known is not None and (label_key(folder) in known or is_word_of_a_class(folder))
    return _CLASS if is_class else None


def _doubt_in_bytes(name: str, normal: NormalLabels) -> str | None:
    """Doubt about a folder whose name is not UTF-8 and may be a normal class; None for all others."""
    parts = _NO_UTF_8.split(plain(name))
    pattern = ".?".join(map(re.escape, parts))
    known = next((wanted for key, wanted in normal.named.items() if re.fullmatch(pattern, key)), None)
    return f"may be the normal class {known!r} in another encoding" if len(parts) > 1 and known is not None else None


def _words(folder: str) -> str:
    return " ".join(re.split(r"[\W_]+", plain(folder))).strip()


def _folder(name: str, among: Collection[str]) -> str:
    return f"the folder {name!r}" if len(among) <= MOST_NAMED else "one of its folders"
