from pathlib import Path

import pytest

from medscreen.workspace import code_digest as module
from medscreen.workspace.code_digest import code_digest, stage_code

DVC_YAML = """
stages:
  fit:
    foreach: ${detectors}
    do:
      deps:
        - data/curated
        - models: {checkout: true}
        - src/medscreen/shared
        - src/medscreen/detectors/${item.kind}
        - src/medscreen/fit.py
  evaluate:
    deps: [src/medscreen/evaluation, models]
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("shared/one.py", "shared/deep/two.py", "detectors/cnn/net.py", "detectors/hog/net.py", "fit.py"):
        path = tmp_path / "src" / "medscreen" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    monkeypatch.setattr(module, "SOURCE", tmp_path / "src")
    return tmp_path


def digest(checkout: Path, *kinds: str) -> str:
    return code_digest(stage_code(checkout, "fit", kinds))


def test_the_code_of_a_stage_is_what_dvc_yaml_lists(checkout: Path) -> None:
    shared = ["src/medscreen/fit.py", "src/medscreen/shared"]
    assert stage_code(checkout, "fit") == shared
    assert stage_code(checkout, "fit", ["cnn"]) == ["src/medscreen/detectors/cnn", *shared]
    both = ["src/medscreen/detectors/cnn", "src/medscreen/detectors/hog", *shared]
    assert stage_code(checkout, "fit", ["hog", "cnn"]) == both
    assert stage_code(checkout, "evaluate") == ["src/medscreen/evaluation"]


@pytest.mark.parametrize("file", ["shared/one.py", "shared/deep/two.py", "detectors/cnn/net.py", "fit.py"])
def test_the_digest_changes_with_the_code(checkout: Path, file: str) -> None:
    before = digest(checkout, "cnn")
    assert len(before) == 32
    assert digest(checkout, "cnn") == before
    with (checkout / "src" / "medscreen" / file).open("a") as text:
        text.write("# a comment\n")
    assert digest(checkout, "cnn") != before


def test_the_digest_ignores_other_families_and_compiled_files(checkout: Path) -> None:
    before = digest(checkout, "cnn")
    (checkout / "src" / "medscreen" / "detectors" / "hog" / "net.py").write_text("x = 2\n")
    compiled = checkout / "src" / "medscreen" / "shared" / "__pycache__"
    compiled.mkdir()
    (compiled / "one.pyc").write_bytes(b"x")
    assert digest(checkout, "cnn") == before
    assert digest(checkout, "hog") != digest(checkout, "cnn")
