"""Near duplicates: what is taken for one, and what the policies make of copies of either kind."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factories import CURATION, PHANTOM, film, one_sentence, real_data
from medscreen.config.datasets import CurationParams
from medscreen.data.curation.curation import Curated, curate
from medscreen.data.curation.near_duplicates import near_duplicate_pairs
from medscreen.data.display import to_square
from medscreen.data.images import SPLITS, Pixels
from medscreen.data.load_image import read_grey
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.phantom.cohort import BROKEN
from medscreen.data.sources.records import Record
from medscreen.errors import MedscreenError
from medscreen.reporting.curation_page.page import warnings

SIZE = 48


def textured(number: int, size: int = SIZE) -> Pixels:
    """Blobs of many sizes, other ones for each number."""
    rng = np.random.default_rng(number)
    image = np.zeros((size, size))
    for side in (3, 6, 12, 24):
        patch = Image.fromarray(rng.normal(0, side**-0.3, (side, side)).astype(np.float32))
        image += np.asarray(patch.resize((size, size), Image.Resampling.BICUBIC))
    return np.clip(125 + 45 * image, 0, 255).astype(np.uint8)


def recompressed(image: Pixels) -> Pixels:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def resized(image: Pixels) -> Pixels:
    smaller = Image.fromarray(image).resize((40, 40), Image.Resampling.BILINEAR)
    return np.asarray(smaller.resize(image.shape[::-1], Image.Resampling.BILINEAR))


def pairs_of(images: list[Pixels], folder: Path, workers: int = 1) -> list[tuple[int, int]]:
    pixels = np.stack(images)
    found = near_duplicate_pairs(pixels, np.arange(len(pixels)), workers, folder / "textures")
    assert not (folder / "textures").exists()
    return sorted((pair.first, pair.second) for pair in found)


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: (255 * (image / 255.0) ** 0.8).astype(np.uint8),
        lambda image: np.clip((image - 40.0) * 1.5, 0, 255).astype(np.uint8),
        lambda image: np.clip(image + np.random.default_rng(0).normal(0, 2, image.shape), 0, 255).astype(np.uint8),
        recompressed,
        resized,
    ],
    ids=["gamma", "window", "noise", "recompressed", "resized"],
)
@pytest.mark.parametrize("pose", range(8))
def test_a_changed_copy_is_found_in_every_pose(changed: Any, pose: int, tmp_path: Path) -> None:
    images = [textured(number) for number in range(12)]
    copy = changed(images[5])
    copy = np.rot90(copy if pose < 4 else copy.T, pose % 4)
    assert pairs_of([*images, copy], tmp_path) == [(5, 12)]


def test_films_that_are_alike_are_no_copies(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    assert pairs_of([film(SIZE, False, rng) for _ in range(80)], tmp_path) == []


def test_the_near_copies_of_the_phantom_are_found(export: Path, tmp_path: Path) -> None:
    records = sources.read_records(PHANTOM, export)
    readable = [record for record in records if not any(flaw in record.origin for flaw in ("resent", *BROKEN))]
    films = [
        to_square(read_grey(record.image, record.display), 64) for record in readable if isinstance(record.image, Path)
    ]
    found = pairs_of(films, tmp_path)
    names = [[readable[i].origin for i in pair] for pair in found]
    planted = [pair for pair in names if any("rewindowed" in name for name in pair)]
    assert len(planted) == PHANTOM.near_duplicates
    assert all(Path(a).parent == Path(b).parent for a, b in planted)


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    images = [textured(number // 2 if number % 100 == 1 else number) for number in range(600)]
    assert pairs_of(images, tmp_path, 1) == pairs_of(images, tmp_path, 2) != []


@pytest.mark.parametrize("pose", [0, 3, 6])
@pytest.mark.parametrize("number", [1, 512, 513, 1300, 4000])
def test_textures_are_compared_some_at_a_time_or_all_at_once(number: int, pose: int) -> None:
    from medscreen.data.curation.near_duplicates import _correlations

    rng = np.random.default_rng(number)
    first, second = (rng.normal(size=(many, 32, 32)).astype(np.float16) for many in (500, 600))
    at, other = rng.integers(0, 500, number), rng.integers(0, 600, number)
    found = _correlations(first.reshape(500, -1), second.reshape(600, -1), at, other, pose)
    turned = np.rot90(first if pose < 4 else first.transpose(0, 2, 1), pose % 4, (1, 2)).astype(np.float32)
    expected = (turned[at] * second[other].astype(np.float32)).sum((1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_flat_images_are_copies_of_nothing(tmp_path: Path) -> None:
    assert pairs_of([np.full((SIZE, SIZE), grey, np.uint8) for grey in (3, 3, 200)], tmp_path) == []


def test_films_of_different_patients_are_no_copies(tmp_path: Path) -> None:
    with np.load(real_data("medmnist", "derived_nihchest_64.npz")) as file:
        films = np.concatenate([file[f"{split}_images"] for split in ("train", "val", "test")])
    assert pairs_of(list(films), tmp_path) == []


def record(number: int, **changed: Any) -> Record:
    content: dict[str, Any] = {
        "origin": f"{number:03d}.png", "image": textured(number), "patient": f"p{number}", "label": number % 2,
        "finding": "x",
    }  # fmt: skip
    return Record(**content | changed)


def darker(number: int) -> Pixels:
    return (textured(number) * 0.8).astype(np.uint8)


def run(records: list[Record], folder: Path, **policies: Any) -> Curated:
    params = CurationParams(**CURATION.model_dump() | policies)
    return curate(records, SIZE, params, 7, 1, folder / "scratch")


def homes(curated: Curated) -> dict[str, str]:
    return {origin: name for name in SPLITS for origin in curated.split(name).origins}


def published(*more: Record) -> list[Record]:
    names = ["train"] * 40 + ["val"] * 6 + ["test"] * 6
    return [*(record(i, split=name) for i, name in enumerate(names)), *more]


def copies(number: int, folder: Path, **policies: Any) -> Curated:
    """60 images, each of a patient of its own, and a near duplicate of the first ones under other patients' names."""
    records = [record(i) for i in range(60)]
    records += [record(i, image=darker(i), origin=f"copy-{i}.png", patient=f"q{i}") for i in range(number)]
    return run(records, folder, **policies)


def test_near_copies_are_told_and_stay(tmp_path: Path) -> None:
    curated = copies(10, tmp_path)
    found = curated.audit["near_duplicates"]
    assert found["pairs"] == len(found["listed"]) == 10
    assert found["images"] == 20
    assert found["within"] == {"unsplit": 10}
    assert found["dropped"] == 0
    at = homes(curated)
    assert len(at) == 70
    apart = [pair for pair in found["listed"] if len(set(pair["splits"])) == 2]
    assert sum(found["shared"].values()) == len(apart) > 0
    assert all([at[name] for name in pair["files"]] == pair["splits"] for pair in found["listed"])
    assert curated.audit["patients"] == 70


def test_near_copies_are_kept_together(tmp_path: Path) -> None:
    curated = copies(10, tmp_path, near_duplicates="keep_together")
    at = homes(curated)
    assert len(at) == 70
    assert all(at[f"{i:03d}.png"] == at[f"copy-{i}.png"] for i in range(10))
    assert curated.audit["near_duplicates"]["shared"] == {}
    assert curated.audit["patients"] == 60


def test_of_near_copies_the_first_stays(tmp_path: Path) -> None:
    curated = copies(10, tmp_path, near_duplicates="drop")
    assert sorted(homes(curated)) == [f"{i:03d}.png" for i in range(60)]
    assert curated.audit["near_duplicates"]["dropped"] == 10
    assert curated.audit["without_exact_duplicates"] == 70
    assert curated.audit["without_near_duplicates"] == 60
    assert {split for pair in curated.audit["near_duplicates"]["listed"] for split in pair["splits"]} >= {"dropped"}


@pytest.mark.parametrize("kind", ["exact_duplicates", "near_duplicates"])
def test_copies_that_must_not_be_end_the_curation(kind: str, tmp_path: Path) -> None:
    image = textured(3) if kind == "exact_duplicates" else darker(3)
    with pytest.raises(MedscreenError) as error:
        run([*published(), record(60, image=image, split="train", origin="other.png")], tmp_path, **{kind: "fail"})
    assert f"curation.{kind}: fail" in one_sentence(error)
    assert ".png" not in str(error.value)  # it goes to logs, and files may be named after patients
    assert "report, which lists them in data/curation.json" in str(error.value)
    assert len(homes(run(published(), tmp_path, **{kind: "fail"}))) == 52


def test_a_near_copy_of_a_published_test_image_leaves_train(tmp_path: Path) -> None:
    more = [
        record(100, image=darker(47), split="train"),  # 46..51 are test
        record(102, image=darker(48), split="test"),
        record(104, image=darker(41), split="test"),  # 40..45 are val
        record(106, image=np.ascontiguousarray(darker(5).T), split="train"),
    ]
    curated = run(published(*more), tmp_path, near_duplicates="drop")
    at = homes(curated)
    assert "100.png" not in at
    assert "106.png" not in at
    assert at["102.png"] == at["104.png"] == "test"
    assert curated.audit["near_duplicates"]["within"] == {"test": 1, "train": 1}
    assert curated.audit["near_duplicates"]["across"] == {"test+train": 1, "test+val": 1}
    assert curated.audit["near_duplicates"]["shared"] == {"val+test": 1}


def test_a_chain_of_near_copies_loses_as_few_as_it_must() -> None:
    # b is like a, c like b but not like a: without b, c is a copy of nothing
    from medscreen.data.curation.duplicates import drop_near_duplicates
    from medscreen.data.curation.near_duplicates import Pair

    pairs = [Pair(0, 1, 0.99), Pair(1, 2, 0.98)]
    assert drop_near_duplicates([None, None, None], np.arange(3), pairs).tolist() == [0, 2]
    assert drop_near_duplicates([None, "test", None], np.arange(3), pairs).tolist() == [1]


def test_exact_copies_can_stay_in_one_split(tmp_path: Path) -> None:
    records = [record(i) for i in range(60)]
    records += [record(i, origin=f"copy-{i}.png", patient=f"q{i}") for i in range(10)]
    told = run(records, tmp_path, exact_duplicates="report")
    assert len(homes(told)) == 70
    assert sum(leak["exact_duplicates"] for leak in told.audit["leaks"].values()) > 0
    together = run(records, tmp_path, exact_duplicates="keep_together")
    assert len(homes(together)) == 70
    assert together.audit["leaks"] == {}
    assert together.audit["exact_duplicates"]["dropped"] == 0


def test_files_of_equal_images_are_named(tmp_path: Path) -> None:
    copy = record(3, split="test", origin="copy.png")
    told = run([*published(), copy], tmp_path, exact_duplicates="report").audit["exact_duplicates"]
    assert told["listed"] == [{"files": ["003.png", "copy.png"]}]


def test_exact_copies_share_their_near_copies(tmp_path: Path) -> None:
    """Two equal images in train (patients p3, q3), and a darker one of a third patient before and behind them."""
    twins = [record(i) for i in range(60)] + [record(3, origin="twin.png", patient="q3")]
    behind = [*twins, record(3, image=darker(3), origin="darker.png", patient="r3")]
    told = run(behind, tmp_path, exact_duplicates="report")
    pairs = [pair["files"] for pair in told.audit["near_duplicates"]["listed"]]
    assert pairs == [["003.png", "darker.png"], ["twin.png", "darker.png"]]
    assert told.audit["near_duplicates"]["pairs"] == 2
    together = run(behind, tmp_path, exact_duplicates="report", near_duplicates="keep_together")
    assert len({homes(together)[name] for name in ("003.png", "twin.png", "darker.png")}) == 1
    before = [record(3, image=darker(3), origin="darker.png", patient="r3"), *twins]
    dropped = homes(run(before, tmp_path, exact_duplicates="report", near_duplicates="drop"))
    assert not {"003.png", "twin.png"} & set(dropped)
    assert "darker.png" in dropped


def test_near_copies_of_what_is_dropped_anyway_are_not_counted(tmp_path: Path) -> None:
    records = [*published(), record(47, origin="twin.png", split="train"), record(47, origin="again.png", split="test")]
    audit = run([*records, record(200, image=darker(47), split="train")], tmp_path).audit
    assert audit["exact_duplicates"]["dropped"] == 1
    # test keeps both of its equal images, and train the darker one
    assert [pair["files"] for pair in audit["near_duplicates"]["listed"]] == [
        ["047.png", "200.png"],
        ["again.png", "200.png"],
    ]


def test_of_equal_images_the_published_one_is_compared() -> None:
    """The first of those that stay."""
    from medscreen.data.curation.duplicates import staying_duplicates

    splits = ["train", "train", "test", "test", "train", "train"]
    assert staying_duplicates(splits, [[0, 2, 3], [4, 5]]) == [[2, 3], [4]]


@pytest.mark.parametrize("kind", ["exact_duplicates", "near_duplicates"])
def test_only_drop_takes_copies_of_published_images_out_of_train(kind: str, tmp_path: Path) -> None:
    """keep_together can't: nothing may leave published val and test, and train images do not go there."""
    image = textured if kind == "exact_duplicates" else darker
    copies = [record(200 + i, image=image(40 + i), split="train") for i in (0, 7)]  # 40..45 are val, 46..51 test
    records = published(*copies)
    own = {f"{i:03d}.png": name for i, name in enumerate(["train"] * 40 + ["val"] * 6 + ["test"] * 6)}
    for policy in ("report", "keep_together", "drop"):
        curated = run(records, tmp_path, **{"exact_duplicates": "report", kind: policy})
        at = homes(curated)
        assert {name: at[name] for name, split in own.items() if split != "train"} == {
            name: split for name, split in own.items() if split != "train"
        }
        assert {"200.png", "207.png"} & set(at) == (set() if policy == "drop" else {"200.png", "207.png"})
        told = " ".join(warnings(curated.audit | {"shift": {"auroc": None}}))
        assert (f"curation.{kind} in params.yaml: drop removes copies" in told) == (policy != "drop")
        assert "puts copies into one split" not in told


def test_the_way_out_of_copies_is_one_that_helps(tmp_path: Path) -> None:
    def told(records: list[Record], **policies: str) -> str:
        return " ".join(warnings(run(records, tmp_path, **policies).audit | {"shift": {"auroc": None}}))

    split_here = [record(i) for i in range(60)] + [record(i, origin=f"{i}", patient=f"q{i}") for i in range(20)]
    for policy in ("keep_together", "drop"):
        assert told(split_here, exact_duplicates=policy) == ""
    assert "curation.exact_duplicates in params.yaml: keep_together puts copies" in told(
        split_here, exact_duplicates="report"
    )
    in_train = published(*(record(i, origin=f"{i}", patient=f"q{i}", split="train") for i in range(20)))
    assert "keep_together puts those of train and tune into one" in told(in_train, exact_duplicates="report")
    assert told(in_train, exact_duplicates="keep_together") == ""
    twice = published(record(50, split="val", origin="twin.png"))
    for policy in ("report", "keep_together", "drop"):
        message = told(twice, exact_duplicates=policy)
        assert (
            "Exact duplicates that two splits share: val+test 1. No policy changes copies that published val and test"
            in message
        )
        assert "drop removes copies" not in message


def test_copies_within_a_published_train_are_not_cut_apart(tmp_path: Path) -> None:
    more = [record(i, image=darker(i), split="train", origin=f"copy-{i}.png", patient=f"q{i}") for i in range(20)]
    curated = run(published(*more), tmp_path, near_duplicates="keep_together")
    at = homes(curated)
    assert all(at[f"{i:03d}.png"] == at[f"copy-{i}.png"] for i in range(20))
    assert "tune" in {at[f"{i:03d}.png"] for i in range(20)}


def test_a_copy_in_published_val_and_test_makes_no_two_patients_one(tmp_path: Path) -> None:
    twin = record(200, image=darker(50), split="val", origin="twin.png")
    curated = run(published(twin), tmp_path, near_duplicates="keep_together")
    assert curated.audit["leaks"] == {}
    assert curated.audit["near_duplicates"]["shared"] == {"val+test": 1}
    assert curated.audit["patients"] == 53
