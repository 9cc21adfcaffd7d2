"""Text from outside where it is shown: names, reasons and messages with markup, control characters and formulas."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from rich.table import Table
from rich.text import Text

from medscreen.cli import main
from medscreen.cli.models import _print_log
from medscreen.cli.verify import _table
from medscreen.pipeline.publish import publish
from medscreen.registry.decision_log import DecisionLog, Entry
from medscreen.registry.verification.finding import Finding
from medscreen.runtime.escaping import Screen, save_csv, say, visible
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, film, settings_of

# what MLflow says of its own type hints when it first logs a model
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")

FOREIGN = (
    "ticket [/4711]", "[bold]", "[red]x[/red]", "[link=http://evil]x[/link]", ":smile:",
    "\x1b[2J\x1b[H", "\x1b]0;title\x07",
    "\x9b31m", "\x08\x08\x08yes", "a\rb", "a\nmedscreen: forged", "\u202eabc", "\u2066abc", "\u200b", "\udcff", "\x00",
    "=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "=HYPERLINK(\"http://evil\")",
    "<script>alert(1)</script>",
    "![x](http://evil/x.png)", "[x](javascript:alert(1))", "| a | b |", "$x^{", "%s %d {0}", "größe 胸部 صدر",
)  # fmt: skip
TEXT = st.text(max_size=40) | st.sampled_from(FOREIGN) | st.lists(st.sampled_from(FOREIGN), max_size=3).map("".join)
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")


def printed(show: Callable[[], Any]) -> str:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        show()
    return out.getvalue()


def joined(text: str) -> str:
    """Without what a table adds: blanks, line breaks and lines."""
    return re.sub(r"[\s─━]", "", text)


@given(TEXT)
def test_visible_text_is_one_line_without_control_characters(text: str) -> None:
    shown = visible(text)
    assert not CONTROL.search(shown)
    assert "\n" not in shown
    shown.encode()
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text


@given(TEXT)
def test_a_line_that_is_said_is_one_line(text: str) -> None:
    assert printed(lambda: say(f"{text}: what is wrong.")) == f"{visible(text)}: what is wrong.\n"


@settings(deadline=None)
@given(TEXT, st.booleans())
@example("ticket [/4711]", False)
@example("\x1f", False)
@example("a\x1fb", True)
def test_a_screen_shows_text_as_it_is_wherever_it_stands(text: str, is_styled: bool) -> None:
    def show() -> None:
        table = Table(title=text, caption=text)
        table.add_column(text)
        table.add_row(Text(text, "bold") if is_styled else text)
        screen = Screen()
        screen.print(table)
        screen.print(text)

    shown = printed(show)
    assert not CONTROL.search(shown)
    # rich drops bell, backspace and the like itself, separators where it strips blanks
    wanted = joined(visible(re.sub(r"[\x07\x08\x0b\x0c\r\x1c-\x1f\x85]", "", text), keep="\n\t"))
    if wanted and "\t" not in text:
        assert joined(re.sub(r"\\x(1[c-f]|85)", "", shown)).count(wanted) >= 2


@settings(deadline=None)
@given(reason=TEXT, by=TEXT, title=TEXT)
def test_the_log_of_decisions_shows_any_reason(reason: str, by: str, title: str) -> None:
    entry = Entry(number=1, at="2026-01-01T00:00:00+00:00", by=by, action="rollback", title=title, reason=reason)
    shown = printed(lambda: _print_log({MODEL: [entry]}, as_json=False))
    assert not CONTROL.search(shown)
    assert "2026-01-01" in shown
    (read,) = json.loads(printed(lambda: _print_log({MODEL: [entry]}, as_json=True)))
    assert (read["reason"], read["by"]) == (reason, by)


@settings(deadline=None)
@given(TEXT)
def test_a_finding_shows_any_text(text: str) -> None:
    finding = Finding(subject="package", status="changed", says=text)
    assert not CONTROL.search(printed(lambda: Screen().print(_table([finding]))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, st.floats(), st.integers()), min_size=1, max_size=4))
def test_no_cell_of_a_csv_is_a_formula_and_numbers_stay_numbers(tmp_path: Path, rows: list[Any]) -> None:
    path = tmp_path / "table.csv"
    save_csv(path, ["=name", "score", "count"], rows)
    with path.open(newline="", encoding="utf-8") as file:
        header, *read = csv.reader(file)
    assert header == ["'=name", "score", "count"]
    assert len(read) == len(rows)
    for (name, score, count), (text, number, whole) in zip(rows, read, strict=True):
        assert not CONTROL.search(text)
        assert not text.lstrip().startswith(FORMULA) or float(text) is not None
        assert text.removeprefix("'") == visible(name, keep="\n").removeprefix("'")
        assert (number, whole) == (str(score), str(count))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("-0.5", "-0.5"), ("+1", "+1"), ("-1e-05", "-1e-05"), ("-inf", "-inf"), ("a=1", "a=1"), ("", ""),
        ("-", "'-"), ("-1+1", "'-1+1"), ("-x.png", "'-x.png"), (" =1", "' =1"), ("\u3000=1", "'\u3000=1"),
        ("-1_0", "'-1_0"), ("-\u0661", "'-\u0661"),
    ],
)  # fmt: skip
def test_a_cell_is_a_number_or_no_formula(tmp_path: Path, text: str, cell: str) -> None:
    save_csv(tmp_path / "table.csv", ["a", "b"], [[text, None]])
    assert (tmp_path / "table.csv").read_text() == f"a,b\n{cell},\n"


@pytest.fixture
def command(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs `medscreen` in the workspace: exit status, and all that it prints."""
    monkeypatch.chdir(workspace.home)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["medscreen", *arguments])
        status = 0
        try:
            main()
        except SystemExit as left:
            status = int(left.code or 0)
        out, err = capsys.readouterr()
        return status, out + "".join(line for line in err.splitlines(True) if "mlruns/ has moved" not in line)

    return run


@pytest.mark.slow
def test_whatever_a_reason_holds_every_command_and_the_next_repro_go_on(
    workspace: Layout, command: Callable[..., tuple[int, str]]
) -> None:
    client = open_store(workspace)
    log = DecisionLog(client, workspace, MODEL)
    for text in FOREIGN:
        log.record(Entry(action="promote", title="kept", reason=text.encode(errors="replace").decode()), {})
    assert command("promote", "1", "--force", "--reason", "\x1b[2J[/]")[0] == 0
    reason = "ticket [/4711] \x1b[31m=1+1 \u202e<b>![x](http://evil)"
    assert command("rollback", "--reason", reason)[0] == 0
    for arguments in (["models"], ["models", "--log"], ["compare", "1", "2"], ["verify", "1"]):
        status, shown = command(*arguments)
        assert status in (0, 1), shown
        assert not CONTROL.search(shown)
    shown = command("models", "--log")[1]
    for text in ("[/4711]", "[bold]", ":smile:", "\\x1b[2J", "=HYPERLINK", "\\u202e"):
        assert joined(text) in joined(shown)
    publish(workspace, settings_of(workspace.workspace))
    card = Path(client.download_artifacts(client.get_model_version(MODEL, "1").run_id, "card.md")).read_text()
    page = MarkdownIt("commonmark").render(card)
    assert not re.search(r"<b>|<img|<script|href=.(javascript|http://evil)", page)
    notes = [run.data.tags.get("mlflow.note.content", "") for _, run in log.entries()]
    assert not re.search(r"<b>|<img|<script|href=", "".join(MarkdownIt("commonmark").render(note) for note in notes))


@pytest.mark.parametrize("text", ["\udcff", "\\", '"', "\u202e", "\x1b", "<", "\U0001f600", "\U000e0001"])
def test_no_reason_or_title_is_too_long_or_unfit_for_a_tag(workspace: Layout, text: str) -> None:
    log = DecisionLog(open_store(workspace), workspace, MODEL)
    log.record(Entry(action="promote", title=text * 9000, reason=text * 9000), {})
    (entry, run), *_ = log.entries()
    assert entry.reason == visible(text * 9000)[:3000]
    assert entry.title == run.info.run_name == visible(text * 9000)[:120]


def test_a_blank_reason_is_none(workspace: Layout, command: Callable[..., tuple[int, str]]) -> None:
    assert command("promote", "1", "--force", "--reason", "worse")[0] == 0
    assert command("rollback", "--reason", " ")[0] == 0
    (entry, _), *_ = DecisionLog(open_store(workspace), workspace, MODEL).entries()
    assert (entry.action, entry.reason) == ("rollback", "no reason given")


def test_predict_shows_and_saves_any_name_of_a_file(
    workspace: Layout, tmp_path: Path, command: Callable[..., tuple[int, str]]
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    names = [text for text in FOREIGN if not {"/", "\x00"} & set(text)]
    for name in names:
        Image.fromarray(film(1, 0)).save(folder / name, format="png")
    Image.fromarray(film(1, 0)).save(workspace.home / "=1+1.png")
    (folder / "\x1b[2Jbroken\nmedscreen: forged").write_bytes(b"\x89PNG")
    table = tmp_path / "table.csv"
    assert command("predict", str(folder), "=1+1.png", "--csv", str(table))[0] == 1
    status, shown = command("predict", str(folder), "=1+1.png")
    assert status == 1, shown
    assert not CONTROL.search(shown)
    assert "\nmedscreen: forged" not in shown
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows].count("screened") == len(names) + 1, shown
    assert rows[-1]["file"] == "'=1+1.png"


@pytest.mark.parametrize(
    "arguments", [["use", "\x1b[2J[/x]\nforged"], ["models", "--name", "\x1b[/]"], ["predict", "\x1b[2J\n"]]
)
def test_an_error_is_one_line_whatever_was_typed(command: Callable[..., tuple[int, str]], arguments: list[str]) -> None:
    status, shown = command(*arguments)
    assert status == 2
    assert shown.count("\n") == 1
    assert not CONTROL.search(shown)
