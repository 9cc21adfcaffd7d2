import gc
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factories import FOLDERS, PHANTOM, labels_table, one_sentence, real_data, written
from medscreen.config.datasets import DicomParams, FoldersParams, MedMnistParams
from medscreen.data.sources import medmnist
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.phantom import export as phantom
from medscreen.data.sources.records import Records
from medscreen.errors import MedscreenError

TREE = DicomParams(
    kind="dicom", root="tree", image_size=16, table="labels.csv", images=".", normal_labels=[0], attributes={},
    columns={"patient": "patient", "label": "label", "file": "file"}, slices={"take": "middle"},
    display={"window": "file", "burned_in": "count"},
)  # fmt: skip
MNIST = MedMnistParams(kind="medmnist", root="mnist", image_size=28, flag="pneumoniamnist", normal_labels=[0])


def test_sources_dispatch_on_the_kind(export: Path, tmp_path: Path) -> None:
    records = sources.read_records(PHANTOM, export)
    assert [record.origin for record in records] == sorted(row["file"] for row in labels_table(export))
    assert {(r.origin, r.patient, r.label, r.finding) for r in records} == {
        (row["file"], row["patient"], int(row["label"]), row["finding"]) for row in labels_table(export)
    }
    assert records.notes == {}
    assert sources.find_files(PHANTOM, export, 1) == phantom.find_files(PHANTOM, export, 1)
    with pytest.raises(MedscreenError, match=r"pneumoniamnist\.npz is missing"):
        sources.read_records(MNIST, tmp_path)


def test_a_root_is_absolute_home_or_below_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def root(text: str) -> Path:
        return sources.root_of(MNIST.model_copy(update={"root": text}), tmp_path / "work")

    assert root("data/x") == tmp_path / "work/data/x"
    assert root("~/.medmnist") == tmp_path / "home/.medmnist"
    assert root(str(tmp_path / "far")) == tmp_path / "far"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/2.png", "a/1.png"):
        written(tmp_path / "tree" / name, "pixels")
    written(tmp_path / "secret.png", "not yours")
    written(tmp_path / "tree" / "labels.csv", "file,patient,label,note\nb/2.png,p2,1,x\na/1.png,p1,0,y\n")
    return tmp_path / "tree"


def tree_records(root: Path) -> Records:
    return sources.read_records(TREE, root)


def tree_refusal(root: Path) -> str:
    with pytest.raises(MedscreenError) as error:
        tree_records(root)
    return one_sentence(error)


def test_a_tree_is_read_in_order_of_its_files(tree: Path) -> None:
    records = tree_records(tree)
    assert [(r.origin, r.image, r.patient, r.label, r.split) for r in records] == [
        ("a/1.png", tree / "a/1.png", "p1", 0, None),
        ("b/2.png", tree / "b/2.png", "p2", 1, None),
    ]


def test_a_missing_table_is_a_sentence(tree: Path) -> None:
    (tree / "labels.csv").unlink()
    assert "labels.csv is missing" in tree_refusal(tree)


@pytest.mark.parametrize("lost", ["file", "patient", "label"])
def test_a_missing_column_is_named(tree: Path, lost: str) -> None:
    header = ",".join(column for column in ("file", "patient", "label") if column != lost)
    written(tree / "labels.csv", f"{header}\na/1.png,0\n")
    assert f"has no column {lost!r}" in tree_refusal(tree)


@pytest.mark.parametrize("content", ["file,patient,label\n", ""])
def test_a_table_without_rows_is_a_sentence(tree: Path, content: str) -> None:
    written(tree / "labels.csv", content)
    tree_refusal(tree)


@pytest.mark.parametrize("name", ["../secret.png", "../gone.png", "a/../../secret.png", "{root}/../secret.png"])
def test_a_file_that_is_not_below_the_root_is_refused(tree: Path, name: str) -> None:
    written(tree / "labels.csv", f"file,patient,label\na/1.png,p1,0\n{name.format(root=tree)},p1,0\n")
    assert "line 3: its file leads out of" in (message := tree_refusal(tree))
    assert "secret" not in message


@pytest.mark.parametrize("name", ["absent.png", "a"])
def test_rows_whose_file_is_missing_are_counted_unless_all_are(tree: Path, name: str) -> None:
    written(tree / "labels.csv", f"file,patient,label\n{name},p1,0\na/1.png,p1,0\n{name},p1,0\n")
    records = tree_records(tree)
    assert [record.origin for record in records] == ["a/1.png"]
    assert records.notes["rows of the table whose file is missing"] == 2
    written(tree / "labels.csv", f"file,patient,label\n{name},p1,0\n")
    assert f"No row of {tree / 'labels.csv'} names a file below" in tree_refusal(tree)


def test_a_link_out_of_the_tree_is_refused(tree: Path) -> None:
    (tree / "a" / "link.png").symlink_to(tree.parent / "secret.png")
    written(tree / "labels.csv", "file,patient,label\na/link.png,p1,0\n")
    assert "line 2: its file leads out of" in tree_refusal(tree)


@pytest.mark.parametrize(("row", "column"), [(",p1,0", "file"), ("a/1.png,,0", "patient"), ("a/1.png,p1,", "label")])
def test_an_empty_cell_is_refused(tree: Path, row: str, column: str) -> None:
    written(tree / "labels.csv", f"file,patient,label\n{row}\n")
    assert f"without a {column}" in tree_refusal(tree)


@pytest.mark.parametrize("row", ["a/1.png", "a/1.png,p1", "0"])
@pytest.mark.parametrize("header", ["file,patient,label", "label,file,patient"])
def test_a_short_row_is_a_sentence(tree: Path, header: str, row: str) -> None:
    written(tree / "labels.csv", f"{header}\n{row}\n")
    tree_refusal(tree)


def test_a_row_without_a_patient_is_a_sentence(tree: Path) -> None:
    # all images without a patient would silently become one person's
    written(tree / "labels.csv", "file,patient,label\na/1.png,,0\nb/2.png,,1\n")
    assert "without a patient (line 2)" in tree_refusal(tree)


def test_rows_that_repeat_one_are_counted_and_those_that_contradict_one_are_refused(tree: Path) -> None:
    rows = "file,patient,label\na/1.png,p1,0\nb/2.png,p2,1\na//1.png,p1,0\n"
    written(tree / "labels.csv", rows)
    records = tree_records(tree)
    assert [record.origin for record in records] == ["a/1.png", "b/2.png"]
    assert records.notes == {"rows that repeat another": 1}
    for other in ("a/1.png,p1,1", "./a/1.png,p2,0"):
        written(tree / "labels.csv", f"{rows}{other}\n")
        assert "line 5: it contradicts line 2, which gives the same file" in tree_refusal(tree)


def test_a_table_in_another_encoding_is_a_sentence(tree: Path) -> None:
    written(tree / "labels.csv", "file,patient,label,note\na/1.png,p1,0,Lungenentzündung\n".encode("latin-1"))
    assert "UTF-8" in tree_refusal(tree)


def test_a_table_saved_by_excel_is_read(tree: Path) -> None:
    written(tree / "labels.csv", "\ufefffile,patient,label\r\na/1.png,p1,0\r\n")
    assert [record.origin for record in tree_records(tree)] == ["a/1.png"]


def test_a_nul_byte_in_the_table_is_a_sentence(tree: Path) -> None:
    written(tree / "labels.csv", "file,patient,label\na/1\0.png,p1,0\n")
    tree_refusal(tree)


def arrays(**changed: Any) -> dict[str, Any]:
    numbers = {"train": 6, "val": 3, "test": 4}
    content: dict[str, Any] = {}
    for seed, (split, number) in enumerate(numbers.items()):
        content[f"{split}_images"] = np.random.default_rng(seed).integers(0, 256, (number, 28, 28)).astype(np.uint8)
        content[f"{split}_labels"] = (np.arange(number) % 2).astype(np.uint8)[:, None]
    return content | changed


def mnist_file(root: Path, content: dict[str, Any]) -> Path:
    root.mkdir(exist_ok=True)
    path = root / "pneumoniamnist.npz"
    np.savez_compressed(path, **content)
    return path


def mnist_refusal(root: Path) -> str:
    with pytest.raises(MedscreenError) as error:
        medmnist.read_records(MNIST, root)
    message = one_sentence(error)
    del error
    gc.collect()  # a file left open is a warning, and so an error, of this test
    return message


def test_medmnist_records_keep_order_split_and_label(tmp_path: Path) -> None:
    content = arrays()
    mnist_file(tmp_path, content)
    records = medmnist.read_records(MNIST, tmp_path)
    assert [record.split for record in records] == ["train"] * 6 + ["val"] * 3 + ["test"] * 4
    assert [record.label for record in records[:6]] == [0, 1] * 3
    assert records[7].origin == "pneumoniamnist.npz#val/1"
    np.testing.assert_array_equal(records[7].image, content["val_images"][1])
    assert {record.patient for record in records} == {None}  # the file does not say


def test_normal_labels_may_be_several(tmp_path: Path) -> None:
    grades = np.arange(6, dtype=np.uint8)[:, None] % 3
    mnist_file(tmp_path, arrays(train_labels=grades)).rename(tmp_path / "own.npz")
    both = MNIST.model_copy(update={"flag": "own", "normal_labels": [0, 2]})
    assert [record.label for record in medmnist.read_records(both, tmp_path)[:6]] == [0, 1, 0, 0, 1, 0]


def test_the_real_pneumoniamnist_is_read() -> None:
    records = medmnist.read_records(MNIST, real_data("medmnist", "pneumoniamnist.npz").parent)
    counts = {split: sum(record.split == split for record in records) for split in ("train", "val", "test")}
    assert counts == {"train": 4708, "val": 524, "test": 624}
    assert sum(record.label for record in records if record.split == "test") == 390
    assert all(isinstance(record.image, np.ndarray) and record.image.shape == (28, 28) for record in records)


def test_a_file_that_is_there_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medmnist, "_download", lambda *_: pytest.fail("downloaded"))
    path = mnist_file(tmp_path, arrays())
    assert medmnist.find_files(MNIST, tmp_path) == [path]


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("malice-was-here"),))


def test_pickled_arrays_are_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mnist_file(tmp_path, arrays(train_images=np.array([Malice()], dtype=object)))
    assert "not a 2-D MedMNIST file" in mnist_refusal(tmp_path)
    (tmp_path / "pneumoniamnist.npz").write_bytes(pickle.dumps(Malice()))
    mnist_refusal(tmp_path)
    assert not (tmp_path / "malice-was-here").exists()


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_a_sentence(tmp_path: Path, kept: float) -> None:
    path = mnist_file(tmp_path, arrays())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "move it away, and the published one is downloaded" in mnist_refusal(tmp_path)


@pytest.mark.parametrize("flag", ["ours", "pneumoniamnist_32", "ours_64"])
def test_a_file_that_nobody_publishes_is_not_said_to_be_downloaded(tmp_path: Path, flag: str) -> None:
    written(tmp_path / f"{flag}.npz", "cut short")
    with pytest.raises(MedscreenError) as error:
        medmnist.read_records(MNIST.model_copy(update={"flag": flag}), tmp_path)
    message = one_sentence(error)
    assert "np.savez_compressed" in message
    assert "download" not in message


@pytest.mark.parametrize("where", [0.05, 0.2, 0.3, 0.5])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, where: float) -> None:
    path = mnist_file(tmp_path, arrays())
    content = bytearray(path.read_bytes())
    start = int(len(content) * where)
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    mnist_refusal(tmp_path)


def test_a_damaged_file_of_smooth_images_is_a_sentence(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.arange(28, dtype=np.uint8), (600, 28, 28))
    path = mnist_file(tmp_path, arrays(train_images=smooth, train_labels=np.zeros((600, 1), np.uint8)))
    content = bytearray(path.read_bytes())
    content[200:260] = b"\xff" * 60
    path.write_bytes(content)
    mnist_refusal(tmp_path)


def test_an_array_under_the_files_name_is_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    shutil.copy(tmp_path / "one.npy", tmp_path / "pneumoniamnist.npz")
    mnist_refusal(tmp_path)


def test_a_foreign_archive_is_a_sentence(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pneumoniamnist.npz", "w") as archive:
        archive.writestr("train_images", "text")
    mnist_refusal(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"train_images": np.zeros((6, 28, 28, 4), np.uint8)},
        {"train_images": np.zeros((6, 28, 28, 28), np.uint8)},
        {"train_images": np.zeros((6, 0, 28), np.uint8)},
        {"train_images": np.zeros((6, 28, 28), np.float32)},
        {"val_labels": np.zeros((2, 1), np.uint8)},
        {"test_labels": np.zeros((4, 0), np.uint8)},
        {"test_labels": np.zeros((4, 1), np.float32)},
        {"test_labels": np.full((4, 14), 2, np.uint8)},
        {"val_labels": np.zeros((3, 1), bool)},
        {"val_labels": np.zeros((3, 1, 1), np.uint8)},
        {"val_labels": np.full((3, 1), np.nan)},
        {"val_labels": np.full((3, 1), -1, np.int8)},
        {"val_labels": np.full((3, 1), 255, np.uint8)},
        {"val_labels": np.full((3, 1), 2, np.uint8)},
        {"val_labels": np.zeros((3, 2), np.uint8)},
        {"val_labels": np.array(["no"] * 3)},
    ],
)
def test_arrays_of_another_shape_are_a_sentence(tmp_path: Path, changed: dict[str, Any]) -> None:
    mnist_file(tmp_path, arrays(**changed))
    assert next(iter(changed)).split("_")[0] in mnist_refusal(tmp_path)


def test_labels_without_a_second_axis_are_read(tmp_path: Path) -> None:
    content = arrays()
    mnist_file(tmp_path, {name: array[:, 0] if "labels" in name else array for name, array in content.items()})
    flat = medmnist.read_records(MNIST, tmp_path)
    mnist_file(tmp_path, content)
    assert [r.label for r in flat] == [r.label for r in medmnist.read_records(MNIST, tmp_path)]


def test_labels_of_another_form_are_told_the_form(tmp_path: Path) -> None:
    mnist_file(tmp_path, arrays(val_labels=np.zeros((3, 1), np.float32)))
    message = mnist_refusal(tmp_path)
    assert "val_labels is float32 (3, 1); it has to be whole numbers (3,) or (3, 1)" in message
    assert "download" not in message


@pytest.mark.parametrize("flag", ["nodulemnist3d", "own"])
@pytest.mark.parametrize("axes", [(28, 28, 28), (28, 28, 28, 1)])
def test_volumes_are_a_sentence_without_a_download(tmp_path: Path, flag: str, axes: tuple[int, ...]) -> None:
    images = {f"{split}_images": np.zeros((2, *axes), np.uint8) for split in ("train", "val", "test")}
    labels = {f"{split}_labels": np.zeros((2, 1), np.uint8) for split in ("train", "val", "test")}
    np.savez_compressed(tmp_path / f"{flag}.npz", **images, **labels)
    with pytest.raises(MedscreenError, match="holds volumes") as error:
        medmnist.read_records(MNIST.model_copy(update={"flag": flag}), tmp_path)
    assert "download" not in one_sentence(error)


def test_a_damaged_file_of_volumes_is_not_said_to_be_downloaded(tmp_path: Path) -> None:
    written(tmp_path / "nodulemnist3d.npz", "cut short")
    with pytest.raises(MedscreenError, match="the published one holds volumes"):
        medmnist.read_records(MNIST.model_copy(update={"flag": "nodulemnist3d"}), tmp_path)


@pytest.mark.parametrize(("flag", "labels"), [("own", [[2], [255], [0]]), ("pneumoniamnist", [[0], [1], [2]])])
def test_a_class_that_is_none_is_named(tmp_path: Path, flag: str, labels: list[list[int]]) -> None:
    mnist_file(tmp_path, arrays(val_labels=np.array(labels, np.uint8))).rename(tmp_path / f"{flag}.npz")
    with pytest.raises(MedscreenError, match=f"val_labels holds {max(labels)[0]}") as error:
        medmnist.read_records(MNIST.model_copy(update={"flag": flag}), tmp_path)
    one_sentence(error)


def test_a_normal_label_that_no_image_has_is_named(tmp_path: Path) -> None:
    mnist_file(tmp_path, arrays())
    with pytest.raises(MedscreenError, match=r"has no label 7 by normal_labels: \[0, 7\]"):
        medmnist.read_records(MNIST.model_copy(update={"normal_labels": [0, 7]}), tmp_path)


def test_a_missing_split_is_a_sentence(tmp_path: Path) -> None:
    content = arrays()
    del content["val_images"]
    mnist_file(tmp_path, content)
    assert "val_images" in mnist_refusal(tmp_path)


def test_a_flag_that_medmnist_does_not_know_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MedscreenError, match="no data set 'lungmnist'") as error:
        medmnist.find_files(MNIST.model_copy(update={"flag": "lungmnist"}), tmp_path)
    assert "pneumoniamnist" in one_sentence(error)


FILMS = FoldersParams(**FOLDERS | {"normal_classes": ["NORMAL"]})


def class_folders_of(root: Path, *names: str) -> Path:
    for name in names:
        written(root / name, "x")
    return root


def test_class_folders_without_splits(tmp_path: Path) -> None:
    root = class_folders_of(
        tmp_path, "NORMAL/b.png", "NORMAL/deep/a.png", "sick/c.png", "LICENCE", ".git/x/y", "sick/.DS"
    )
    records = sources.read_records(FILMS, root)
    assert [(r.origin, r.label, r.split, r.patient) for r in records] == [
        ("NORMAL/b.png", 0, None, None),
        ("NORMAL/deep/a.png", 0, None, None),
        ("sick/c.png", 1, None, None),
    ]
    assert [path.name for path in sources.find_files(FILMS, root, 1)] == ["LICENCE", "b.png", "a.png", "c.png"]


def test_a_table_beside_class_folders_says_whose_images_they_are(tmp_path: Path) -> None:
    root = class_folders_of(tmp_path, "NORMAL/a.png", "NORMAL/b.png", "sick/c.png")
    (root / "labels.csv").write_text(
        "file,patient\nNORMAL/a.png,P-1\nNORMAL/b.png,2\nsick/c.png,P-1\nsick/gone.png,3\n"
    )
    assert [record.patient for record in sources.read_records(FILMS, root)] == ["P-1", "2", "P-1"]


def test_class_folders_with_published_splits(tmp_path: Path) -> None:
    names = [f"{split}/{name}/1.png" for split in ("test", "train", "val") for name in ("NORMAL", "PNEUMONIA")]
    records = sources.read_records(FILMS, class_folders_of(tmp_path, *names))
    assert [record.origin for record in records] == names
    assert [record.split for record in records] == ["test", "test", "train", "train", "val", "val"]
    assert [record.label for record in records] == [0, 1] * 3


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["train/NORMAL/1.png", "test/NORMAL/1.png"], "none called val/"),
        (["healthy/1.png", "sick/1.png"], "no class folder 'NORMAL' (it has healthy, sick)"),
        (["1.png"], "no class folder 'NORMAL' (it has none)"),
        ([], "holds no file"),
    ],
)
def test_folders_that_are_no_classes_are_a_sentence(tmp_path: Path, names: list[str], says: str) -> None:
    with pytest.raises(MedscreenError) as error:
        sources.read_records(FILMS, class_folders_of(tmp_path, *names))
    assert says in one_sentence(error)


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MedscreenError, match="holds no file") as error:
        sources.find_files(FILMS, tmp_path / "nowhere", 1)
    assert "nowhere" in one_sentence(error)


def test_real_class_folders() -> None:
    records = sources.read_records(FILMS, real_data("chest_xray"))
    assert len(records) == 180
    assert {(r.split, r.label) for r in records} == {(s, k) for s in ("train", "val", "test") for k in (0, 1)}
