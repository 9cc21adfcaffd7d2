import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

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
