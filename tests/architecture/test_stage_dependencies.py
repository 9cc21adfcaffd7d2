import json
import re
from pathlib import Path

import pytest
import yaml

from factories import REPOSITORY
from medscreen.workspace.code_digest import import_closure

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
# raw and publish look every time: they need no code dependencies
CACHED = [name for name, stage in STAGES.items() if not stage.get("always_changed")]


def listed_code(stage: str) -> set[str]:
    deps = STAGES[stage].get("do", STAGES[stage])["deps"]
    return {dep for dep in deps if dep.startswith("src/")}


@pytest.mark.parametrize("stage", CACHED)
def test_a_stage_depends_on_exactly_the_code_it_imports(stage: str) -> None:
    needed = {f"src/{path.as_posix()}" for path in import_closure(f"medscreen.pipeline.{stage}")}
    assert listed_code(stage) == needed, json.dumps(
        {"add to dvc.yaml": sorted(needed - listed_code(stage)), "remove": sorted(listed_code(stage) - needed)},
        indent=1,
    )


def test_a_training_depends_on_the_files_that_its_detector_reads() -> None:
    assert "data/read_besides/${key}.json" in STAGES["fit"]["do"]["deps"]
    assert any("data/read_besides" in out for out in STAGES["raw"]["outs"])


def test_only_evaluate_depends_on_the_test_split() -> None:
    readers = []
    for name, stage in STAGES.items():
        deps = stage.get("do", stage).get("deps", [])
        if "data/curated" in deps or "data/curated/test" in deps:
            readers.append(name)
    assert readers == ["evaluate"]


def test_only_evaluate_names_the_test_split_to_load_it() -> None:
    stages = REPOSITORY / "src" / "medscreen" / "stages"
    loaders = re.compile("load_images|curated_images")
    readers = [
        p.stem for p in sorted(stages.glob("*.py")) if loaders.search(p.read_text()) and "SPLITS" in p.read_text()
    ]
    assert readers == ["curate", "evaluate"]  # curate writes them


def test_no_pickle_and_no_shell() -> None:
    for path in sorted((REPOSITORY / "src").rglob("*.py")):
        text = path.read_text()
        for forbidden in ("import pickle", "pickle.load", "allow_pickle=True", "shell=True"):
            assert forbidden not in text, path
        # weights of others come as checkpoints of torch, which reads tensors alone if it is asked to
        loads = [line for line in text.splitlines() if "torch.load(" in line]
        assert all("weights_only=True" in line for line in loads), path


def test_source_files_stay_small() -> None:
    long = {
        str(p.relative_to(REPOSITORY / "src")): n
        for p in (REPOSITORY / "src").rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 300
    }
    assert long == {}
    assert not [p for p in Path(REPOSITORY / "src").rglob("*.py") if p.stem in {"utils", "common", "helpers", "misc"}]


def test_whatever_is_printed_or_saved_as_csv_is_escaped() -> None:
    """A new call can't forget it: only runtime.escaping prints and writes csv, but for JSON and fixed sentences."""
    allowed = {
        "escaping.py": {"click.echo(", "Console", "csv.writer("},
        "stages/fit.py": {"csv.DictWriter("},  # numbers below names of the code's own
        "sources/phantom/forms.py": {"csv.DictWriter("},  # the phantom's own names
    }
    sources = REPOSITORY / "src" / "medscreen"
    for path in sorted(sources.rglob("*.py")):
        name, text = (
            path.relative_to(sources).as_posix(),
            re.sub(r"click\.echo\(\s*json\.dumps\(", "", path.read_text()),
        )
        for call in (
            "click.echo(",
            "rich.console import Console",
            "csv.writer(",
            "csv.DictWriter(",
            "from_markup",
            "rich.print",
        ):
            is_allowed = any(part in call for part in allowed.get(name, ()))
            assert is_allowed or call not in text, f"{name}: {call}; use medscreen.runtime.escaping"
