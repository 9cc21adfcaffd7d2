"""`medscreen threshold` on a store with one registered detector: the mean brightness of an image."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient

from factories import PARAMS_YAML, new_checkout, one_sentence
from medscreen.cli import main
from medscreen.config.operating import (
    DeferralParams,
    EvaluationParams,
    OperatingParams,
    Policy,
    SensitivityPolicy,
    SpecificityPolicy,
    YoudenPolicy,
)
from medscreen.errors import MedscreenError
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.outcomes import outcomes_of
from medscreen.operating.decision_nodes import package
from medscreen.operating.operating_point import OperatingPoint, choose_operating_point
from medscreen.operating.threshold_policies import choose_threshold
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest
from medscreen.registry.registration import register
from medscreen.registry.stages import align, move
from medscreen.registry.threshold_change import parse_policy, set_threshold
from medscreen.registry.versions import Version, find_version, version_in_stage
from medscreen.tracking.detector_results import Result
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import graph_of, mean_of_quarters

# what MLflow says of its own type hints when it first logs a model
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")

MODEL, SIZE, HALF = "phantom-detector", 16, 0.45
NO_MAP = {"shown": False, "map": None, "reason": "the mean has no places"}
YOUDEN = YoudenPolicy(policy="youden")
SENSITIVE = SensitivityPolicy(policy="sensitivity", at_least=0.9)
OPERATING = OperatingParams(
    threshold=YOUDEN, calibration="temperature", deferral=DeferralParams(sensitivity=0.97, specificity=0.85)
)
SETTINGS = EvaluationParams(resamples=100, confidence=0.9, prevalence=0.05, threshold_comparison=[])
RATES = ["sensitivity", "specificity", "false_positive_rate", "false_negative_rate", "ppv", "npv", "accuracy"]
RATES += ["coverage", "error_kept", "error_deferred"]


def films(number: int, seed: int) -> tuple[Any, Any]:
    """Images, of which the abnormal are a little brighter, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, number)
    bright = np.clip(rng.normal(90 + 40 * labels, 30), 10, 240)
    return (rng.random((number, SIZE, SIZE)) * 10 + bright[:, None, None]).astype(np.uint8), labels


def columns(scores: pa.Table, split: str) -> tuple[Any, Any, Any]:
    """Scores, labels and patients of a split."""
    rows = scores.to_pandas()
    rows = rows[rows["split"] == split]
    return rows["score"].to_numpy().astype(np.float64), rows["label"].to_numpy().astype(int), rows["patient"].to_numpy()


def judged(scores: pa.Table, point: OperatingPoint) -> dict[str, Any]:
    found = {}
    for split in ("val", "test"):
        score, label, patient = columns(scores, split)
        deferred = (score >= point.defer_from) & (score < point.defer_to)
        result = outcomes_of(
            labels=label, scores=score, patients=patient, abnormal=score >= point.threshold, deferred=deferred
        )
        found[split] = evaluate(result, Bootstrap(100, 0.9, 7), [*RATES, "auroc"])
    return found


def message_of(scores: pa.Table) -> pa.Table:
    number = len(scores)
    return scores.append_column("probability", [np.full(number, 0.5)]).append_column(
        "abnormal", [np.zeros(number, bool)]
    )


def result_of(folder: Path) -> Result:
    """What the pipeline would have left of a detector with OPERATING."""
    scoring, parts = mean_of_quarters((1, 1, 1, 1)), []
    for split, number, seed in (("val", 150, 1), ("test", 130, 2)):
        pixels, labels = films(number, seed)
        result = PackagedDetector(scoring.SerializeToString()).score(pixels)
        persons = np.arange(number) // 2
        parts.append(pa.table({"split": [split] * number, "patient": persons, "label": labels, "score": result}))
    scores = pa.concat_tables(parts)
    score, label, _ = columns(scores, "val")
    point = choose_operating_point(OPERATING, score, label, HALF)
    metadata = {"detector": "mean", "image_size": SIZE, "decision_boundary": HALF, "findings": []}
    packaged = folder / "detector.onnx"
    onnx.save(package(scoring, point, metadata), packaged)
    logged = {
        "kind": "mean", "operating.threshold.policy": "youden", "operating.calibration": "temperature",
        "operating.deferral.sensitivity": 0.97, "operating.deferral.specificity": 0.85, "seed": 7,
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(judged(scores, point)))
    splits = {
        split: {"digest": f"digest-{split}", "images": 9, "normal": 4, "abnormal": 5, "patients": 9}
        for split in ("val", "test")
    }
    (folder / "curation.json").write_text(json.dumps({"splits": splits}))
    (folder / "explanations.json").write_text(json.dumps(NO_MAP))
    lineage = {
        "detector": "mean", "dataset": "phantom", "training": {"run_key": "key"},
        "data": {"digest": "data", "splits": {split: f"digest-{split}" for split in ("val", "test")}},
        "source": {"commit": "", "uncommitted": []},
        "trial": None, "environment": {"python": "3", "system": "any"},
        "params.yaml": PARAMS_YAML.read_text(),
    }  # fmt: skip
    return Result(
        dataset="phantom", detector="mean", params=logged, run_key="key", history=[{"epoch": 1, "loss": 0.5}],
        evaluation=judged(scores, point), analysis={}, explanations=NO_MAP,
        curation={"splits": splits},
        data_digest="data", packaged=packaged, digest=packaged_digest(packaged),
        files={"": [folder / f"{name}.json" for name in ("evaluation", "curation", "explanations")]},
        predictions=message_of(scores), trained_on=["a", "b"], operating_point={}, lineage=lineage,
        is_baseline=False, similar_cases=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose store has version 1, in Production."""
    home = tmp_path_factory.mktemp("threshold") / "project"
    new_checkout(home)
    layout = Layout(home, home)
    client = open_store(layout)
    result = result_of(home)
    register(client, layout, result)
    move(client, MODEL, 1, "Production")
    align(client, MODEL, {}, archived=None)
    return home


@pytest.fixture(scope="module")
def changed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowClient, Version, Any]:
    """A copy of the project with version 2, and what made it."""
    client = store(Path(shutil.copytree(project, tmp_path_factory.mktemp("changed") / "project")))
    old = find_version(client, MODEL, "1")
    return client, old, set_threshold(client, layout_of(client), old, SENSITIVE, SETTINGS, 7)


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project, tmp_path / "copy"))


def store(home: Path) -> MlflowClient:
    return open_store(Layout(home, home))


def layout_of(client: MlflowClient) -> Layout:
    """The checkout whose store a client opened."""
    home = Path(client.tracking_uri.removeprefix("sqlite:///")).parent.parent
    return Layout(home, home)


def numbers(client: MlflowClient) -> list[int]:
    return sorted(int(version.version) for version in client.search_model_versions(f"name = '{MODEL}'"))


def runs(client: MlflowClient) -> int:
    return len(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def kept(client: MlflowClient, version: Version, folder: Path) -> pa.Table:
    return pq.read_table(client.download_artifacts(version.run_id, "scores.parquet", str(folder)))


def loaded(client: MlflowClient, version: Version) -> PackagedDetector:
    path = graph_of(client, layout_of(client), version)
    assert path is not None
    return PackagedDetector(path)


def test_the_policy_it_has_is_the_same_version(copy: Path) -> None:
    client = store(copy)
    old = find_version(client, MODEL, "Production")
    same = set_threshold(client, layout_of(client), old, YOUDEN, SETTINGS, 7)
    assert same.version == old
    assert (numbers(client), runs(client)) == ([1], 1)


def test_another_policy_is_a_new_version_without_a_stage(changed: Any) -> None:
    client, old, new = changed
    assert numbers(client) == [1, 2]
    assert (new.version.number, new.version.stage, new.version.model) == (2, "None", MODEL)
    assert find_version(client, MODEL, "2").digest == new.version.digest
    assert new.version.digest != old.digest
    assert (new.version.detector, new.version.val_digest, new.version.run_key) == ("mean", "digest-val", "key")


def test_production_is_left_as_it_was(changed: Any) -> None:
    client, old, _ = changed
    assert version_in_stage(client, MODEL, "Production") == old
    assert int(client.get_model_version_by_alias(MODEL, "production").version) == 1
    assert loaded(client, old).metadata["operating_point"]["policy"] == "youden"


def test_the_threshold_is_chosen_on_the_scores_of_val(changed: Any, tmp_path: Path) -> None:
    client, old, new = changed
    score, label, _ = columns(kept(client, old, tmp_path), "val")
    assert new.point.threshold == choose_threshold(SENSITIVE, score, label)
    was, now = (loaded(client, version).metadata for version in (old, new.version))
    assert now["operating_point"]["threshold"] == new.point.threshold != was["operating_point"]["threshold"]
    assert now["operating_point"]["policy"] == new.point.policy == "sensitivity at_least=0.9"
    for shared in ("calibration", "curve", "healthy_scores"):
        assert now["operating_point"][shared] == was["operating_point"][shared]
    assert now["operating_point"]["calibration"] == "temperature"
    assert now["decision_boundary"] == was["decision_boundary"] == HALF


def test_scores_are_identical_and_decisions_are_not(changed: Any) -> None:
    client, old, new = changed
    pixels, _ = films(80, seed=3)
    was, now = (loaded(client, version).screen(pixels) for version in (old, new.version))
    for same in ("score", "p_value", "probability"):
        np.testing.assert_array_equal(getattr(now, same), getattr(was, same))
    np.testing.assert_array_equal(now.abnormal, now.score >= np.float32(new.point.threshold))
    assert (now.abnormal != was.abnormal).any()


def test_rates_are_those_at_the_new_threshold(changed: Any, tmp_path: Path) -> None:
    client, old, new = changed
    expected = judged(kept(client, old, tmp_path), new.point)
    assert new.rates == {split: {rate: of_split[rate] for rate in RATES} for split, of_split in expected.items()}
    assert new.rates["val"]["sensitivity"]["value"] >= 0.9
    assert new.rates["val"] != new.rates["test"]


def test_the_new_run_shows_what_it_is(changed: Any, tmp_path: Path) -> None:
    client, old, new = changed
    was, now = client.get_run(old.run_id), client.get_run(new.version.run_id)
    assert now.info.status == "FINISHED"
    assert now.info.experiment_id == was.info.experiment_id
    assert now.info.run_name == "mean, sensitivity"
    changed_params = {"operating.threshold.policy": "sensitivity", "operating.threshold.at_least": "0.9"}
    assert now.data.params == was.data.params | changed_params
    expected = {}
    for split, of_split in judged(kept(client, old, tmp_path), new.point).items():
        for metric, estimate in of_split.items():
            for key, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                expected[f"{split}/{metric}{suffix}"] = estimate[key]
    assert now.data.metrics == expected
    assert "epoch/loss" in was.data.metrics
    assert now.data.metrics["test/auroc"] == was.data.metrics["test/auroc"]
    assert now.data.tags["medscreen.packaged_digest"] == new.version.digest
    assert now.data.tags["medscreen.run_key"] == "key"
    assert now.data.tags["medscreen.detector"] == "mean"
    assert now.data.tags["medscreen.operating_point_of"] == "version 1"
    path = graph_of(client, layout_of(client), new.version)
    assert packaged_digest(path) == new.version.digest


def test_the_new_run_keeps_scores_and_operating_point(changed: Any, tmp_path: Path) -> None:
    client, old, new = changed
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    scores = kept(client, new.version, tmp_path / "new")
    assert scores.column_names == ["split", "patient", "label", "score"]  # and no file's name
    assert scores.equals(kept(client, old, tmp_path / "old"))
    point = json.loads(Path(client.download_artifacts(new.version.run_id, "operating.json", str(tmp_path))).read_text())
    assert point["threshold"] == new.point.threshold
    assert point["policy"] == "sensitivity at_least=0.9"


def test_a_version_that_is_there_already_is_not_made_again(changed: Any) -> None:
    client, old, new = changed
    before = (numbers(client), runs(client))
    assert set_threshold(client, layout_of(client), old, SENSITIVE, SETTINGS, 7).version.number == new.version.number
    assert (numbers(client), runs(client)) == before


def test_the_way_back_leads_to_the_version_in_production(changed: Any) -> None:
    client, old, new = changed
    before = (numbers(client), runs(client))
    back = set_threshold(client, layout_of(client), new.version, YOUDEN, SETTINGS, 7)
    assert back.version == old
    assert version_in_stage(client, MODEL, "Production") == old
    assert (numbers(client), runs(client)) == before


def test_the_numbers_of_the_former_policy_are_not_carried_on(changed: Any) -> None:
    client, _, new = changed
    third = set_threshold(
        client, layout_of(client), new.version, parse_policy("specificity", {"at_least": 0.9}), SETTINGS, 7
    )
    fourth = set_threshold(client, layout_of(client), third.version, parse_policy("f1", {}), SETTINGS, 7)
    logged = client.get_run(fourth.version.run_id).data
    named = {name: value for name, value in logged.params.items() if "threshold" in name}
    assert named == {"operating.threshold.policy": "f1"}
    assert logged.tags["medscreen.operating_point_of"] == f"version {third.version.number}"


def test_a_version_with_lost_files_is_a_sentence(copy: Path) -> None:
    client = store(copy)
    old = find_version(client, MODEL, "1")
    path = graph_of(client, layout_of(client), old)
    assert path is not None
    path.unlink()
    with pytest.raises(MedscreenError, match=r"1 can't be used: its files are lost; `dvc repro publish`") as error:
        set_threshold(client, layout_of(client), old, SENSITIVE, SETTINGS, 7)
    one_sentence(error)
    assert (numbers(client), runs(client)) == ([1], 1)


def test_a_run_without_scores_is_a_sentence(copy: Path) -> None:
    client = store(copy)
    old = find_version(client, MODEL, "1")
    (scores,) = (copy / "mlruns").rglob(f"{old.run_id}/artifacts/scores.parquet")
    scores.unlink()
    with pytest.raises(MedscreenError, match=r"has no scores\.parquet") as error:
        set_threshold(client, layout_of(client), old, SENSITIVE, SETTINGS, 7)
    one_sentence(error)
    assert (numbers(client), runs(client)) == ([1], 1)


@pytest.mark.parametrize(
    ("name", "given", "policy"),
    [
        ("youden", {}, YOUDEN),
        ("sensitivity", {"at_least": 0.9}, SENSITIVE),
        ("specificity", {"at_least": 1.0}, SpecificityPolicy(policy="specificity", at_least=1.0)),
    ],
)
def test_a_policy_is_read_from_its_name_and_numbers(name: str, given: dict[str, float], policy: Policy) -> None:
    assert parse_policy(name, given) == policy


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], loaded_registry: Callable[[Path], None]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `medscreen threshold` in a project: exit status, stdout, stderr."""

    def run(home: Path, *arguments: str) -> tuple[int, str, str]:
        loaded_registry(home)
        store(home)  # says that it has been copied
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["medscreen", "threshold", *arguments])
        monkeypatch.setenv("COLUMNS", "120")
        try:
            main()
            status = 0
        except SystemExit as left:
            status = int(left.code or 0)
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["9", "--policy", "youden"], "phantom-detector has no version '9'; versions: 1; stages"),
        (["Staging", "--policy", "youden"], "no version 'Staging'"),
        (["1", "--policy", "youden", "--name", "other"], "other has no version '1'; versions: none"),
        (["1", "--policy", "magic"], "--policy magic: "),
        (["1", "--policy", "sensitivity"], "--policy sensitivity at_least: at_least is missing"),
        (["1", "--policy", "sensitivity", "--with", "at_least=1.5"], "--policy sensitivity at_least: "),
        (["1", "--policy", "sensitivity", "--with", "at_least=nan"], "--policy sensitivity at_least: "),
        (["1", "--policy", "youden", "--with", "at_least=0.5"], "--policy youden at_least: "),
        (["1", "--policy", "sensitivity", "--with", "at_least=much"], "--with at_least=much: not NAME=NUMBER"),
        (["1", "--policy", "sensitivity", "--with", "at_least"], "--with at_least: not NAME=NUMBER"),
        (["1"], "--policy"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(
    project: Path, command: Callable[..., tuple[int, str, str]], arguments: list[str], says: str
) -> None:
    status, out, err = command(project, *arguments)
    assert (status, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert line.startswith("medscreen: ")
    assert says in line
    assert line.endswith(".")
    assert numbers(store(project)) == [1]


def test_the_command_says_what_was_made_and_what_it_costs(
    copy: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    ask = ("Production", "--policy", "specificity", "--with", "at_least=0.9")
    status, out, _ = command(copy, *ask)
    assert status == 0
    client = store(copy)
    new = find_version(client, MODEL, "2")
    threshold = loaded(client, new).metadata["operating_point"]["threshold"]
    assert f"phantom-detector version 2: version 1 at {threshold:.6g}." in out
    cells = {line.split("  ")[0].strip(): line for line in out.splitlines() if " to " in line}
    assert len([line for line in out.splitlines() if " to " in line]) == len(RATES), cells
    value = client.get_run(new.run_id).data.metrics["test/specificity"]
    assert f"{value:.3f} (" in next(line for line in out.splitlines() if "specificity" in line)
    status, out, _ = command(copy, "2", *ask[1:])
    assert status == 0
    assert "phantom-detector version 2 already has this operating point." in out
    assert numbers(client) == [1, 2]


def test_lost_files_are_exit_status_2(copy: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    client = store(copy)
    graph_of(client, layout_of(client), find_version(client, MODEL, "1")).unlink()
    status, out, err = command(copy, "1", "--policy", "f1")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "are lost" in err


def test_the_new_version_has_a_card_with_its_own_rates(changed: Any, tmp_path: Path) -> None:
    client, _, new = changed
    described = client.get_model_version(MODEL, str(new.version.number)).description
    assert "| operating.threshold.policy | sensitivity |" in described
    assert f"{new.rates['val']['sensitivity']['value']:.3f}".removeprefix("0") in described
    lineage = json.loads(Path(client.download_artifacts(new.version.run_id, "lineage.json", str(tmp_path))).read_text())
    assert yaml.safe_load(lineage["params.yaml"])["operating"]["threshold"] == {
        "policy": "sensitivity",
        "at_least": 0.9,
    }
    kept = {
        name: Path(client.download_artifacts(new.version.run_id, name, str(tmp_path))).read_text()
        for name in ("card.md", "explanations.json")
    }
    assert json.loads(kept["explanations.json"]) == NO_MAP
    assert "This detector has none: the mean has no places." in kept["card.md"]
