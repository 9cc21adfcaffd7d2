"""The conformance table names the test that holds each of its rows."""

import re

from factories import REPOSITORY
from medscreen.data.dicom.headers import ELEMENTS, GROUPS

DOCUMENT = (REPOSITORY / "docs" / "dicom.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| (honored|refused|irrelevant)\b(.*?) \| (.*?) \|$", DOCUMENT, re.MULTILINE)


def test_every_test_that_the_table_names_exists() -> None:
    names = {name for *_, tests in ROWS for name in re.findall(r"`(test_\w+)`", tests)}
    defined = {
        name for path in (REPOSITORY / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }  # fmt: skip
    assert len(ROWS) > 40
    assert names - defined == set()


def test_every_row_that_is_honored_or_refused_names_a_test() -> None:
    assert [row[0] for row in ROWS if row[1] != "irrelevant" and "`test_" not in row[3]] == []


def test_every_element_that_is_read_stands_in_the_table() -> None:
    listed = " ".join(row[0] for row in ROWS)
    read = {re.sub(r"^(Segmented)?(Red|Green|Blue)", r"\1", keyword) for keyword in ELEMENTS} | set(GROUPS.values())
    assert {keyword for keyword in read if keyword not in listed} == set()
