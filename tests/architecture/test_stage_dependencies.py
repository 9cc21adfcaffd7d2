import ast
import re
from pathlib import Path

import pytest
import yaml

from factories import REPOSITORY

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
# raw and publish look every time: they need no code dependencies
CACHED = [name for name, stage in STAGES.items() if not stage.get("always_changed")]
FAMILIES = sorted(path.parent.name for path in (REPOSITORY / "src/medscreen/detectors").glob("*/detector.py"))
# what can't change the output of a stage, see decision 54: DVC compares the values of params.yaml themselves
WITHOUT_EFFECT = ("config", "errors.py", "runtime", "workspace", "tracking")
ONLY_SHOWN = ("pipeline/calibrate.py", "pipeline/progress_bar.py", "pipeline/stage_runner.py")
# they choose among the families and import the one that is listed
DISPATCH = ("detectors/build.py", "detectors/map_network.py")


def import_closure(module: str, without: tuple[str, ...] = ()) -> set[str]:
    """The files that a module imports or renders, directly or not, wherever the import stands; below medscreen/."""
    found: dict[str, Path] = {}
    waiting = [module]
    without = (*without, *(f"medscreen.{name.removesuffix('.py')}" for name in WITHOUT_EFFECT))
    while waiting:
        name = waiting.pop()
        base = (REPOSITORY / "src").joinpath(*name.split("."))
        path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
        if name in found or path is None or any(f"{name}.".startswith(f"{other}.") for other in without):
            continue
        found[name] = path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Constant) and str(node.value).endswith(".j2"):
                found |= template_closure(str(node.value))
    return {path.relative_to(REPOSITORY / "src/medscreen").as_posix() for path in found.values()}


def template_closure(name: str) -> dict[str, Path]:
    """A template and those that it imports."""
    path = REPOSITORY / "src/medscreen/reporting" / name
    imported = re.findall(r'{% (?:from|import|include|extends) "([^"]+)"', path.read_text())
    return {name: path} | {other: found for each in imported for other, found in template_closure(each).items()}


def dependencies(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage].get("do", STAGES[stage]).get("deps", []) if isinstance(dep, str)]


@pytest.mark.parametrize(
    ("stage", "kind"), [(stage, kind) for stage in CACHED for kind in (FAMILIES if stage == "fit" else [""])]
)
def test_a_stage_depends_on_the_code_that_can_change_its_output(stage: str, kind: str) -> None:
    others = () if kind == "ensemble" else tuple(f"medscreen.detectors.{name}" for name in FAMILIES if name != kind)
    needed = import_closure(f"medscreen.pipeline.{stage}", others if stage == "fit" else ())
    listed = {dep.replace("${item.kind}", kind).removeprefix("src/medscreen/") for dep in dependencies(stage)}
    if kind == "ensemble":  # by data/external_weights/<detector>.json
        listed |= {f"detectors/{name}" for name in FAMILIES}
    missing = {
        file
        for file in needed
        if file not in (*ONLY_SHOWN, *DISPATCH)
        and not file.endswith("__init__.py")
        and not any(file == dep or file.startswith(f"{dep}/") for dep in listed)
    }
    assert missing == set()
    code = [dep for dep in listed if not dep.startswith(("data/curated", "data/external", "data/raw", "models"))]
    assert [dep for dep in code if not (REPOSITORY / "src/medscreen").joinpath(dep).exists()] == []


def test_a_training_depends_on_the_files_that_its_detector_reads() -> None:
    assert "data/external_weights/${key}.json" in STAGES["fit"]["do"]["deps"]
    assert any("data/external_weights" in out for out in STAGES["raw"]["outs"])


def test_only_evaluate_depends_on_the_test_split() -> None:
    readers = [name for name in STAGES if {"data/curated", "data/curated/test"} & set(dependencies(name))]
    assert readers == ["evaluate"]


def test_only_evaluate_opens_the_test_split() -> None:
    """`curate` writes it; verification and reproduction compare digests."""
    users = {
        path.relative_to(REPOSITORY / "src/medscreen").as_posix()
        for path in (REPOSITORY / "src").rglob("*.py")
        if "open_test_split" in path.read_text()
    }
    comparing = {"registry/reproduction.py", "registry/verification/workspace_checks.py"}
    assert users - comparing == {"data/images.py", "pipeline/curate.py", "pipeline/evaluate.py"}


def test_outcomes_are_put_together_in_one_place() -> None:
    places = [p.name for p in (REPOSITORY / "src").rglob("*.py") if re.search(r"\bOutcomes\(", p.read_text())]
    assert places == ["outcomes.py"]


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
        "runtime/escaping.py": {"click.echo(", "Console", "csv.writer("},
        "pipeline/fit.py": {"csv.DictWriter("},  # numbers below names of the code's own
        "data/sources/phantom/export.py": {"csv.DictWriter("},  # the phantom's own names
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
