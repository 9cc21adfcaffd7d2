import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from conftest import new_project, repro
from factories import dicom, film, written
from medscreen.config.privacy import OTHER
from medscreen.workspace.layout import Layout

PSEUDONYM = "p-00003"


def headers(films: Path) -> Iterator[Dataset]:
    for path in films.rglob("*.dcm"):
        try:
            header = dcmread(path, stop_before_pixels=True)
            header.PatientName, header.SOPInstanceUID  # noqa: B018
        except (InvalidDicomError, EOFError, AttributeError):  # the unreadable ones among them
            continue
        yield header


def names_of(header: Dataset) -> Iterator[str]:
    """What a header says of a person or a visit, but for dates."""
    for name in (str(header.PatientName), str(header.ReferringPhysicianName)):
        yield name
        yield name.split("^")[1]  # the part with a number: the families are names of minerals
    yield from (header.PatientID, header.AccessionNumber)
    yield from (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)


def dates_of(header: Dataset) -> Iterator[str]:
    for date in (header.PatientBirthDate, header.StudyDate):
        yield date
        yield f"{date[:4]}-{date[4:6]}-{date[6:]}"


def contents(project: Path) -> Iterator[tuple[str, str]]:
    """The name and the text of everything that the pipeline wrote outside the raw data, DVC's cache included."""
    for path in sorted(p for p in project.rglob("*") if p.is_file()):
        name = path.relative_to(project).as_posix()
        if name.startswith((".git/", "src/", "data/phantom/")):
            continue
        yield name, name
        yield name, path.read_bytes().decode("latin-1")
        if path.read_bytes()[:4] == b"PAR1":  # compressed
            yield name, str(pq.read_table(path).to_pydict())


def test_no_identifier_of_a_header_leaves_the_raw_files(finished: Path) -> None:
    seen = list(headers(finished / "data" / "phantom"))
    names = {name.lower() for header in seen for name in names_of(header)}
    dates = {date for header in seen for date in dates_of(header)}
    assert len(names) > 900
    assert len(dates) > 300
    # a date has to stand alone: eight digits of a score are none
    dated = re.compile(r"(?<!\d)(?:" + "|".join(sorted(dates)) + r")(?!\d)")
    longest_first = sorted(names | {PSEUDONYM}, key=len, reverse=True)
    named = re.compile("|".join(map(re.escape, longest_first)))
    found: dict[str, set[str]] = {}
    searched = set()
    for name, text in contents(finished):
        searched.add(name.split("/")[0])
        for hit in [*named.findall(text.lower()), *dated.findall(text)]:
            found.setdefault(hit, set()).add(name)
    assert searched >= {"data", "models", "reports", "mlruns", ".dvc", ".medscreen", "dvc.lock", "repro.log"}
    pseudonym = found.pop(PSEUDONYM)
    assert any(name.endswith("manifest.parquet") for name in pseudonym)  # what is there is found
    assert found == {}


TYPED = {"diagnosis": "Przybylski Ottokar", "clinic": "Oberkofler Wendelin", "years": "Zwetschkenbaum"}


def export(root: Path) -> Path:
    """DICOM files of 60 patients and a table, in which a name was typed as label, as site and as age."""
    rng = np.random.default_rng(9)
    rows = []
    for number in range(60):
        stored = film(32, bool(number % 2), rng).astype(np.uint16) * 15
        dicom(root / f"{number}.dcm", stored, PatientName="Przybylski^Ottokar", PatientID=f"Kennung-{number:04d}")
        rows.append(
            {
                "pid": f"Kennung-{number:04d}", "path": f"{number}.dcm", "diagnosis": ("normal", "mass")[number % 2],
                "clinic": ("north", "south")[number % 3 // 2], "years": str(45 + number % 12),
            }
        )  # fmt: skip
    rows[11]["diagnosis"], rows[20]["clinic"], rows[31]["years"] = TYPED.values()
    rows[33]["diagnosis"] = "scar"
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    written(root / "labels.csv", "\n".join(lines) + "\n")
    return root


def test_no_name_that_was_typed_into_a_table_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    entry = {
        "kind": "dicom", "root": str(export(tmp_path / "export")), "image_size": 32, "images": ".",
        "table": "labels.csv",
        "columns": {"patient": "pid", "label": "diagnosis", "file": "path"}, "normal_labels": ["normal"],
        "slices": {"take": "all"}, "attributes": {"site": "clinic", "age": "years"},
        "display": {"window": "file", "burned_in": "count"},
    }  # fmt: skip
    changes = {"dataset": "export", "datasets.export": entry, "evaluation.resamples": 100, "compute.threads": 1}
    project = new_project(tmp_path / "project", changes, roster=["gradient"])
    (project / "repro.log").write_text(repro(project))
    names = [part for name in TYPED.values() for part in name.split()]
    named = re.compile("|".join([*names, "kennung-0", "mass"]).lower())
    found: dict[str, set[str]] = {}
    for name, text in contents(project):
        for hit in named.findall(text.lower()):
            found.setdefault(hit, set()).add(name)
    common = found.pop("mass")
    assert {
        "data/curated/development/train/manifest.parquet",
        "reports/detectors/gradient/analysis.json",
    } <= common  # what is there is found
    assert found == {}
    page = (project / "data" / "curation.html").read_text()
    assert "finding 2, age 1, site 1" in page
    merged = {
        value
        for split in ("train", "tune", "val", "test")
        for value in pq.read_table(Layout(project, project).curated(split) / "manifest.parquet")[
            "trait:finding"
        ].to_pylist()
    }
    assert merged == {"normal", "mass", OTHER}
