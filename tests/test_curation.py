from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from factories import CURATION, dicom, one_sentence, real_data, written
from medscreen.config.datasets import MedMnistParams
from medscreen.data.curation.curation import Curated, curate
from medscreen.data.curation.splits import person
from medscreen.data.images import SPLITS, image_digest, set_digest
from medscreen.data.sources import medmnist
from medscreen.data.sources.records import Record
from medscreen.errors import MedscreenError
from medscreen.reporting.curation_page.page import warnings
from tiff_files import Form, tiff

SIZE = 16


def picture(number: int, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (size, size)).astype(np.uint8)


def record(number: int, **changed: Any) -> Record:
    """Images differ by their number; every second one is abnormal; every image is a patient."""
    content: dict[str, Any] = {
        "origin": f"{number:03d}.png",
        "image": picture(number),
        "patient": f"p{number}",
        "label": number % 2,
        "finding": "x",
    }
    return Record(**content | changed)


def unsplit(number: int, **changed: Any) -> list[Record]:
    return [record(i, **changed) for i in range(number)]


def published(train: int = 40, val: int = 6, test: int = 6) -> list[Record]:
    names = ["train"] * train + ["val"] * val + ["test"] * test
    return [record(i, split=name) for i, name in enumerate(names)]


def run(records: list[Record], folder: Path, seed: int = 7, workers: int = 1) -> Curated:
    return curate(records, SIZE, CURATION, seed, workers, folder / f"scratch-{len(list(folder.iterdir()))}")


def origins(curated: Curated) -> dict[str, list[str]]:
    return {name: list(curated.split(name).origins) for name in SPLITS}


def every_origin(curated: Curated) -> list[str]:
    return [origin for of_split in origins(curated).values() for origin in of_split]


def refusal(records: list[Record], folder: Path) -> str:
    with pytest.raises(MedscreenError) as error:
        run(records, folder)
    return one_sentence(error)


def test_every_image_is_in_one_split(tmp_path: Path) -> None:
    curated = run(unsplit(60), tmp_path)
    assert sorted(every_origin(curated)) == [f"{i:03d}.png" for i in range(60)]
    assert curated.audit["records"] == curated.audit["readable"] == curated.audit["patients"] == 60


def test_splits_have_their_share_of_patients_and_of_both_classes(tmp_path: Path) -> None:
    curated = run(unsplit(200), tmp_path)
    sizes = {name: len(curated.split(name)) for name in SPLITS}
    assert sizes == {"train": 100, "tune": 20, "val": 40, "test": 40}
    for name in SPLITS:
        assert curated.split(name).labels.mean() == 0.5
        summary = curated.audit["splits"][name]
        assert summary["images"] == sizes[name] == summary["normal"] + summary["abnormal"] == summary["patients"]
        assert summary["mean_grey"] == pytest.approx(curated.split(name).pixels.mean(), abs=1e-3)


def test_pixels_labels_and_origins_stay_together(tmp_path: Path) -> None:
    records = unsplit(40)
    curated = run(records, tmp_path)
    for name in SPLITS:
        split = curated.split(name)
        for image, label, origin in zip(split.pixels, split.labels, split.origins, strict=True):
            number = int(origin.removesuffix(".png"))
            np.testing.assert_array_equal(image, picture(number))
            assert label == number % 2


def test_a_patient_lies_in_one_split(tmp_path: Path) -> None:
    records = [record(i, patient=f"p{i // 3}", label=(i // 3) % 2) for i in range(120)]
    curated = run(records, tmp_path)
    patients = [set(curated.split(name).patients.tolist()) for name in SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 40
    for name in SPLITS:
        numbers = [int(origin.removesuffix(".png")) // 3 for origin in curated.split(name).origins]
        assert all(numbers.count(number) == 3 for number in numbers)


def test_patients_who_share_an_image_are_one(tmp_path: Path) -> None:
    records = unsplit(60)
    records += [
        Record("x.png", picture(0), "p10", 0, "x"),
        Record("y.png", picture(10), "p20", 0, "x"),
    ]
    curated = run(records, tmp_path)
    assert curated.audit["patients"] == 58
    home = {origin: name for name, of_split in origins(curated).items() for origin in of_split}
    assert home["000.png"] == home["010.png"] == home["020.png"]
    number = dict(zip(curated.images.origins, curated.images.patients, strict=True))
    assert number["000.png"] == number["010.png"] == number["020.png"] == number["x.png"]
    assert len(set(number.values())) == 58


def test_of_copies_the_first_stays(tmp_path: Path) -> None:
    records = [
        *unsplit(60),
        Record("copy.png", picture(3), "p3", 1, "x"),
        Record("copy2.png", picture(3), "p3", 1, "x"),
    ]
    curated = run(records, tmp_path)
    assert curated.audit["exact_duplicates"]["dropped"] == 2
    assert curated.audit["exact_duplicates"]["within"] == {"unsplit": 2}
    assert curated.audit["exact_duplicates"]["across"] == {}
    names = every_origin(curated)
    assert "003.png" in names
    assert not {"copy.png", "copy2.png"} & set(names)


def test_copies_are_told_before_images_are_shrunk(tmp_path: Path) -> None:
    large = [record(i, image=picture(i, 40)) for i in range(40)]
    twin = picture(4, 40)
    twin[0, 0] ^= 1
    curated = run(
        [*large, Record("twin.png", twin, "p4", 0, "x"), Record("copy.png", picture(4, 40), "p4", 0, "x")], tmp_path
    )
    assert curated.audit["exact_duplicates"]["dropped"] == 1
    assert "twin.png" in every_origin(curated)


def test_published_val_and_test_are_never_shortened(tmp_path: Path) -> None:
    records = published()
    records += [
        record(100, image=picture(41), split="train"),  # 40..45 are val, 46..51 test
        record(102, image=picture(46), split="train"),
        record(104, image=picture(42), split="val"),
        record(106, image=picture(48), split="test"),
        record(108, image=picture(44), split="test"),
        record(110, image=picture(0), split="train"),
    ]
    curated = run(records, tmp_path)
    found = origins(curated)
    assert found["val"] == [*(f"{i:03d}.png" for i in range(40, 46)), "104.png"]
    assert found["test"] == [*(f"{i:03d}.png" for i in range(46, 52)), "106.png", "108.png"]
    assert sorted(found["train"] + found["tune"]) == [f"{i:03d}.png" for i in range(40)]
    copies = curated.audit["exact_duplicates"]
    assert copies["within"] == {"test": 1, "train": 1, "val": 1}
    assert copies["across"] == {"test+train": 1, "test+val": 1, "train+val": 1}
    assert copies["dropped"] == 3


def test_tune_is_cut_from_published_train(tmp_path: Path) -> None:
    found = origins(run(published(), tmp_path))
    assert (len(found["train"]), len(found["tune"])) == (36, 4)
    assert not {"040.png", "046.png"} & {*found["train"], *found["tune"]}


def test_an_unreadable_file_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    records = []
    for i in range(40):
        path = tmp_path / f"{i:03d}.png"
        Image.fromarray(picture(i, 20)).save(path)
        records.append(record(i, image=path))
    written(tmp_path / "005.png", "no picture")
    Image.new("L", (9, 9), 3).save(tmp_path / "007.png")
    (tmp_path / "008.png").unlink()
    (tmp_path / "out").mkdir()
    curated = run(records, tmp_path / "out", workers=2)
    assert [entry["file"] for entry in curated.audit["quarantined"]] == ["005.png", "007.png", "008.png"]
    reasons = [entry["reason"] for entry in curated.audit["quarantined"]]
    assert "unsupported file type; supported: DICOM, PNG" in reasons[0]
    assert "same gray value (3)" in reasons[1]
    assert "No such file" in reasons[2]
    assert not any(str(tmp_path) in reason for reason in reasons)
    assert curated.audit["readable"] == 37
    names = every_origin(curated)
    assert len(names) == 37
    assert not {"005.png", "007.png", "008.png"} & set(names)


def test_raw_films_and_what_is_left_out_of_a_file_are_counted(tmp_path: Path) -> None:
    several = written(tmp_path / "pages.tif", tiff([(picture(200 + page)[..., None], Form()) for page in range(3)]))
    stored = np.stack([picture(300), picture(301)])
    raw = dicom(tmp_path / "raw.dcm", stored, bits=8, PresentationIntentType="FOR PROCESSING")
    records = [*unsplit(40), record(41, image=several), record(42, image=raw), record(43, image=raw, frame=0)]
    curated = run(records, tmp_path)
    assert curated.audit["source_notes"] == {"further pages or frames of files that count as one image": 3}
    assert curated.audit["for_processing"] == 2
    told = " ".join(warnings({**curated.audit, "shift": {"auroc": None}}))
    assert "FOR PROCESSING), not processed for reading: 2." in told


def test_workers_change_nothing(tmp_path: Path) -> None:
    records = []
    for i in range(70):
        Image.fromarray(picture(i, 20)).save(tmp_path / f"{i}.png")
        records.append(record(i, image=tmp_path / f"{i}.png"))
    (tmp_path / "out").mkdir()
    one, two = (run(records, tmp_path / "out", workers=workers) for workers in (1, 2))
    assert set_digest(one.images) == set_digest(two.images)
    assert origins(one) == origins(two)


def test_blank_arrays_are_quarantined_like_blank_files(tmp_path: Path) -> None:
    records = [*unsplit(40), record(40, image=np.zeros((SIZE, SIZE), np.uint8))]
    assert [entry["file"] for entry in run(records, tmp_path).audit["quarantined"]] == ["040.png"]


def test_what_is_curated_can_be_screened(tmp_path: Path) -> None:
    # the packaged graph refuses an image without a grey level above 1
    nearly_blank = np.zeros((SIZE, SIZE), np.uint8)
    nearly_blank[:8] = 1
    Image.fromarray(nearly_blank).save(tmp_path / "dark.png")
    curated = run([*unsplit(40), record(40, image=tmp_path / "dark.png")], tmp_path)
    assert all(curated.split(name).pixels.max(axis=(1, 2)).min() > 1 for name in SPLITS)


def test_conflicting_labels_are_listed(tmp_path: Path) -> None:
    records = [
        *unsplit(60),
        Record("rival.png", picture(5), "p5", 0, "x"),
        Record("agrees.png", picture(7), "p7", 1, "x"),
    ]
    audit = run(records, tmp_path).audit
    assert audit["exact_duplicates"]["conflicting_labels"] == [{"files": ["005.png", "rival.png"]}]


@pytest.mark.parametrize("label", [0, 1])
def test_data_of_one_class_is_a_sentence(tmp_path: Path, label: int) -> None:
    patients = ("60 normal and 0 abnormal", "0 normal and 60 abnormal")[label]
    assert f"The data has {patients} patients, too few to cut four splits" in refusal(
        unsplit(60, label=label), tmp_path
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_published_split_of_one_class_is_a_sentence(tmp_path: Path, split: str) -> None:
    records = [r for r in published() if not (r.split == split and r.label == 1)]
    assert f"The {split} split has no abnormal image" in refusal(records, tmp_path)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_published_split_without_images_is_a_sentence(tmp_path: Path, split: str) -> None:
    refusal([r for r in published() if r.split != split], tmp_path)


def test_nothing_readable_is_a_sentence(tmp_path: Path) -> None:
    records = [record(i, image=written(tmp_path / f"{i}.png", "no picture")) for i in range(3)]
    message = refusal(records, tmp_path)
    assert "None of the 3 images can be read" in message
    assert "unsupported file type; supported: DICOM, PNG" in message


def test_no_record_is_a_sentence(tmp_path: Path) -> None:
    assert "None of the 0 images" in refusal([], tmp_path)


@pytest.mark.parametrize("number", [2, 4, 6, 8, 10])
def test_too_few_patients_are_a_sentence(tmp_path: Path, number: int) -> None:
    message = refusal(unsplit(number), tmp_path)
    assert f"The data has {number // 2} normal and {number // 2} abnormal patients" in message
    assert "curation.tune_fraction 0.1, val_fraction 0.2 and test_fraction 0.2. Change them" in message


def test_a_class_that_is_too_rare_for_a_split_is_the_same_sentence(tmp_path: Path) -> None:
    records = [record(i, label=int(i < 4)) for i in range(200)]  # a tenth of four is none
    assert "The data has 196 normal and 4 abnormal patients" in refusal(records, tmp_path)


def test_other_fractions_split_few_patients(tmp_path: Path) -> None:
    params = CURATION.model_copy(update=dict.fromkeys(("tune_fraction", "val_fraction", "test_fraction"), 0.2))
    curated = curate(unsplit(10), SIZE, params, 7, 1, tmp_path / "scratch")
    assert {name: len(curated.splits[name]) for name in SPLITS} == {"train": 4, "tune": 2, "val": 2, "test": 2}


def test_a_published_train_of_few_patients_is_a_sentence(tmp_path: Path) -> None:
    message = refusal(published(train=4), tmp_path)
    assert "Train has 2 normal and 2 abnormal patients" in message
    assert "curation.tune_fraction 0.1. Change it in params.yaml" in message


def test_one_patient_with_all_images_is_a_sentence(tmp_path: Path) -> None:
    refusal([record(i, patient="p") for i in range(50)], tmp_path)


def test_the_same_seed_gives_the_same_splits(tmp_path: Path) -> None:
    first, again, other = (run(unsplit(80), tmp_path, seed) for seed in (7, 7, 8))
    assert origins(first) == origins(again)
    assert first.audit == again.audit
    assert origins(first) != origins(other)
    assert set_digest(first.split("train")) == set_digest(again.split("train"))


def test_images_are_brought_to_size(tmp_path: Path) -> None:
    records = [record(i, image=np.kron(picture(i, 8), np.ones((4, 6), np.uint8))) for i in range(40)]
    assert run(records, tmp_path).images.pixels.shape == (40, SIZE, SIZE)


@pytest.fixture(scope="module")
def pneumonia(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    root = real_data("medmnist", "pneumoniamnist.npz").parent
    params = MedMnistParams(kind="medmnist", root="", image_size=28, flag="pneumoniamnist", normal_labels=[0])
    records = medmnist.read_records(params, root)
    return curate(records, 28, CURATION, 7, 1, tmp_path_factory.mktemp("curation") / "scratch")


def test_the_copies_in_pneumoniamnist_are_found(pneumonia: Curated) -> None:
    copies = pneumonia.audit["exact_duplicates"]
    assert copies["within"] == {"train": 18, "test": 3}
    assert copies["across"] == {"train+val": 8}
    assert pneumonia.audit["near_duplicates"]["pairs"] == 0  # of 5,214 chest films, all alike


def test_published_splits_of_pneumoniamnist_stay_as_they_are(pneumonia: Curated) -> None:
    sizes = {name: summary["images"] for name, summary in pneumonia.audit["splits"].items()}
    assert (sizes["val"], sizes["test"]) == (524, 624)
    assert sizes["train"] + sizes["tune"] == 4708 - pneumonia.audit["exact_duplicates"]["dropped"]
    assert not pneumonia.audit["quarantined"]
    assert [origin.split("/")[1] for origin in pneumonia.split("test").origins] == [str(i) for i in range(624)]


def test_no_image_of_pneumoniamnist_is_in_two_splits(pneumonia: Curated) -> None:
    seen = [{image.tobytes() for image in pneumonia.split(name).pixels} for name in SPLITS]
    assert sum(map(len, seen[:3])) == len(set.union(*seen[:3]))
    assert not seen[3] & set.union(*seen[:3])
    assert (len(seen[0]) + len(seen[1])) == pneumonia.audit["splits"]["train"]["images"] + (
        pneumonia.audit["splits"]["tune"]["images"]
    )


@pytest.mark.parametrize(
    ("spellings", "persons"),
    [
        (("P-00012", "p_00012", " P 00012 ", "p--00012", "P\u200b-00012"), 1),
        (("Müller^Jörg", "MU\u0308LLER JO\u0308RG"), 1),
        (("1-11", "11-1", "111"), 3),
        (("राम", "रीम"), 2),
        (("---", "***"), 2),
    ],
)
def test_spellings_of_a_person(spellings: tuple[str, ...], persons: int) -> None:
    assert len({person(spelled) for spelled in spellings}) == persons


def test_respelled_patients_stay_together_and_are_counted(tmp_path: Path) -> None:
    records = [record(number, patient=f"P-{number // 2}" if number % 4 else f"p_{number // 2}") for number in range(80)]
    for item in range(0, 80, 2):  # both of a pair alike
        records[item + 1] = record(item + 1, patient=records[item + 1].patient, label=item // 2 % 2)
        records[item] = record(item, patient=records[item].patient, label=item // 2 % 2)
    curated = run(records, tmp_path)
    assert curated.audit["patients"] == 40
    assert curated.audit["respelled_patients"] == 20


def test_images_of_unknown_patients_are_not_merged_by_their_names(tmp_path: Path) -> None:
    records = [record(number, patient=None, origin=f"{number // 2}{' -'[number % 2]}scan.png") for number in range(60)]
    curated = run(records, tmp_path)
    assert curated.audit["patients"] == 60
    assert curated.audit["respelled_patients"] == 0


def test_splits_that_are_cut_here_leak_nothing(tmp_path: Path) -> None:
    records = [record(i, patient=f"p{i // 3}", label=i // 3 % 2) for i in range(120)] + [record(0, origin="copy.png")]
    assert run(records, tmp_path).audit["leaks"] == {}


def test_a_patient_in_two_published_splits_is_a_leak(tmp_path: Path) -> None:
    records = published()
    shared = [record(100, split="val", patient="p51"), record(101, split="val", patient="p51")]  # p51 is of test
    leaks = run([*records, *shared], tmp_path).audit["leaks"]
    assert leaks == {"val+test": {"images": 1, "patients": 1, "exact_duplicates": 0}}


def test_an_image_in_published_val_and_test_is_a_leak_and_stays(tmp_path: Path) -> None:
    twice = record(50, split="val", origin="again.png", patient=None)
    curated = run([*published(), twice], tmp_path)
    assert curated.audit["leaks"] == {"val+test": {"images": 1, "patients": 0, "exact_duplicates": 1}}
    assert {"again.png"} <= set(origins(curated)["val"])


def test_images_keep_the_digest_of_their_full_size(tmp_path: Path) -> None:
    records = [record(i, image=picture(i, 40)) for i in range(40)]
    curated = run(records, tmp_path)
    for name in SPLITS:
        split = curated.split(name)
        numbers = [int(origin.removesuffix(".png")) for origin in split.origins]
        assert list(split.digests) == [image_digest(picture(number, 40)) for number in numbers]
