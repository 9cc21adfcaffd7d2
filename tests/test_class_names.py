"""Trees of class folders: every image has the label of its own class folder, or the tree is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import FOLDERS, one_sentence, written
from medscreen.config.datasets import FoldersParams
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.records import Records
from medscreen.errors import MedscreenError
from test_labels import spellings

BETWEEN = ["dataset", "images", "train", "Test", "val ", "train_set", "fold1", "normal", "SICK", "patient 7"]


def records_of(root: Path, **changed: Any) -> Records:
    return sources.read_records(FoldersParams(**FOLDERS | changed), root)


def refusal(root: Path, **changed: Any) -> str:
    with pytest.raises(MedscreenError) as error:
        records_of(root, **changed)
    return one_sentence(error)


def tree(root: Path, *names: str) -> Path:
    for name in names:
        written(root / name, "x")
    return root


@st.composite
def trees(draw: st.DrawFn) -> dict[str, int]:
    """Path -> the label of its class folder: with or without splits, with spellings, and with folders in between."""
    found = {}
    for split in draw(st.sampled_from([("",), ("train", "val", "test"), ("Train", "Valid\u200b", "TEST")])):
        for word, label in (("normal", 0), ("sick", 1), ("nodule", 1)):
            for number in range(draw(st.integers(0, 2))):
                folder = draw(spellings(word)) if word == "normal" else word
                parts = [part for part in (split, folder) if part]
                if draw(st.integers(0, 5)) == 0:
                    parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from(BETWEEN)))
                found["/".join([*parts, f"{number}.png"])] = label
    return found


@settings(deadline=None, max_examples=300)
@given(files=trees(), published=st.sampled_from(["keep", "discard"]))
def test_a_label_is_that_of_the_class_folder_or_the_tree_is_refused(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, int], published: str
) -> None:
    root = tree(tmp_path_factory.mktemp("films"), *files)
    try:
        records = records_of(root, published_splits=published)
    except MedscreenError as error:
        assert str(error).startswith(str(root))
        assert str(error).endswith(".")
        return
    wrong = [record.origin for record in records if record.label != files[record.origin]]
    # of a folder that is named like nothing known nobody can tell: its files are counted
    assert len(wrong) <= records.notes.get("files in folders below their class folder", 0)
    assert all(Path(name).parent.parent.name.casefold() == "normal" for name in wrong)
    assert len(records) + records.notes.get("files outside the class folders", 0) == len(files)


def test_one_class_in_two_spellings_is_one(tmp_path: Path) -> None:
    root = tree(tmp_path, "unauff\u00e4llig/1.png", "unauffa\u0308llig/2.png", "UNAUFF\u00c4LLIG /3.png", "krank/4.png")
    records = records_of(root, normal_classes=["Unauff\u00e4llig"])
    assert sorted((Path(record.origin).name, record.label) for record in records) == [
        ("1.png", 0), ("2.png", 0), ("3.png", 0), ("4.png", 1),
    ]  # fmt: skip
    assert len({record.finding for record in records}) == 2


@pytest.mark.parametrize("published", ["keep", "discard"])
@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("train/train/normal/1.png", "train/val/normal/1.png", "val/sick/1.png", "test/sick/1.png"),
         "the folder 'train' is named like a split"),
        (("normal/1.png", "trainset/sick/1.png"),
         "the folder 'trainset' is named like a split"),
        (("normal/1.png", "fold 3/sick/1.png"),
         "the folder 'fold 3' is named like a split"),
        (("normal/1.png", "sick/1.png", "dataset/normal/1.png"),
         "the folder 'dataset' holds the folder 'normal', which is named like a class"),
        (("normal/1.png", "normal/sick/1.png", "sick/1.png"), "holds the folder 'sick', which is named like a class"),
        (("normal/train/1.png", "sick/1.png"),
         "the folder 'normal' holds the folder 'train', which is named like a split"),
        (("normal/deep/normal/1.png", "sick/1.png"), "holds the folder 'normal', which is named like a class"),
        (("dataset/train/normal/1.png", "dataset/train/sick/1.png"),
         "the folder 'dataset' holds the folder 'train', which is named like a split"),
        (("dataset/normal/1.png", "dataset/sick/1.png"),
         "the folder 'dataset' holds the folder 'normal', which is named like a class"),
        (("normal/1.png", "normal/abnormal/1.png"), "holds the folder 'abnormal', which is named like a class"),
        (("normal/1.png", "norm\udcc3\udce1l/1.png"), "may be the normal class 'normal' in another encoding"),
        (("normal/1.png", "norml/1.png"), "the folder 'norml' differs from the normal label 'normal'"),
        (("normal/1.png", "unknown/1.png"), "the folder 'unknown' stands for a missing value"),
        (("normal/1.png", "healthy/1.png"), "the folder 'healthy' means the same"),
    ],
)  # fmt: skip
def test_folders_that_could_be_misread_are_refused(
    tmp_path: Path, names: tuple[str, ...], says: str, published: str
) -> None:
    assert says in refusal(tree(tmp_path, *names), published_splits=published)


@pytest.mark.parametrize("published", ["keep", "discard"])
def test_class_folders_beside_split_folders_are_refused(tmp_path: Path, published: str) -> None:
    names = [f"{split}/{name}/1.png" for split in ("train", "val", "test") for name in ("normal", "sick")]
    root = tree(tmp_path, *names, "Normal/2.png")
    assert "the folder 'Normal' beside the folder 'test'" in refusal(root, published_splits=published)


def test_an_inner_copy_beside_the_splits_is_counted(tmp_path: Path) -> None:
    names = [f"{split}/{name}/1.png" for split in ("train", "val", "test") for name in ("normal", "sick")]
    records = records_of(tree(tmp_path, *names, *(f"films/{name}" for name in names)))
    assert [record.origin for record in records] == sorted(names)
    assert records.notes == {"files outside the class folders": 6}


@pytest.mark.parametrize("published", ["keep", "discard"])
@pytest.mark.parametrize(
    "other",
    [
        "dev",
        "development",
        "holdout",
        "hold-out",
        "eval",
        "Evaluation",
        "train2",
        "fold_2",
        "external",
        "external test",
    ],
)
def test_a_folder_called_like_a_split_beside_the_splits_is_refused(tmp_path: Path, other: str, published: str) -> None:
    names = [f"{split}/{name}/1.png" for split in ("train", "val", "test", other) for name in ("normal", "sick")]
    message = refusal(tree(tmp_path, *names), published_splits=published)
    assert f"the folder {other!r} beside the folder 'test', and its images would be in none" in message


@pytest.mark.parametrize("drawn", ["masks", "Mask", "annotations", "Ground_Truth", "groundtruth", "labels", "ROI",
                                   "lung mask", "ManualMask", "segmentation", "contours"])  # fmt: skip
@pytest.mark.parametrize("place", ["", "normal/", "sick/deep/"])
@pytest.mark.parametrize("splits", [("",), ("train/", "val/", "test/")])
def test_a_folder_of_masks_is_refused(tmp_path: Path, drawn: str, place: str, splits: tuple[str, ...]) -> None:
    films = [f"{split}{name}/1.png" for split in splits for name in ("normal", "sick")]
    message = refusal(tree(tmp_path, *films, f"{splits[0]}{place}{drawn}/1.png"))
    assert re.search(f"the folder {drawn!r},? (which )?is named like masks", message)
    assert "Move masks out of root" in message


def test_a_folder_of_masks_that_may_be_a_patients_is_not_named(tmp_path: Path) -> None:
    message = refusal(tree(tmp_path, "normal/1.png", *(f"sick/DOE {number} mask/1.png" for number in range(11))))
    assert "holds a folder, which is named like masks" in message
    assert "DOE" not in message


def test_a_normal_class_may_be_called_as_masks_are(tmp_path: Path) -> None:
    records = records_of(tree(tmp_path, "ROI/1.png", "sick/1.png"), normal_classes=["roi"])
    assert [record.label for record in records] == [0, 1]


@pytest.mark.parametrize(
    "mask", ["1_mask", "1_MASK", "1-mask", "1 mask", "1_mask_1", "1_mask2", "1_segmentation", "1_seg", "mask_1"]
)
def test_masks_beside_their_films_are_refused_and_counted(tmp_path: Path, mask: str) -> None:
    root = tree(tmp_path, "normal/1.png", "sick/1.png", f"sick/{mask}.png", "sick/2_mask.png")
    assert "1 file of the folder 'sick'" in refusal(root) and mask not in refusal(root)
    (root / "sick" / f"{mask}.png").unlink()
    assert len(records_of(root)) == 3


def test_folders_of_numbers_below_numbered_classes_are_patients(tmp_path: Path) -> None:
    root = tree(tmp_path, "0/12/a.png", "0/13/b.png", "1/1/c.png")
    records = records_of(root, normal_classes=["0"])
    assert [record.label for record in records] == [0, 0, 1]
    tree(root, "1/0/a.png")
    assert "holds the folder '0', which is named like a class" in refusal(root, normal_classes=["0"])


def test_a_folder_with_many_others_is_not_named(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"DOE_{number}/normal/1.png" for number in range(11)))
    message = refusal(root)
    assert "one of its folders holds the folder 'normal', which is named like a class" in message
    assert "DOE" not in message


def test_a_class_without_a_file_and_one_that_is_a_link_are_told(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "sick/1.png")
    (root / "normal").mkdir()
    assert "the class folder 'normal' holds no file" in refusal(root)
    written(root / "normal" / "1.png", "x")
    (root / "nodule").mkdir()
    assert records_of(root).notes == {"class folders without a file": 1}
    (root / "normal").rename(tmp_path / "away")
    (root / "normal").symlink_to(tmp_path / "away")
    assert "the class folder 'normal' is a link, which is not followed" in refusal(root)
    (root / "train").symlink_to(tmp_path / "away")
    assert "train is a link, which is not followed" in refusal(root, published_splits="discard")
