"""`medscreen predict --dicom-out`: which files come, and that none is lost."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pydicom import Dataset, dcmread

from conftest import environment
from factories import REPOSITORY, dicom, unstated
from medscreen.cli.predict import predict
from medscreen.explain.packaged_map import PackagedMap
from medscreen.registry.explained import Explained
from medscreen.registry.run_record import Record
from medscreen.workspace.layout import Layout
from test_dicom_answers import CR, MULTI_FRAME, PATIENT, values
from workspaces import MODEL, SIZE, WEIGHTS, film, map_of_quarters

pytestmark = [
    # MLflow's own, when it is first imported
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]
# a film's grey as Hounsfield units of the detector's window, bone
CT = PATIENT | {"Modality": "CT", "RescaleIntercept": "-500", "RescaleSlope": "7.0588235", "WindowCenter": 40,
                "WindowWidth": 80}  # fmt: skip


@pytest.fixture
def at_home(workspace: Layout, loaded_registry: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A workspace whose version has a map that is shown; the films' own is refused by its proof."""
    loaded_registry(workspace.workspace)
    shown = PackagedMap(map_of_quarters(WEIGHTS["whole"]))

    def explained(record: Record, detector: Any) -> Explained:
        return Explained(record.version, detector, shown, "it was not compared with lesions")

    monkeypatch.setattr("medscreen.registry.loaded_version.load_explained", explained)
    return workspace


def ct(path: Path, *films: np.ndarray, **elements: Any) -> Path:
    stored = np.stack(films).astype(np.uint16)
    several = {"SOPClassUID": MULTI_FRAME} if len(films) > 1 else {"SOPClassUID": CR}
    return dicom(path, stored if len(films) > 1 else stored[0], bits=8, **CT | several | elements)


def screen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(predict, [*map(str, arguments), "--name", MODEL])


def read(folder: Path) -> tuple[list[Dataset], list[Dataset]]:
    found = [dcmread(path) for path in sorted(folder.iterdir())]
    return [of for of in found if of.Modality == "SR"], [of for of in found if of.Modality == "OT"]


def test_every_dicom_image_has_answers_that_agree_with_its_row(at_home: Layout, tmp_path: Path) -> None:
    films, out = tmp_path / "films", tmp_path / "answers"
    films.mkdir()
    ct(films / "one.dcm", film(5, 1))
    ct(films / "several.dcm", *(film(n, n % 2) for n in range(3)), SOPInstanceUID="1.2.7")
    ct(films / "far.dcm", np.random.default_rng(1).integers(0, 255, (SIZE, SIZE)), SOPInstanceUID="1.2.8")
    Image.fromarray(film(5, 1)).save(films / "film.png")
    (films / "broken.dcm").write_bytes((films / "one.dcm").read_bytes()[:400])
    before = {path: path.read_bytes() for path in films.iterdir()}
    done = screen(films, "--dicom-out", out, "--json")
    assert done.exit_code == 1  # the broken one
    rows = [row for row in json.loads(done.stdout) if row["status"] == "screened" and "png" not in row["file"]]
    reports, captures = read(out)
    assert (len(rows), len(reports), len(captures)) == (5, 3, 5)
    assert "written: 3 reports, 5 captures; images without report, as their files are not DICOM: 1" in done.stderr
    stated = [values(report) for report in reports]
    scores = sorted(score for report in stated for score in report["Abnormality score"])
    assert scores == pytest.approx(sorted(row["score"] for row in rows), rel=1e-6)
    assert {row["in_domain"] for row in rows} == {True, False}
    (outside,) = [report for report in stated if "outside" in report["Normality"]]
    assert "Calibrated probability of being abnormal" not in outside
    assert {path: path.read_bytes() for path in films.iterdir()} == before
    assert {capture.StudyInstanceUID for capture in reports + captures} == {CT["StudyInstanceUID"]}


def test_monochrome1_is_pictured_as_displayed(at_home: Layout, tmp_path: Path) -> None:
    upright = film(5, 1)
    ct(tmp_path / "a.dcm", upright)
    negative = {"RescaleSlope": "-7.0588235", "RescaleIntercept": str(-500 + 7.0588235 * 255)}
    ct(tmp_path / "b.dcm", upright, PhotometricInterpretation="MONOCHROME1", SOPInstanceUID="1.2.9")
    ct(tmp_path / "c.dcm", upright, **negative, SOPInstanceUID="1.2.10")
    screen(tmp_path / "a.dcm", "--dicom-out", tmp_path / "a")
    screen(tmp_path / "b.dcm", "--dicom-out", tmp_path / "b")
    screen(tmp_path / "c.dcm", "--dicom-out", tmp_path / "c")
    (_, (a,)), (_, (b,)), (_, (c,)) = (read(tmp_path / name) for name in "abc")
    pixels = [of.pixel_array.astype(int)[120:, :500] for of in (a, b, c)]
    assert np.abs(pixels[0] - pixels[1]).mean() > 5
    assert np.abs(pixels[1] - pixels[2]).mean() < 1


def test_a_repeat_doubles_nothing_and_other_content_is_not_overwritten(at_home: Layout, tmp_path: Path) -> None:
    source, out = ct(tmp_path / "one.dcm", film(5, 1)), tmp_path / "answers"
    assert screen(source, "--dicom-out", out).exit_code == 0
    (out / "notes.txt").write_text("mine")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    again = screen(source, "--dicom-out", out)
    assert again.exit_code == 0
    assert "written: 0 reports, 0 captures; already present: 2" in again.stderr
    ct(source, film(6, 0))  # another image under the same UID
    refused = screen(source, "--dicom-out", out)
    assert refused.exit_code == 1
    assert not unstated(refused.stderr, "one.dcm", out, "--dicom-out", "SR.2.25.")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()} == before


def test_answers_come_with_a_result_file_and_after_a_kill(
    at_home: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films, out, table = tmp_path / "films", tmp_path / "answers", tmp_path / "rows.csv"
    films.mkdir()
    monkeypatch.setattr("medscreen.packaging.batch_screening.FILES_AT_ONCE", 2)
    monkeypatch.setattr("medscreen.packaging.batch_screening.available_cpus", lambda: 1)
    for n in range(5):
        ct(films / f"{n}.dcm", film(n, n % 2), SOPInstanceUID=f"1.2.{n}")
    from medscreen.packaging.result_file import ResultFile

    add, added = ResultFile.add, []

    def killed(self: ResultFile, first: int, rows: Any) -> None:
        if first:
            raise KeyboardInterrupt
        added.append(first)
        add(self, first, rows)

    monkeypatch.setattr(ResultFile, "add", killed)
    assert screen(films, "--dicom-out", out, "--out", table).exit_code == 1
    assert (added, table.exists()) == ([0], False)
    monkeypatch.setattr(ResultFile, "add", add)
    other = screen(films, "--out", table)
    assert "dicom_out" in str(other.exception)
    done = screen(films, "--dicom-out", out, "--out", table)
    assert done.exit_code == 0, done.output
    reports, captures = read(out)
    assert (len(reports), len(captures), table.read_text().count("screened")) == (5, 5, 5)


def test_a_missing_answer_is_in_the_rows_and_the_exit_status_after_a_kill(
    at_home: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medscreen.packaging import batch_screening
    from medscreen.packaging.result_file import ResultFile

    monkeypatch.setattr(batch_screening, "FILES_AT_ONCE", 2)
    films, out, table = tmp_path / "films", tmp_path / "answers", tmp_path / "rows.csv"
    films.mkdir()
    for n in range(4):
        ct(films / f"{n}.dcm", film(n, n % 2), SOPInstanceUID=f"1.2.{n}")
    header = dcmread(films / "0.dcm")
    del header.StudyInstanceUID
    header.save_as(films / "0.dcm")
    add = ResultFile.add

    def killed(self: ResultFile, first: int, rows: Any) -> None:
        if first:
            raise KeyboardInterrupt
        add(self, first, rows)

    monkeypatch.setattr(ResultFile, "add", killed)
    screen(films, "--dicom-out", out, "--out", table)
    monkeypatch.setattr(ResultFile, "add", add)
    done = screen(films, "--dicom-out", out, "--out", table)
    assert "resumed" in done.stderr
    assert done.exit_code == 1
    assert "no DICOM report" in table.read_text()


def test_what_has_no_answer_is_named(at_home: Layout, tmp_path: Path) -> None:
    out = tmp_path / "answers"
    source = ct(tmp_path / "one.dcm", film(5, 1))
    header = dcmread(source)
    del header.StudyInstanceUID
    header.save_as(source)
    done = screen(source, "--dicom-out", out)
    assert done.exit_code == 1
    assert not unstated(done.stderr, "one.dcm has no DICOM report", "StudyInstanceUID")
    assert "one.dcm" in "".join(done.stdout.split())
    ct(source, film(5, 1), Manufacturer="medscreen", ContentQualification="RESEARCH")
    assert "a report or capture by medscreen" in screen(source, "--dicom-out", out).stderr
    assert not out.exists()


def test_folders_that_are_none_and_a_missing_extra_are_sentences(
    at_home: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    source = ct(films / "one.dcm", film(5, 1))
    refused = screen(source, "--dicom-out", source)
    assert not unstated(str(refused.exception), source, "--dicom-out")
    refused = screen(films, "--dicom-out", films / "answers")
    assert not unstated(str(refused.exception), films / "answers", "--dicom-out")
    (tmp_path / "blocked").write_text("")
    refused = screen(source, "--dicom-out", tmp_path / "blocked" / "answers")
    assert not unstated(str(refused.exception), "blocked", "--dicom-out")
    monkeypatch.setattr("medscreen.registry.dicom_answers.find_spec", lambda _: None)
    refused = screen(source, "--dicom-out", tmp_path / "answers")
    assert "pip install 'medscreen[dicom-out]'" in str(refused.exception)
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize("options", [[], ["--dicom-out", "answers"]])
def test_predict_imports_highdicom_only_for_answers(at_home: Layout, tmp_path: Path, options: list[str]) -> None:
    source = ct(tmp_path / "one.dcm", film(5, 1))
    arguments = [str(source), "--name", MODEL, *options]
    script = (
        "import atexit, sys; atexit.register(lambda: print('highdicom' in sys.modules, file=sys.stderr)); "
        f"from medscreen.cli.predict import predict; predict({arguments})"
    )
    env = environment(at_home.home) | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=at_home.home, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == str(bool(options))
