import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from scipy import ndimage

from factories import CURATION, FOLDERS, PHANTOM, labels_table, one_sentence, written
from medscreen.config.datasets import DatasetParams, FoldersParams, MedMnistParams, PhantomParams
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.curation.curation import curate
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.images import ImageSet
from medscreen.data.load_image import read_grey
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.phantom import export as phantom
from medscreen.data.sources.phantom.anatomy import Thorax, chords, draw_thorax
from medscreen.data.sources.phantom.cohort import Finding, draw_patient, plan_export
from medscreen.data.sources.phantom.dicom_files import FULL_RANGE, write_dicom
from medscreen.data.sources.phantom.films import Lesion, draw_lesion, expose, simulate, water
from medscreen.errors import MedscreenError

BROKEN = ("-cut", "-empty", "-page")


def headers(root: Path) -> list[Dataset]:
    readable = [row["file"] for row in labels_table(root) if not any(flaw in row["file"] for flaw in BROKEN)]
    return [dcmread(root / file) for file in readable]


@pytest.mark.parametrize("form", ["dicom", "folders", "npz"])
def test_one_phantom_for_one_seed_however_many_write_it(tmp_path: Path, form: phantom.Form) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    alone, together = (phantom.find_files(PHANTOM, root, n, form) for n, root in enumerate(roots, 1))
    assert [p.relative_to(roots[0]) for p in alone] == [p.relative_to(roots[1]) for p in together]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(alone, together, strict=True))


def test_another_seed_gives_another_phantom(export: Path, tmp_path: Path) -> None:
    root = tmp_path / "other"
    films = [f for f in phantom.find_files(PHANTOM.model_copy(update={"seed": 21}), root, 1) if f.suffix == ".dcm"]
    shared = [f for f in films if f.stat().st_size > 200 and (export / f.relative_to(root)).is_file()]
    assert shared
    assert not any(f.read_bytes() == (export / f.relative_to(root)).read_bytes() for f in shared)


def test_more_patients_leave_the_first_ones_as_they_are() -> None:
    more = PHANTOM.model_copy(update={"patients": 90})
    for number in range(5):
        few_films, more_films = (simulate(params, draw_patient(params, number)) for params in (PHANTOM, more))
        for few, many in zip(few_films, more_films, strict=True):
            np.testing.assert_array_equal(few, many)


def test_a_phantom_that_is_there_is_left_alone(export: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in phantom.find_files(PHANTOM, export, 1)}
    moved = PHANTOM.model_copy(update={"root": "elsewhere"})
    assert {path: path.stat().st_mtime_ns for path in phantom.find_files(moved, export, 2)} == before


def test_other_settings_make_it_anew(tmp_path: Path) -> None:
    root = tmp_path / "export"
    phantom.find_files(PHANTOM, root, 1)
    phantom.find_files(PHANTOM.model_copy(update={"image_size": 16}), root, 1)
    assert read_grey(root / "P-00000/study-1/image-1.dcm", FILE_DISPLAY).shape == (16, 16)
    phantom.find_files(PHANTOM, root, 1, "npz")
    assert sorted(path.name for path in root.iterdir()) == [".phantom.json", "labels.csv", "phantom.npz"]


@pytest.mark.parametrize("name", ["thesis.txt", "sub/scan.dcm"])
def test_a_folder_of_someone_elses_is_refused(tmp_path: Path, name: str) -> None:
    foreign = written(tmp_path / "mine" / name, "precious")
    with pytest.raises(MedscreenError, match="not the phantom's") as error:
        phantom.find_files(PHANTOM, tmp_path / "mine", 1)
    one_sentence(error)
    assert foreign.read_text() == "precious"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert phantom.find_files(PHANTOM, tmp_path / "empty", 1)


def test_a_phantom_that_lost_something_is_made_anew(tmp_path: Path) -> None:
    root = tmp_path / "export"
    before = {path: path.read_bytes() for path in phantom.find_files(PHANTOM, root, 1)}
    (root / "P-00000/study-1/image-1.dcm").write_bytes(b"")
    (root / "P-00001/study-1/image-1.dcm").unlink()
    assert {path: path.read_bytes() for path in phantom.find_files(PHANTOM, root, 1)} == before


@pytest.mark.parametrize("settings", [PHANTOM, PHANTOM.model_copy(update={"image_size": 16})])
def test_what_someone_put_beside_the_phantom_is_not_lost(tmp_path: Path, settings: PhantomParams) -> None:
    root = tmp_path / "export"
    phantom.find_files(PHANTOM, root, 1)
    notes = written(root / "my-notes.txt", "precious")
    with pytest.raises(MedscreenError, match=r"my-notes\.txt, which is not the phantom's") as error:
        phantom.find_files(settings, root, 1)
    one_sentence(error)
    assert notes.read_text() == "precious"


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_folder_is_not_filled(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "out")
    with pytest.raises(MedscreenError, match="is not a folder") as error:
        phantom.find_files(PHANTOM, tmp_path / "out", 1)
    one_sentence(error)


def test_no_name_or_table_shows_an_identifier_of_a_header(export: Path) -> None:
    shown = (export / "labels.csv").read_text()
    shown += "".join(path.relative_to(export).as_posix() for path in export.rglob("*"))
    for header in headers(export):
        name = str(header.PatientName)
        identifiers = [name, *name.split("^"), header.PatientID, header.PatientBirthDate, header.AccessionNumber]
        assert not any(identifier in shown for identifier in [*identifiers, header.StudyDate, header.StudyInstanceUID])


def test_the_phantom_says_that_it_is_simulated(export: Path) -> None:
    for header in headers(export):
        assert "SIMULATED" in header.ImageComments
        assert "Simulated" in header.InstitutionName


def test_sites_store_films_in_their_own_ways(export: Path) -> None:
    found = {
        (h.InstitutionName[-1], h.BitsStored, h.PhotometricInterpretation, h.file_meta.TransferSyntaxUID.name)
        for h in headers(export)
    }
    assert found == {
        ("A", 12, "MONOCHROME2", "Explicit VR Little Endian"),
        ("B", 14, "MONOCHROME1", "RLE Lossless"),
        ("C", 16, "MONOCHROME2", "Explicit VR Little Endian"),
    }
    windows = {site: set() for site in "ABC"}
    for header, row in zip(headers(export), readable_rows(export), strict=True):
        assert header.InstitutionName[-1] == row["site"]
        if "-rewindowed" not in row["file"]:
            windows[row["site"]].add(header.get("WindowCenter") is not None and header["WindowCenter"].VM)
    assert windows == {"A": {1}, "B": {False}, "C": {2}}


def readable_rows(root: Path) -> list[dict[str, str]]:
    return [row for row in labels_table(root) if not any(flaw in row["file"] for flaw in BROKEN)]


def test_the_header_and_the_table_agree(export: Path) -> None:
    for header, row in zip(headers(export), readable_rows(export), strict=True):
        assert header.PatientSex == row["sex"]
        assert int(header.PatientAge[:3]) == int(row["age"])
        years = (int(header.StudyDate) - int(header.PatientBirthDate)) // 10000
        assert years - int(row["age"]) in {0, 1}


def test_the_phantom_has_the_flaws_it_was_asked_for(export: Path) -> None:
    rows = labels_table(export)
    files = [row["file"] for row in rows]
    flaws = Counter(match[1] for file in files if (match := re.search(r"image-\d-(\w+)\.dcm", file)))
    assert flaws == {"resent": 3, "rewindowed": 2, "cut": 1, "empty": 1, "page": 1}
    for file in files:
        plain = re.sub(r"-\w+\.dcm", ".dcm", file)
        if "-resent" in file:
            assert (export / file).read_bytes() == (export / plain).read_bytes()
        if "-rewindowed" in file:
            grey, other = (read_grey(export / name, FILE_DISPLAY).astype(int) for name in (file, plain))
            assert 0 < np.abs(grey - other).max() <= 10
            assert np.corrcoef(grey.ravel(), other.ravel())[0, 1] > 0.999
            uids = [dcmread(export / name).SOPInstanceUID for name in (file, plain)]
            assert uids[0] != uids[1]
        if any(flaw in file for flaw in BROKEN):
            with pytest.raises(UnreadableImageError):
                read_grey(export / file, FILE_DISPLAY)
    respelled = {row["patient"].upper().replace("_", "-") for row in rows if row["patient"].startswith("p_")}
    assert len(respelled) == 2
    assert respelled <= {row["patient"] for row in rows}


def test_patients_have_one_to_three_images() -> None:
    images = Counter(len(draw_patient(PHANTOM, number).studies) for number in range(400))
    assert set(images) == {1, 2, 3}
    assert images[1] > images[2] > images[3] > 10


def test_finding_sex_age_and_site_are_independent() -> None:
    patients = [draw_patient(PHANTOM, number) for number in range(3000)]
    abnormal = np.array([patient.finding != "none" for patient in patients], dtype=float)
    assert abs(abnormal.mean() - 0.4) < 0.03
    for other in (
        [patient.sex == "F" for patient in patients],
        [patient.age for patient in patients],
        [patient.site == "A" for patient in patients],
        [len(patient.studies) for patient in patients],
        [patient.split == "test" for patient in patients],
    ):
        assert abs(np.corrcoef(abnormal, np.array(other, dtype=float))[0, 1]) < 0.06  # 3 standard errors


def test_a_patient_has_one_finding(export: Path) -> None:
    findings: dict[str, set[str]] = {}
    for row in labels_table(export):
        findings.setdefault(row["patient"].upper().replace("_", "-"), set()).add(row["finding"])
        assert (row["finding"] == "none") == (row["label"] == "0")
    assert len(findings) == 40
    assert all(len(of_patient) == 1 for of_patient in findings.values())
    assert set.union(*findings.values()) == {"none", "nodule", "consolidation"}


def thorax(seed: int) -> Thorax:
    return draw_thorax("M", 50, np.random.default_rng(seed))


@pytest.mark.parametrize("finding", ["nodule", "consolidation"])
def test_a_finding_changes_nothing_but_the_finding(finding: Finding) -> None:
    lesion = draw_lesion(finding, thorax(1), np.random.default_rng(3))
    healthy, ill = (expose(thorax(1), found, 2.0, 64, np.random.default_rng(2)) for found in (None, lesion))
    changed = np.abs(healthy - ill) > 0.05
    assert 0 < changed.mean() < 0.3
    assert (ill - healthy)[changed].mean() > 0
    far = ~ndimage.binary_dilation(changed, iterations=12)
    assert np.abs(healthy - ill)[far].max() < 0.05


def test_nothing_but_the_lesion_depends_on_there_being_one() -> None:
    lesion = draw_lesion("nodule", thorax(1), np.random.default_rng(3))
    healthy, ill = (
        expose(thorax(1), found, 3.0, 48, np.random.default_rng(2)) for found in (None, replace(lesion, opacity=0.0))
    )
    np.testing.assert_array_equal(healthy, ill)


@pytest.mark.parametrize("number", range(6))
def test_a_file_tells_its_finding_by_its_pixels_alone(tmp_path: Path, number: int) -> None:
    patient = draw_patient(PHANTOM, number)
    film = simulate(PHANTOM, patient)[0]
    contents = []
    for finding in ("none", "nodule", "consolidation"):
        write_dicom(tmp_path / finding, film, FULL_RANGE, replace(patient, finding=finding), 0, 5.6, 20)
        contents.append((tmp_path / finding).read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_copies_and_broken_files_fall_on_anyone() -> None:
    def flaws(abnormal_fraction: float) -> list[list[tuple[int, str, str]]]:
        plan = plan_export(PHANTOM.model_copy(update={"abnormal_fraction": abnormal_fraction}))
        return [[(file.image, file.pseudonym, file.flaw) for file in patient] for patient in plan]

    assert flaws(0.01) == flaws(0.99)


def test_the_water_of_one_ball_by_numerical_integration() -> None:
    x, z = np.array([0.0, 0.7, 2.0]), np.linspace(-20, 20, 40001)
    density = np.exp(-(x[:, None] ** 2 + z**2) / 1.5**2)
    expected = density.sum(1) * (z[1] - z[0])
    found = water(Lesion(np.array([[0.0, 0.0, 1.5]]), 1.0), x, np.zeros(3), np.full(3, 1e6))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_finding_never_replaces_more_lung_than_there_is() -> None:
    lungs = np.linspace(0, 10, 50)
    replaced = water(Lesion(np.array([[0.0, 0.0, 30.0]]), 50.0), np.zeros(50), np.zeros(50), lungs)
    assert (replaced <= lungs).all()
    assert replaced[0] == 0


@pytest.mark.parametrize("seed", range(8))
def test_findings_lie_in_the_lungs(seed: int) -> None:
    body = thorax(seed)
    centre = draw_lesion("nodule", body, np.random.default_rng(seed)).balls[0]
    assert chords(body, centre[:1], centre[1:2]).lungs[0] > 5


def test_rays_beside_the_body_meet_nothing_and_lungs_are_thinner_than_the_body() -> None:
    axis = np.linspace(-17, 17, 69)
    x, y = np.meshgrid(axis, axis)
    seen = chords(thorax(4), x, y)
    assert seen.path[40, 0] == 0  # below the armpit, left of the trunk
    assert seen.lungs.max() < 2 * thorax(4).half_depth
    assert (seen.path >= 0).all()
    right, left = seen.lungs[:, x[0] < -2].sum(), seen.lungs[:, x[0] > 2].sum()
    assert right > left > 0  # the heart lies to the left


def test_every_size_shows_the_same_patient() -> None:
    small, large = (
        simulate(PHANTOM.model_copy(update={"image_size": size}), draw_patient(PHANTOM, 3))[0] for size in (24, 96)
    )
    reduced = large.reshape(24, 4, 24, 4).mean((1, 3))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.97


# the three forms, seen by the pipeline


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[DatasetParams, Path]]:
    root = tmp_path_factory.mktemp("forms")
    for form in get_args(phantom.Form):
        phantom.find_files(PHANTOM.model_copy(update={"patients": 60}), root / form, 1, form)
    folders = FoldersParams(**FOLDERS | {"image_size": 24})
    mnist = MedMnistParams(kind="medmnist", root="-", image_size=24, flag="phantom", normal_labels=[0])
    return {
        "dicom": (PHANTOM, root / "dicom"),
        "folders": (folders, root / "folders"),
        "npz": (mnist, root / "npz"),
    }


def curated(params: DatasetParams, root: Path, scratch: Path) -> tuple[ImageSet, dict[str, int]]:
    """All readable images, and the position of each by its origin."""
    records = sources.read_records(params, root)
    images = curate(records, 24, CURATION, 7, 1, scratch / f"{root.name}.npy").images
    return images, {origin: position for position, origin in enumerate(images.origins)}


def test_the_forms_hold_the_same_films(forms: dict[str, tuple[DatasetParams, Path]], tmp_path: Path) -> None:
    seen = {form: curated(*forms[form], tmp_path) for form in get_args(phantom.Form)}
    rows = {form: readable_rows(forms[form][1]) for form in get_args(phantom.Form)}
    assert len(rows["dicom"]) == len(rows["folders"]) == len(rows["npz"]) == len(seen["npz"][0])
    for rows_of_one in zip(*rows.values(), strict=True):
        pixels, labels = [], []
        for form, row in zip(rows, rows_of_one, strict=True):
            images, position = seen[form]
            pixels.append(images.pixels[position[row["file"]]].astype(int))
            labels.append(images.labels[position[row["file"]]])
        dicom, folders, npz = pixels
        assert np.abs(dicom - npz).max() <= 1  # 12 to 16 stored bits are rounded once more
        np.testing.assert_array_equal(folders, npz)
        assert len(set(labels)) == 1


def test_the_forms_with_splits_keep_a_patient_in_one(forms: dict[str, tuple[DatasetParams, Path]]) -> None:
    for form, split_of in (("folders", r"^(\w+)/"), ("npz", r"#(\w+)/")):
        splits: dict[str, set[str]] = {}
        for row in labels_table(forms[form][1]):
            person = row["patient"].upper().replace("_", "-")
            splits.setdefault(person, set()).add(re.search(split_of, row["file"])[1])
        assert all(len(found) == 1 for found in splits.values())
        assert set.union(*splits.values()) == {"train", "val", "test"}


def test_the_folders_are_classes_of_pictures(forms: dict[str, tuple[DatasetParams, Path]]) -> None:
    root = forms["folders"][1]
    classes = {path.parent.name for path in root.rglob("*.png")}
    assert classes == {"normal", "nodule", "consolidation"}
    with Image.open(next(path for path in root.rglob("*image-1.png"))) as picture:
        assert picture.mode == "L"


def test_a_respelled_patient_is_one_person_to_curation(
    forms: dict[str, tuple[DatasetParams, Path]], tmp_path: Path
) -> None:
    for form in ("dicom", "folders"):  # a MedMNIST-form file can't say whose an image is
        params, root = forms[form]
        assert_patients_stay_together(root, *curated(params, root, tmp_path))


def assert_patients_stay_together(root: Path, images: ImageSet, position: dict[str, int]) -> None:
    persons: dict[str, set[int]] = {}
    for row in readable_rows(root):
        number = int(images.patients[position[row["file"]]])
        persons.setdefault(row["patient"].upper().replace("_", "-"), set()).add(number)
    assert any(row["patient"].startswith("p_") for row in labels_table(root))
    assert all(len(numbers) == 1 for numbers in persons.values())
    assert len(set.union(*persons.values())) == 60
