from pathlib import Path

import pytest

from medscreen.workspace import code_digest as codebase
from medscreen.workspace.code_digest import code_digest, import_closure


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "medscreen/__init__.py": "",
        "medscreen/stage.py": "from medscreen.shelf import book\nfrom medscreen.tracking import live\nimport os\n",
        "medscreen/shelf/__init__.py": "",
        "medscreen/shelf/book.py": "def late():\n    import medscreen.ink\n",
        "medscreen/shelf/unread.py": "",
        "medscreen/ink.py": "from medscreen.stage import something\n",
        "medscreen/tracking/__init__.py": "from medscreen.tracking.store import x\n",
        "medscreen/tracking/store.py": "import medscreen.only_tracked\n",
        "medscreen/only_tracked.py": "",
        "medscreen/stranger.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(codebase, "SOURCE", tmp_path)
    return tmp_path


def test_the_closure_follows_imports_wherever_they_stand(source: Path) -> None:
    assert [path.as_posix() for path in import_closure("medscreen.stage")] == [
        "medscreen/ink.py",
        "medscreen/shelf/__init__.py",
        "medscreen/shelf/book.py",
        "medscreen/stage.py",
    ]


@pytest.mark.parametrize("file", ["stage.py", "shelf/__init__.py", "shelf/book.py", "ink.py"])
def test_the_digest_changes_with_the_code(source: Path, file: str) -> None:
    before = code_digest("medscreen.stage")
    assert code_digest("medscreen.stage") == before
    with (source / "medscreen" / file).open("a") as text:
        text.write("\nx = 1\n")
    assert code_digest("medscreen.stage") != before
    assert len(before) == 32


@pytest.mark.parametrize("file", ["stranger.py", "shelf/unread.py", "tracking/store.py", "only_tracked.py"])
def test_the_digest_ignores_code_that_changes_no_result(source: Path, file: str) -> None:
    before = code_digest("medscreen.stage")
    (source / "medscreen" / file).write_text("x = 1\n")
    assert code_digest("medscreen.stage") == before


def test_the_real_stages_see_what_they_run_through() -> None:
    fit = {path.as_posix() for path in import_closure("medscreen.pipeline.fit")}
    assert {
        "medscreen/detectors/fitting.py",
        "medscreen/detectors/networks/residual.py",
        "medscreen/augmentation.py",
    } <= fit
    assert not any("tracking" in name or "curation" in name for name in fit)
    evaluate = {path.as_posix() for path in import_closure("medscreen.pipeline.evaluate")}
    assert {
        "medscreen/evaluation/metrics.py",
        "medscreen/figures/curves.py",
        "medscreen/packaging/detector.py",
    } <= evaluate
    assert not any(name.startswith("medscreen/detectors") for name in evaluate)
