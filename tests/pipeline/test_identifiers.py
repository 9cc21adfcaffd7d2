import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from pydicom import dcmread
from pydicom.errors import InvalidDicomError


def identifiers(films: Path) -> Iterator[str]:
    """What the headers of the raw files say of a person or a visit."""
    for path in films.rglob("*.dcm"):
        try:
            header = dcmread(path, stop_before_pixels=True)
            yield from str(header.PatientName).split("^")
            yield from str(header.ReferringPhysicianName).split("^")
            yield header.PatientID
            yield header.PatientBirthDate
            yield header.StudyDate
            yield header.AccessionNumber
            yield header.StudyInstanceUID
        except (InvalidDicomError, EOFError, AttributeError):  # the unreadable ones among them
            continue


def contents(project: Path) -> Iterator[tuple[Path, str]]:
    """The text of everything that the pipeline wrote outside the raw data, DVC's cache included."""
    for path in sorted(p for p in project.rglob("*") if p.is_file()):
        inside = path.relative_to(project).parts
        if inside[0] in {".git", "src"} or inside[:2] == ("data", "phantom"):
            continue
        yield path, str(path.relative_to(project))
        yield path, path.read_bytes().decode("latin-1")
        if path.read_bytes()[:4] == b"PAR1":  # compressed
            yield path, str(pq.read_table(path).to_pydict())


def test_no_identifier_of_a_header_leaves_the_raw_files(finished: Path) -> None:
    wanted = set(identifiers(finished / "data" / "phantom"))
    assert len(wanted) > 500
    assert "P-00003" not in wanted
    # as a word of its own: eight digits of a score are no date
    pattern = re.compile(r"(?<![\w.])(?:" + "|".join(map(re.escape, [*wanted, "P-00003"])) + r")(?![\w.])")
    seen_in: dict[str, set[str]] = {}
    searched = set()
    for path, text in contents(finished):
        searched.add(path.relative_to(finished).parts[0])
        for found in pattern.findall(text):
            seen_in.setdefault(found, set()).add(path.relative_to(finished).as_posix())
    pseudonym = seen_in.pop("P-00003")
    assert any(path.endswith("manifest.parquet") for path in pseudonym)  # what is there is found
    assert searched >= {"data", "models", "reports", "mlruns", ".dvc", ".medscreen", "dvc.lock", "repro.log"}
    assert seen_in == {}
