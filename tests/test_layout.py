from pathlib import Path

import pytest

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.workspace.layout import Layout, find_layout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    root = tmp_path / "checkout"
    (root / "data" / "deep").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        (root / name).touch()
    return root.resolve()


@pytest.mark.parametrize("below", ["", "data", "data/deep"])
def test_the_checkout_is_found_from_below(checkout: Path, below: str) -> None:
    assert find_layout(checkout / below) == Layout(checkout, checkout)


def test_the_working_directory_is_the_default(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout / "data")
    assert find_layout() == Layout(checkout, checkout)


@pytest.mark.parametrize("lost", ["dvc.yaml", "params.yaml"])
def test_a_folder_without_both_files_is_no_checkout(checkout: Path, lost: str) -> None:
    (checkout / lost).unlink()
    with pytest.raises(MedscreenError, match="No medscreen project") as error:
        find_layout(checkout / "data")
    assert str(checkout / "data") in one_sentence(error)


def test_what_outlives_a_temporary_copy_lies_in_dvcs_root(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tmp_path / "original"
    monkeypatch.setenv("DVC_ROOT", str(original))
    layout = find_layout(checkout)
    assert layout.params == checkout / "params.yaml"
    assert layout.fitted("cnn").is_relative_to(checkout)
    assert layout.mlruns == original.resolve() / "mlruns"
    assert layout.scratch.is_relative_to(original.resolve())


def test_no_two_outputs_share_a_path() -> None:
    layout = Layout(Path("w"), Path("h"))
    paths = [
        layout.params, layout.raw, layout.curation_report, layout.leaderboard, layout.promotion, layout.mlruns,
        layout.scratch, *map(layout.curated, ("train", "tune", "val", "test")),
    ]  # fmt: skip
    for name in ("a", "b"):
        paths += [layout.fitted(name), layout.packaged(name), layout.predictions(name)]
        paths += [layout.figures(name), layout.report(name), layout.development_predictions(name)]
    assert len(set(paths)) == len(paths)
    outputs = set(paths)
    assert not any(parent in outputs for path in paths for parent in path.parents)
