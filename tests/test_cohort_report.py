"""The cohort report: its figures are those of the reports, and nothing is scored, named or logged for it."""

import csv
import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from factories import PHANTOM, one_sentence
from html_pages import Tags
from medscreen.cli import commands
from medscreen.errors import MedscreenError
from medscreen.evaluation.sample_size import TOO_FEW
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.pipeline.evaluate import evaluate
from medscreen.reporting.cohort_report.page import cohort_report
from medscreen.workspace.keyed_names import keyed_name, names_key
from medscreen.workspace.layout import Layout
from workspaces import ROSTER, settings_of

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


@pytest.fixture(scope="module")
def reported(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published workspace with the curves of the whole roster."""
    home = Path(shutil.copytree(published, tmp_path_factory.mktemp("reported") / "workspace"))
    evaluate(Layout(home, home), settings_of(home))
    return home


@pytest.fixture
def layout(reported: Path, tmp_path: Path) -> Layout:
    home = Path(shutil.copytree(reported, tmp_path / "workspace"))
    return Layout(home, home)


def page_of(layout: Layout) -> str:
    return cohort_report(layout, settings_of(layout.home))


def invoke(layout: Layout, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(layout.home)
    return CliRunner().invoke(commands, ["report", *arguments])


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of the second level."""
    (section,) = re.findall(rf"<h2[^>]*>{heading}</h2>(.*?)(?=<h2|$)", page, re.DOTALL)
    table = section.split("</table>")[0]
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in table.split("</tr>")]
    return [[html.unescape(re.sub("<[^>]+>", "", cell)).replace("\xa0", " ") for cell in row] for row in cells if row]


def leaderboard_of(layout: Layout) -> list[dict[str, str]]:
    with layout.leaderboard.open(newline="") as file:
        return list(csv.DictReader(file))


def figure_of(estimate: dict[str, float | None] | None) -> str:
    """An estimate of evaluation.json as pages show it."""
    if estimate is None or estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return TOO_FEW
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def test_figures_are_those_of_the_evaluation_and_the_order_is_that_of_the_league(layout: Layout) -> None:
    page = page_of(layout)
    leaderboard = leaderboard_of(layout)
    evaluations = {name: json.loads(layout.evaluation(name).read_text()) for name in ROSTER}
    columns = ("val/auroc", "test/auroc", "test/balanced_accuracy", "test/sensitivity", "test/specificity")
    expected = [
        [
            row["detector"],
            row["verdict"],
            *(figure_of(evaluations[row["detector"]][name.split("/")[0]][name.split("/")[1]]) for name in columns),
        ]
        for row in leaderboard
    ]
    assert rows_of(page, "Leaderboard")[1:] == expected
    for shown, row in zip(rows_of(page, "Leaderboard")[1:], leaderboard, strict=True):
        assert [float(cell.split()[0]) for cell in shown[2:]] == pytest.approx(
            [float(row[c]) for c in columns], abs=6e-4
        )

    points = iter(rows_of(page, "Operating points")[1:])
    for row in leaderboard:
        stated = PackagedDetector(layout.packaged(row["detector"])).metadata["operating_point"]
        for split in ("val", "test"):
            of = evaluations[row["detector"]][split]
            deferred = {"value": 1 - of["coverage"]["value"], "low": 1 - of["coverage"]["high"]}
            deferred["high"] = 1 - of["coverage"]["low"]
            assert next(points) == [
                row["detector"],
                stated["policy"],
                f"{stated['threshold']:.4g}",
                split,
                *(figure_of(of[name]) for name in ("sensitivity", "specificity")),
                figure_of(deferred),
                figure_of(of["error_kept"]),
            ]


def test_confusion_matrices_give_the_sensitivity_and_specificity_of_the_evaluation(layout: Layout) -> None:
    for detector, *counts in rows_of(page_of(layout), "Confusion matrices")[1:]:
        normal_kept, normal_called, missed, found = map(int, counts)
        test = json.loads(layout.evaluation(detector).read_text())["test"]
        assert found / (found + missed) == pytest.approx(test["sensitivity"]["value"], abs=1e-6)
        assert normal_kept / (normal_kept + normal_called) == pytest.approx(test["specificity"]["value"], abs=1e-6)


def test_the_page_needs_nothing_but_itself_and_has_every_section(layout: Layout) -> None:
    page = page_of(layout)
    tags = Tags(page).tags
    assert {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "form"} == set()
    pictures = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert all(str(source).startswith("data:image/png;base64,") for source in pictures)
    assert len(pictures) == 2 + len(ROSTER) * (3 + 10)  # curves; of each detector three figures and ten images
    links = [str(attributes["href"]) for tag, attributes in tags if tag == "a"]
    ids = {attributes.get("id") for _, attributes in tags}
    assert len(links) == len(ROSTER)
    assert {link.removeprefix("#") for link in links} <= ids
    assert not re.search(r"https?://|url\(", page)
    for heading in ("Leaderboard", "Curves", "Operating points", "Calibration", "Data and splits", "Lineage"):
        assert f">{heading}</h2>" in page
    assert "Research use only, never diagnosis." in page
    assert "films-detector version 3" in page
    assert json.loads(layout.raw.read_text())["digest"] in page


def test_worst_cases_are_the_extremes_of_val_under_keyed_names(layout: Layout) -> None:
    page, key = page_of(layout), names_key(layout.names_key)
    rows = pq.read_table(layout.development_predictions("half"), filters=pc.field("split") == "val").to_pylist()
    healthy = sorted((row for row in rows if not row["label"]), key=lambda row: -row["score"])[:5]
    abnormal = sorted((row for row in rows if row["label"]), key=lambda row: row["score"])[:5]
    section = page.split('id="detector-half"')[1].split("<h2")[0]
    high, low = section.split("Normal images of val")[1].split("Abnormal images of val")
    for part, cases in ((high, healthy), (low, abnormal)):
        assert re.findall(r"<th>(\w{12})</th>", part) == [keyed_name(row["origin"], key)[:12] for row in cases]
        assert re.findall(r"score ([-.e\d]+)<", part) == [f"{row['score']:.4g}" for row in cases]
    words = Tags(page).text
    assert not re.search(r"\b\d{4}\.png", words)
    assert not re.search(r"\bp\d+\b", words)


def test_nothing_is_scored_or_logged_and_the_images_of_test_stay_closed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page_of(layout)
    shutil.rmtree(layout.curated("test"))
    shutil.rmtree(layout.mlruns)
    monkeypatch.delattr(PackagedDetector, "_run")
    results, lineage = before.split('id="lineage"')
    assert page_of(layout).split('id="lineage"')[0] == results  # the lineage names the files that are gone
    assert "uncommitted changes" in lineage
    assert not layout.mlruns.exists()


def test_data_is_called_simulated_where_it_is_and_told_to_stay_where_it_is_not(layout: Layout) -> None:
    real, params = page_of(layout), settings_of(layout.home)
    assert "must not leave this machine" in real
    assert "simulated" not in real
    simulated = cohort_report(layout, params.model_copy(update={"datasets": {"films": PHANTOM}}))
    assert "<h1" in simulated
    assert "films (simulated data)</h1>" in simulated
    assert "must not leave this machine" not in simulated


def test_hostile_text_of_data_and_decisions_stays_text(layout: Layout) -> None:
    hostile = '<img src=x onerror="alert(1)">[evil](http://evil.example) | `a` <script>alert(2)</script>'
    curation = json.loads(layout.curation_report.read_text())
    curation["quarantined"] = [{"file": hostile, "reason": hostile}]
    layout.curation_report.write_text(json.dumps(curation))
    analysis = json.loads(layout.analysis("half").read_text())
    row = {"patients": 9, "normal": 5, "abnormal": 4, "metrics": {}}
    analysis["subgroups"] = {hostile: {hostile: row}}
    layout.analysis("half").write_text(json.dumps(analysis))
    promotion = json.loads(layout.promotion.read_text()) | {"reason": hostile, "model": hostile}
    layout.promotion.write_text(json.dumps(promotion))
    tags = Tags(page_of(layout)).tags
    assert "script" not in {tag for tag, _ in tags}
    assert all(str(attributes["src"]).startswith("data:") for tag, attributes in tags if tag == "img")
    assert all(str(attributes["href"]).startswith("#detector-") for tag, attributes in tags if tag == "a")
    assert "<img src=x onerror=" in Tags(page_of(layout)).text


FILES: dict[str, Callable[[Layout], Path]] = {
    "evaluation": lambda layout: layout.evaluation("half"),
    "analysis": lambda layout: layout.analysis("half"),
    "leaderboard": lambda layout: layout.leaderboard,
    "promotion": lambda layout: layout.promotion,
    "roc": lambda layout: layout.plots / "roc.csv",
    "confusion": lambda layout: layout.figures("half") / "confusion.png",
    "development": lambda layout: layout.development_predictions("whole"),
    "curation": lambda layout: layout.curation_report,
}


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named_with_the_way_out(layout: Layout, file: str) -> None:
    path = FILES[file](layout)
    path.unlink()
    with pytest.raises(MedscreenError, match=re.escape(path.relative_to(layout.home).as_posix())) as error:
        page_of(layout)
    assert "`dvc repro" in one_sentence(error)


@pytest.mark.parametrize("content", ["", "{}", "half"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_or_partial_file_is_named_with_the_way_out(layout: Layout, file: str, content: str) -> None:
    path = FILES[file](layout)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content.encode())
    with pytest.raises(MedscreenError) as error:
        page_of(layout)
    message = one_sentence(error)
    assert path.name.split(".")[0] in message or path.parent.relative_to(layout.home).as_posix() in message
    assert "`dvc repro" in message


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_results_of_different_runs_are_not_mixed(layout: Layout) -> None:
    kept = {path: path.read_bytes() for path in (layout.leaderboard, layout.promotion, layout.plots / "roc.csv")}
    digest = json.loads(layout.promotion.read_text())["standings"][1]["digest"]
    (row,) = [row for row in leaderboard_of(layout) if row["detector"] == "half"]
    for path, old, new in (
        (layout.leaderboard, row["test/auroc"], "0.9999"),
        (layout.promotion, digest, "0" * 32),
        (layout.plots / "roc.csv", "half", "other"),
    ):
        changed(path, old, new)
        with pytest.raises(MedscreenError, match=path.name) as error:
            page_of(layout)
        assert "not made from the" in one_sentence(error)
        path.write_bytes(kept[path])
    assert page_of(layout)


def test_scores_of_other_images_are_not_shown_beside_those_of_val(layout: Layout) -> None:
    manifest = layout.curated("val") / "manifest.parquet"
    table = pq.read_table(manifest)
    origins = np.roll(table["origin"].to_pylist(), 1)
    position = table.column_names.index("origin")
    pq.write_table(table.set_column(position, "origin", [origins.tolist()]), manifest)
    with pytest.raises(MedscreenError, match=r"models/\w+/development.parquet: not the scores"):
        page_of(layout)


def test_the_command_writes_the_page_and_says_what_is_on_it(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke(layout, monkeypatch, "--cohort")
    assert done.exit_code == 0, done.output
    assert "cohort-report.html: 3 detectors on films. Research use only, never diagnosis." in done.output
    assert (layout.home / "cohort-report.html").read_text() == page_of(layout)
    assert invoke(layout, monkeypatch, "--cohort", "--out", "other.html").exit_code == 0
    assert (layout.home / "other.html").is_file()


@pytest.mark.parametrize(
    "arguments", [(), ("--cohort", "film.png"), ("--cohort", "--name", "m"), ("--cohort", "--stage", "Staging")]
)
def test_either_images_or_the_cohort_are_reported_on(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    done = invoke(layout, monkeypatch, *arguments)
    assert done.exit_code == 2
    (message,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert "--cohort" in message
    assert ("PATHS" if arguments else "images") in message
    assert list(layout.home.glob("*.html")) == []


@pytest.mark.parametrize("out", ["film.png", "folder.html"])
def test_the_page_takes_the_place_of_no_image_and_no_folder(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (layout.home / "film.png").write_bytes(b"a film")
    (layout.home / "folder.html").mkdir()
    done = invoke(layout, monkeypatch, "--cohort", "--out", out)
    assert isinstance(done.exception, MedscreenError)
    assert out in str(done.exception)
    assert "--out" in str(done.exception)
    assert (layout.home / "film.png").read_bytes() == b"a film"
    assert list((layout.home / "folder.html").iterdir()) == []
