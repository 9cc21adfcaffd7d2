"""Labels of tables and folders: as a reference that does without the product's code has them, or a refusal."""

import csv
import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from factories import written
from medscreen.data.sources import tables
from medscreen.data.sources.labels import NormalLabels, label_key, plain
from medscreen.errors import MedscreenError

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202a\u202c\u2066\ufe0f\u034f\u180e\U000e0101"
BLANKS = " \t\u00a0\u2003\u3000"
WORDS = ["normal", "unauffällig", "no finding", "büro", "0", "sağ", "正常", "נורמלי"]


@st.composite
def spellings(draw: st.DrawFn, word: str) -> str:
    """Another spelling of the word, by what the rule says makes no difference."""
    text = draw(st.sampled_from([word, word.upper() if len(word.upper()) == len(word) else word, word.title()]))
    text = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])), text)
    at = draw(st.integers(0, len(text)))
    text = text[:at] + draw(st.text(INVISIBLE, max_size=3)) + text[at:]
    text = text.replace(" ", draw(st.text(BLANKS, min_size=1, max_size=2)))
    return draw(st.text(BLANKS, max_size=2)) + text + draw(st.text(BLANKS, max_size=2))


@given(st.data())
def test_all_spellings_of_a_word_are_one_label(data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(WORDS))
    spelled = data.draw(spellings(word))
    for settings, label in ((word, spelled), (spelled, word)):
        assert NormalLabels([settings]).label(label) == 0
        assert NormalLabels([settings]).doubt(label) is None


@given(st.text())
@example("\u0345\u0300")
@example("a\u200b\u0308")
@example("ﬀ\u00ad\u0301")
def test_a_plain_word_is_its_own_plain_word(text: str) -> None:
    once = plain(text)
    assert plain(once) == once
    assert once == once.strip()
    assert unicodedata.is_normalized("NFKC", once)
    assert label_key(label_key(text)) == label_key(text)


@pytest.mark.parametrize("spelled", ["0", "00", "0.0", "0,0", "-0", "+0", ".0", "0.", "\uff10", "\u0660", " 0\u200b"])
def test_a_number_counts_by_its_value(spelled: str) -> None:
    assert NormalLabels([0]).label(spelled) == 0
    assert NormalLabels([spelled]).label("0") == 0


def test_a_minus_sign_is_a_hyphen() -> None:
    assert NormalLabels(["HER2-"]).label("her2\u2212") == NormalLabels(["HER2\u2212"]).label("her2-") == 0


def test_numbers_that_differ_are_different() -> None:
    keys = [
        label_key(text)
        for text in ("1", "10", "1.5", "0.1", "-1", "100", "1,000", "1e0", "1234567890123456", "1234567890123457")
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "label",
    ["NA", "n/a", "N.A.", "NaN", "<NA>", "#N/A", "#VALUE!", "null", "None", "nil", "unknown", "UNK", "?", "??", "-",
     "--", "\u2014", ".", "\u2026", "-1", "\u22121", "-9", "-99", "not available", "missing", "", "(unknown)",
     "Un\u200bknown", "\uff1f"],
)  # fmt: skip
@pytest.mark.parametrize("normal", ["normal", 0, "no finding"])
def test_a_missing_label_is_never_abnormal(label: str, normal: str | int) -> None:
    assert NormalLabels([normal]).doubt(label) == "stands for a missing value"


@pytest.mark.parametrize("label", ["none", "-1", "unknown", "-"])
def test_a_missing_label_that_settings_name_is_normal(label: str) -> None:
    named = NormalLabels([label])
    assert named.label(label.upper()) == 0
    assert named.doubt(label) is None


@pytest.mark.parametrize(
    ("normal", "label"),
    [
        ("normal", "norml"), ("normal", "nromal"), ("normal", "normall"), ("normal", "mormal"), ("normal", "normal."),
        ("normal", "normal?"), ("normal", "normal (2)"), ("normal", "Normal2"), ("normal", "normal - Copy"),
        ("normal", "Copy of normal"), ("unauffällig", "unauff├ñllig"),
        ("normal", "(normal)"), ("normal", "nor-mal"), ("normal", "n\u043ermal"),
        ("normal", "\u039dormal"), ("normal", "norma1"), ("normal", "norm\u00e1l"), ("no finding", "no-finding"),
        ("no finding", "no_finding"), ("no finding", "nofinding"), ("no finding", "no findings"), ("ok", "\u043ek"),
        ("covid-19 negative", "covid\u201319 negative"), ("unauffällig", "unauffaellig"),
        ("unauffällig", "unauffallig"),
        ("unauffällig", "unauffÃ¤llig"), ("unauffällig", "unauff\ufffdllig"), (0, "O"), (0, "0?"), (1, "l"), (0, '"0"'),
        (0, "0%"),
        (0, "False"), (0, "no"), (0, "N"), (0, "negative"), (0, "normal"), (0, "absent"), (1, "true"), (1, "yes"),
        ("no", "0"), ("normal", "0"), ("normal", "healthy"), ("healthy", "normal"), ("benign", "normal"), (0, "0.5"),
        (0, "F"), ("False", "f"), (1, "T."), (0, "neg."), (0, "False."), (0, "0,000"), (1, "1,000"), (0, "0e0"),
        (1, "1.0e+00"), ("normal", "normal-"), ("normal", "normal+"), ("normal", "normal copy 2"),
        ("CN", "CN - Copy"), ("N", "N (2)"), ("0", "0(1)"),
        ("negative", "negativo"), ("negative", "negativa"),
    ],
)  # fmt: skip
def test_a_label_that_may_be_meant_as_a_normal_one_is_doubted(normal: str | int, label: str) -> None:
    assert NormalLabels([normal]).label(label) == 1
    assert NormalLabels([normal]).doubt(label)
    assert NormalLabels([normal, label]).doubt(label) is None


@pytest.mark.parametrize(
    ("normal", "label"),
    [
        ("normal", "abnormal"), ("normal", "anormal"), ("typical", "atypical"), ("not fractured", "fractured"),
        ("healthy", "unhealthy"), ("grade 1", "grade 2"), ("class0", "class1"), ("type a", "type b"), ("yes", "no"),
        ("true", "false"), (0, "1"), (1, "0"), (0, "12"), ("-", "+"), ("grade 1", "grade 12"), ("1", "11"),
        ("N", "F"), ("N", "V"), ("no tumor", "tumor"), ("nondemented", "demented"), ("uninfected", "infected"),
        ("type", "type b"), ("no finding", "finding"),
        ("benign", "malignant"), ("normal", "pneumonia"), ("covid negative", "covid positive"), (0, "nodule"),
        ("norma", "forma di vita"), (0, "True"),
        ("symptomatic", "asymptomatic"), ("asymptomatic", "symptomatic"), ("aseptic", "septic"),
        ("afebrile", "febrile"), ("asymptomatic patient", "symptomatic patient"),
        ("HER2-", "HER2+"), ("HER2+", "HER2-"), ("COVID-", "COVID+"), ("-ve", "+ve"), ("<5", ">=5"), ("<5", "\u22655"),
        (0, ">0"), ("1+", "2+"), ("ER-/PR-", "ER+/PR-"),
        ("classA", "classB"), ("TypeA", "TypeB"), ("TypeA lesion", "TypeB lesion"), ("StageI", "StageII"),
        ("N", "N1"), ("B", "B1"), ("CN", "CN2"), (0, "T"), (0, "1+"), ("-1", "1"), ("N", "T"), ("normal", "2e3"),
    ],
)  # fmt: skip
def test_another_label_is_abnormal(normal: str | int, label: str) -> None:
    assert NormalLabels([normal]).label(label) == 1
    assert NormalLabels([normal]).doubt(label) is None


cells = st.text(st.sampled_from("ab1 ,\"';\n\r\u00e4"), max_size=6)


def as_written(rows: list[list[str]], end: str = "\n") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def reading(
    text: str | bytes, folder: Path, columns: tuple[str, ...] = ("who", "hurt")
) -> list[tuple[int | str, ...]] | str:
    """Line and cells of each row, or the refusal."""
    path = written(folder / "train.csv", text)
    try:
        return [(row.line, *(row[column] for column in columns)) for row in tables.read_table(path, columns)]
    except MedscreenError as error:
        assert "\n" not in str(error)
        assert str(error).endswith(".")
        assert str(path) in str(error)
        return str(error)


tables_of = st.lists(st.tuples(st.integers(1, 99).map(str), st.sampled_from(["0", "1"]), cells), min_size=1, max_size=6)


@given(rows=tables_of, order=st.permutations([0, 1, 2]), end=st.sampled_from(["\n", "\r\n", "\r"]), bom=st.booleans())
def test_a_table_written_by_rule_is_read_as_written_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], order: list[int], end: str, bom: bool
) -> None:
    written_rows = [[row[i] for i in order] for row in [("who", "hurt", "note"), *rows]]
    text = ("\ufeff" if bom else "") + as_written(written_rows, end)
    found = reading(text, tmp_path_factory.mktemp("table"))
    if isinstance(found, str):  # a note of several lines that could be a row
        assert any(re.search("[\n\r]", note) for *_, note in rows)
        assert "a quote makes further lines part of its cell" in found
    else:
        assert [(who, hurt) for _, who, hurt in found] == [(who, hurt) for who, hurt, _ in rows]


@given(data=st.data(), number=st.integers(2, 7), order=st.permutations(["who", "hurt", "note"]))
def test_a_stray_quote_loses_no_row_without_a_word(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, number: int, order: list[str]
) -> None:
    rows = [{"who": f"P{i}", "hurt": str(i % 2), "note": "5 mm"} for i in range(number)]
    text = "\n".join(",".join(row[name] for name in order) for row in [{n: n for n in order}, *rows])
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + '"' + text[at:]
    found = reading(text, tmp_path_factory.mktemp("table"))
    if not isinstance(found, str):
        assert len(found) == number
        assert [hurt.strip('"') for _, _, hurt in found] == [row["hurt"] for row in rows]
        named = NormalLabels([0])
        for _, _, hurt in found:
            assert named.doubt(hurt) or named.label(hurt) == int(hurt.strip('"'))


@given(data=st.data(), number=st.integers(1, 5), order=st.permutations(["who", "hurt", "note"]))
def test_a_comma_more_or_less_is_refused_by_its_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, number: int, order: list[str]
) -> None:
    lines = [
        ",".join(order),
        *(",".join({"who": f"P{i}", "hurt": "0", "note": "clear"}[n] for n in order) for i in range(number)),
    ]
    which = data.draw(st.integers(1, number))
    more = data.draw(st.booleans())
    lines[which] = lines[which].replace("clear", "clear, lungs") if more else lines[which].replace(",", " ", 1)
    found = reading("\n".join(lines), tmp_path_factory.mktemp("table"))
    assert isinstance(found, str)
    assert f"line {which + 1}: it has {4 if more else 2} cells where line 1, the header, has 3" in found


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("who,hurt\nA,0,,\nB,1\n,,\n\n  \nC,0,\n", [(2, "A", "0"), (3, "B", "1"), (7, "C", "0")]),
        ("\nwho,hurt,,\nA,0\n", [(3, "A", "0")]),
        ("\ufeffWho , HU\u200bRT\nA,0\n", [(2, "A", "0")]),
        ('note,who,hurt\n"two\nlines, of text",A,0\n\nx,B,1\n', [(2, "A", "0"), (5, "B", "1")]),
        ('who,hurt,note\nA,0,"heart ok.\nlungs, clear"\nB,1,"x, y\n2. foo, 1"\n', [(2, "A", "0"), (4, "B", "1")]),
        ('note,who,hurt\n"heart ok.\nlungs, A, 1",A,0\n"x, y\n2. foo, 1",B,1\n', [(2, "A", "0"), (4, "B", "1")]),
        ("who,hurt\rA,0\rB,1\r", [(2, "A", "0"), (3, "B", "1")]),
        ("who,hurt,x,x\nA,0,1,2\n", [(2, "A", "0")]),
        ("who,hurt\nA,0\n,1\n", [(2, "A", "0"), (3, "", "1")]),
        ('who,hurt,note\nA,0,5" film\n', [(2, "A", "0")]),
    ],
)
def test_harmless_forms_of_a_table_are_read(tmp_path: Path, text: str, rows: list[tuple[int, str, str]]) -> None:
    assert reading(text, tmp_path) == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("who\thurt\nA\t0\n", "separated by commas, not by tabs"),
        ('who;hurt\n"A";"0"\n', "separated by commas, not by semicolons"),
        ("who,hurt\nA;0\n", "line 2: it has 1 cells"),
        ("who,hurt\nA,0\nwho,hurt\nB,1\n", "line 3: it repeats the header"),
        ("who,hurt,Hurt\nA,0,1\n", "two columns 'hurt'"),
        ("# exported\nwho,hurt\nA,0\n", "no column 'who'"),
        ("who,hurt\n# note\nA,0\n", "line 2: it has 1 cells"),
        ("who,hurt,note\nA,0,\"5 mm\nB,1,x\n", "invalid CSV from line 2 on"),
        ('who,hurt,note\nA,0,"5 mm\nB,1,x\nC,0,"7 mm"\n', "invalid CSV from line 2 on"),
        ('who,hurt,note\nA,0,"5 mm\nB,1,x\nC,0,"\nD,1,x\n', "line 2: a quote makes further lines part"),
        ('who,hurt,note\nA,0,"5 mm\nB,1,"\nD,1,x\n', "line 2: a quote makes further lines part"),
        ('note,who,hurt\n"x,A,0\ny",B,1\nz,C,0\n', "line 2: a quote makes further lines part"),
        ('who,hurt,"note\nA,0,x\nB,1,"\nC,0,x\n', "line 1: a quote makes further lines part"),
        ('who,hurt,note\nA,0,x\nB,1,"oops\nC,0,x"\n', "line 3: a quote makes further lines part"),
        ('who,note,hurt\nA,"x,0\nB,y,1\nC,z",1\nD,x,0\n', "line 2: a quote makes further lines part"),
        ('who,hurt\n"A\nB",0\nC,1\n', "line 2: a quote makes further lines part"),
        ('who,hurt\n"A,0"\nB,1\n', "line 2: it has 1 cells"),
        ("who,hurt\nA,0\nB,\x001\n", "line 3: it holds NUL"),
        ("who,hurt\nA,0\n".encode("utf-16"), "is UTF-16"),
        ("who,hurt\nA,0\n".encode("utf-16-be"), "NUL"),
        ("who,hurt\nA,0\n".encode("utf-32"), "UTF-8"),
        ("who,hurt\nJörg,0\n".encode("cp1252"), "not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_table_that_could_be_misread_is_refused(tmp_path: Path, text: str | bytes, says: str) -> None:
    assert says in str(reading(text, tmp_path))
