import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from factories import image_set, one_sentence, unstated
from medscreen.data.images import (
    ImageSet,
    image_digest,
    load_images,
    new_array,
    open_test_split,
    save_images,
    set_digest,
)
from medscreen.errors import MedscreenError


@pytest.fixture
def images() -> ImageSet:
    return image_set(12, 16, seed=3)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_saved_comes_back(images: ImageSet, tmp_path: Path) -> None:
    index = np.array([5, 0, 11])
    save_images(images, index, tmp_path / "train")
    loaded = load_images(tmp_path / "train")
    assert len(loaded) == 3
    np.testing.assert_array_equal(loaded.pixels, images.pixels[index])
    np.testing.assert_array_equal(loaded.labels, images.labels[index])
    np.testing.assert_array_equal(loaded.patients, images.patients[index])
    assert list(loaded.origins) == [images.origins[i] for i in index]
    assert loaded.labels.dtype == loaded.patients.dtype == np.int64


def test_pixels_are_mapped_not_read(images: ImageSet, tmp_path: Path) -> None:
    save_images(images, np.arange(12), tmp_path / "train")
    pixels = load_images(tmp_path / "train").pixels
    assert isinstance(pixels, np.memmap)
    assert not pixels.flags.writeable


def test_equal_images_give_equal_files(images: ImageSet, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_images(images, np.arange(12), tmp_path / name)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_more_images_than_a_chunk_are_saved(tmp_path: Path) -> None:
    number = 2500
    many = ImageSet(
        np.arange(number * 4, dtype=np.uint32).astype(np.uint8).reshape(number, 2, 2),
        np.zeros(number, np.int64),
        np.arange(number),
        [str(i) for i in range(number)],
        [f"{i:032x}" for i in range(number)],
    )
    save_images(many, np.arange(number)[::-1], tmp_path / "train")
    loaded = load_images(tmp_path / "train")
    np.testing.assert_array_equal(loaded.pixels, many.pixels[::-1])
    assert loaded.origins[0] == "2499"
    assert loaded.digests[0] == f"{2499:032x}"


@pytest.mark.parametrize("lost", ["images.npy", "manifest.parquet", None])
def test_absent_images_are_a_sentence(images: ImageSet, tmp_path: Path, lost: str | None) -> None:
    if lost:
        save_images(images, np.arange(12), tmp_path / "train")
        (tmp_path / "train" / lost).unlink()
    with pytest.raises(MedscreenError, match="holds no curated images") as error:
        load_images(tmp_path / "train")
    one_sentence(error)


def test_take_accepts_positions_and_masks(images: ImageSet) -> None:
    by_mask, by_position = images.take(images.labels == 1), images.take(np.array([1, 3, 5, 7, 9, 11]))
    assert set_digest(by_mask) == set_digest(by_position)
    assert by_mask.origins == by_position.origins == list(images.origins)[1::2]


def test_take_copies(images: ImageSet) -> None:
    taken = images.take(np.array([0]))
    taken.pixels[:] = 0
    assert images.pixels[0].any()


def test_healthy_images_are_those_labelled_normal(images: ImageSet) -> None:
    healthy = images.healthy()
    assert len(healthy) == 6
    assert not healthy.labels.any()
    np.testing.assert_array_equal(healthy.pixels, images.pixels[::2])


def test_an_images_digest_tells_pixels_and_shape() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert image_digest(image) == image_digest(image.copy(order="F"))
    assert image_digest(image) != image_digest(image.reshape(4, 3))
    assert image_digest(image) != image_digest(image + 1)
    assert len(image_digest(image)) == 32


def test_a_sets_digest_tells_pixels_labels_patients_and_order(images: ImageSet) -> None:
    base = set_digest(images)
    order = np.arange(12)[::-1].copy()
    others = [
        ImageSet(255 - images.pixels, images.labels, images.patients, images.origins, images.digests),
        ImageSet(images.pixels, 1 - images.labels, images.patients, images.origins, images.digests),
        ImageSet(images.pixels, images.labels, images.patients + 1, images.origins, images.digests),
        images.take(order),
    ]
    assert len({base, *map(set_digest, others)}) == 5
    assert set_digest(images.take(np.arange(12))) == base


def test_a_file_that_has_no_room_is_a_sentence_and_leaves_nothing(images: ImageSet, tmp_path: Path) -> None:
    """In a process of its own: the limit counts for all files that one writes."""
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from medscreen.errors import MedscreenError
from medscreen.data.images import new_array
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    new_array(Path(sys.argv[1]), np.float16, (3000, 10))[:] = 1
except MedscreenError as error:
    print(error)
"""
    path = tmp_path / "a.npy"
    output = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert not unstated(output, path, "no room", "60,000 bytes")
    assert not path.exists()


def test_what_is_mapped_has_its_room_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_array(tmp_path / "a.npy", np.uint8, (100, 64, 64))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 100 * 64 * 64

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(MedscreenError, match="No space left on device") as error:
        new_array(tmp_path / "b.npy", np.uint8, (100, 64, 64))
    one_sentence(error)
    assert not (tmp_path / "b.npy").exists()


def test_a_file_that_can_not_be_written_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(MedscreenError) as error:
        new_array(tmp_path / "gone" / "a.npy", np.uint8, (4, 8))
    assert not unstated(str(error.value), tmp_path / "gone" / "a.npy", "No such file or directory")


@pytest.mark.parametrize("named", [True, False])
def test_the_test_split_is_closed_but_for_evaluation(tmp_path: Path, named: bool) -> None:
    """Whatever folder it lies in; without its name in the manifest, as older commits wrote it, by its folder."""
    images = image_set(6, 12, 1)
    folder = tmp_path / ("elsewhere" if named else "test")
    save_images(images, np.arange(6), folder, "test" if named else "")
    if not named:
        manifest = pq.read_table(folder / "manifest.parquet")
        about = {key: value for key, value in manifest.schema.metadata.items() if key != b"split"}
        pq.write_table(manifest.replace_schema_metadata(about), folder / "manifest.parquet")
    with pytest.raises(MedscreenError, match="read by the evaluate stage alone"):
        load_images(folder)
    with open_test_split():
        assert len(load_images(folder)) == 6
    with pytest.raises(MedscreenError):
        load_images(folder)
