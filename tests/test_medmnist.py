import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factories import one_sentence
from medscreen.config.datasets import MedMnistParams
from medscreen.data.sources import downloads, medmnist
from medscreen.data.sources import read_source as sources
from medscreen.errors import MedscreenError

MNIST = MedMnistParams(kind="medmnist", root="-", image_size=28, flag="own", normal_labels=[0])


def content(side: int = 28, colours: tuple[int, ...] = (), labels: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    found: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        found[f"{split}_images"] = rng.integers(0, 256, (5, side, side, *colours)).astype(np.uint8)
        found[f"{split}_labels"] = rng.integers(0, 2, (5, labels)).astype(np.uint8)
        found[f"{split}_labels"][0] = 0
    return found


def npz(root: Path, arrays: dict[str, Any], flag: str = "own") -> Path:
    root.mkdir(exist_ok=True)
    np.savez_compressed(root / f"{flag}.npz", **arrays)
    return root / f"{flag}.npz"


def refusal(root: Path, **changed: Any) -> str:
    with pytest.raises(MedscreenError) as error:
        medmnist.read_records(MNIST.model_copy(update=changed), root)
    return one_sentence(error)


@pytest.mark.parametrize("side", [28, 64, 128, 224])
def test_every_size_is_read_by_its_files_name(tmp_path: Path, side: int) -> None:
    npz(tmp_path, arrays := content(side), f"own_{side}")
    records = medmnist.read_records(MNIST.model_copy(update={"flag": f"own_{side}"}), tmp_path)
    assert records[0].origin == f"own_{side}.npz#train/0"
    np.testing.assert_array_equal(records[7].image, arrays["val_images"][2])
    assert records.notes == {}


def test_coloured_images_become_their_luminance(tmp_path: Path) -> None:
    npz(tmp_path, arrays := content(colours=(3,)))
    records = medmnist.read_records(MNIST, tmp_path)
    expected = Image.fromarray(arrays["test_images"][4]).convert("L")
    np.testing.assert_array_equal(records[14].image, np.asarray(expected))


def test_an_image_is_normal_if_all_its_findings_are(tmp_path: Path) -> None:
    arrays = content(labels=3)
    arrays["train_labels"] = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0]], np.uint8)
    npz(tmp_path, arrays)

    def labels(normal: list[int]) -> list[int]:
        return [
            r.label for r in medmnist.read_records(MNIST.model_copy(update={"normal_labels": normal}), tmp_path)[:5]
        ]

    assert labels([]) == [0, 1, 1, 1, 1]
    assert labels([2]) == [0, 1, 0, 1, 1]
    assert [r.finding for r in medmnist.read_records(MNIST, tmp_path)[:4]] == [
        "class none", "class 0", "class 2", "class 0+2",
    ]  # fmt: skip


def classes_of(number: int, classes: int) -> dict[str, Any]:
    """One-hot labels (number, classes) and images of all splits."""
    found: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        found[f"{split}_images"] = np.zeros((number, 8, 8), np.uint8)
        found[f"{split}_labels"] = np.eye(classes, dtype=np.uint8)[np.arange(number) % classes]
    return found


def test_one_image_of_few_without_any_of_one_hot_classes_has_no_label(tmp_path: Path) -> None:
    arrays = classes_of(5, 3)
    arrays["train_labels"][0] = 0
    npz(tmp_path, arrays)
    assert "1 of 15 images have none of the 3 labels" in refusal(tmp_path)


def test_an_image_without_any_of_one_hot_classes_has_no_label(tmp_path: Path) -> None:
    arrays = classes_of(100, 3)
    npz(tmp_path, arrays)
    assert len(medmnist.read_records(MNIST, tmp_path)) == 300
    arrays["val_labels"][7:9] = 0
    npz(tmp_path, arrays)
    assert "2 of 300 images have none of the 3 labels, and nearly all others have" in refusal(tmp_path)
    named_as_normal = medmnist.read_records(MNIST.model_copy(update={"normal_labels": []}), tmp_path)
    assert sum(record.label == 0 for record in named_as_normal) == 2
    arrays["test_labels"][:4] = 1  # findings, of which an image may have several or none
    npz(tmp_path, arrays)
    assert len(medmnist.read_records(MNIST, tmp_path)) == 300


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64", ">i4"])
def test_255_is_a_missing_label_unless_254_is_a_class(tmp_path: Path, dtype: str) -> None:
    arrays = content()
    arrays["val_labels"] = np.array([0, 1, 255, 0, 255]).astype(dtype)
    npz(tmp_path, arrays)
    assert "val_labels holds 255 2 times, a code for a missing label" in refusal(tmp_path)
    if dtype != "uint8":
        arrays["train_labels"] = np.array([0, 1, 254, 0, 1]).astype(dtype)
        npz(tmp_path, arrays)
        assert len(medmnist.read_records(MNIST, tmp_path)) == 15


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_is_a_sentence(tmp_path: Path, channels: int) -> None:
    npz(tmp_path, content() | {"val_images": np.zeros((5, channels, 28, 28), np.uint8)})
    assert f"val_images (5, {channels}, 28, 28) has its channels first" in refusal(tmp_path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_an_image_is_a_sentence(tmp_path: Path, split: str) -> None:
    empty = {f"{split}_images": np.zeros((0, 28, 28), np.uint8), f"{split}_labels": np.zeros((0, 1), np.uint8)}
    npz(tmp_path, content() | empty)
    assert f"{split}_images (0, 28, 28) holds no image" in refusal(tmp_path)


@pytest.mark.parametrize("normal", [[], [7]])
def test_a_set_without_a_normal_image_is_a_sentence(tmp_path: Path, normal: list[int]) -> None:
    npz(tmp_path, content())
    what = f"label {normal[0]}" if normal else "normal image"
    assert f"has no {what} by normal_labels: {normal}; correct it" in refusal(tmp_path, normal_labels=normal)


def test_another_file_than_the_published_one_is_noted(tmp_path: Path) -> None:
    npz(tmp_path, content(), "breastmnist")
    params = MNIST.model_copy(update={"flag": "breastmnist"})
    notes = sources.read_records(params, tmp_path).notes
    assert json.dumps(notes) == '{"files with another md5 than the published one": 1}'  # a count, not True


def archived(root: Path, header: bytes, body: bytes) -> Path:
    """A file whose train_images have that header."""
    path = npz(root, {name: array for name, array in content().items() if name != "train_images"})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", header + body)
    return path


def header(shape: str, dtype: str = "'|u1'", order: str = "False") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (header("(1000000, 65000, 65000)"), "its header states"),
        (header("(5, 28, 29)"), "its header states"),
        (header("(-5, -28, 28)"), "not a 2-D MedMNIST file"),
        (header("(5, 28, 28)", "'|O'"), "pickled objects"),
        (header("(5, 28, 28)", order="True"), "Fortran order"),
        (header("(5, 28, 28)", "'<f4'"), "its header states"),
        (header("(5, 28, 28)").replace(b"\x01\x00", b"\x09\x00", 1), "not a 2-D MedMNIST file"),
        (b"", "not a 2-D MedMNIST file"),
    ],
)
def test_a_header_that_lies_is_a_sentence(tmp_path: Path, start: bytes, says: str) -> None:
    archived(tmp_path, start, bytes(5 * 28 * 28))
    assert says in refusal(tmp_path)


def test_a_bomb_is_a_sentence(tmp_path: Path) -> None:
    side = 1 << 14  # 320 MB of black in 320 kB
    archived(tmp_path, header(f"(1, {side + 4096}, {side})"), bytes((side + 4096) * side))
    assert "are not images" in refusal(tmp_path)


def test_a_file_without_a_split_is_a_sentence(tmp_path: Path) -> None:
    npz(tmp_path, {name: array for name, array in content().items() if name != "val_labels"})
    assert "val_labels" in refusal(tmp_path)


def test_an_archive_with_a_password_is_a_sentence(tmp_path: Path) -> None:
    path = npz(tmp_path, content())
    with zipfile.ZipFile(path) as archive:
        central = archive.start_dir
    whole = bytearray(path.read_bytes())
    whole[central + 8] |= 1  # the flag of encryption, of the first array
    path.write_bytes(whole)
    refusal(tmp_path)


class Answers(BaseHTTPRequestHandler):
    """GET /<how>: whole, or misbehaving."""

    body = b""

    def do_GET(self) -> None:
        how = self.path.strip("/")
        if how == "missing":
            self.send_error(404)
            return
        if how == "moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "9999999" if how in {"short", "drip", "silent"} else str(len(self.body)))
        self.end_headers()
        if how in {"whole", "short"}:
            self.wfile.write(self.body)
        while how in {"drip", "silent"} and not self.server.over.wait(0.05):  # type: ignore[attr-defined]
            if how == "drip":
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that MedMNIST's table names instead of its own."""
    Answers.body = npz(tmp_path / "there", content()).read_bytes()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    http.daemon_threads = False  # so that closing the server waits for their sockets
    http.over = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{http.server_port}"
    about = {how: {"python_class": "X", "url": f"{address}/{how}"} for how in
             ("whole", "moved", "missing", "short", "drip", "silent")}  # fmt: skip
    monkeypatch.setattr(medmnist, "_catalogue", lambda: about)
    yield address
    http.over.set()  # type: ignore[attr-defined]
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.mark.parametrize("flag", ["whole", "moved"])
def test_a_file_that_is_missing_is_downloaded(server: str, tmp_path: Path, flag: str) -> None:
    params = MNIST.model_copy(update={"flag": flag})
    assert medmnist.find_files(params, tmp_path / "new") == [tmp_path / "new" / f"{flag}.npz"]
    assert len(medmnist.read_records(params, tmp_path / "new")) == 15


@pytest.mark.parametrize("flag", ["missing", "short", "drip", "silent"])
def test_a_download_that_fails_is_a_sentence_and_leaves_no_half(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setattr(downloads, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(downloads, "GRACE_S", 0.7)
    monkeypatch.setattr(downloads, "SLOWEST_BYTES_PER_S", 1e9)
    with pytest.raises(MedscreenError, match=rf"{flag}\.npz can't be downloaded") as error:
        medmnist.find_files(MNIST.model_copy(update={"flag": flag}), tmp_path / "new")
    one_sentence(error)
    assert not list(tmp_path.glob("new/*"))


@pytest.mark.parametrize("md5", [None, "of the body", "0" * 32])
def test_a_download_is_the_published_file_or_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, md5: str | None
) -> None:
    if md5 == "of the body":
        md5 = hashlib.md5(Answers.body, usedforsecurity=False).hexdigest()
    about = {"python_class": "X", "url": f"{server}/whole"} | ({"MD5": md5} if md5 else {})
    monkeypatch.setattr(medmnist, "_catalogue", lambda: {"whole": about})
    params = MNIST.model_copy(update={"flag": "whole"})
    if md5 == "0" * 32:
        with pytest.raises(MedscreenError, match=r"whole\.npz can't be downloaded .* another MD5") as error:
            medmnist.find_files(params, tmp_path / "new")
        one_sentence(error)
        assert not list(tmp_path.glob("new/*"))
    else:
        assert medmnist.find_files(params, tmp_path / "new")[0].read_bytes() == Answers.body


def test_a_flag_of_volumes_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MedscreenError, match="holds volumes") as error:
        medmnist.find_files(MNIST.model_copy(update={"flag": "nodulemnist3d_64"}), tmp_path)
    one_sentence(error)


def test_the_table_of_medmnist_has_every_size() -> None:
    known = medmnist._catalogue()
    assert {"pneumoniamnist", "chestmnist", "pathmnist"} <= known.keys()
    assert all(f"{what}{size}" in known["pathmnist"] for what in ("url", "MD5") for size in ("", "_64", "_128", "_224"))
