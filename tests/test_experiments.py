"""What an experiment (`dvc exp run`) reports and registers, on a small workspace (workspaces.py)."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from medscreen.pipeline.evaluate import evaluate
from medscreen.pipeline.publish import publish
from medscreen.registry.decision_log import DecisionLog
from medscreen.registry.promotion import roll_back
from medscreen.registry.versions import Version, version_in_stage, versions_of
from medscreen.tracking.detector_results import read_results
from medscreen.tracking.runs import live_run
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, WEIGHTS, change_params, fit_by_hand, settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]
OTHER_POINT = {"policy": "healthy_quantile", "quantile": 0.8}


def repro(layout: Layout) -> dict[str, Any]:
    publish(layout, settings_of(layout.workspace))
    report: dict[str, Any] = json.loads(layout.promotion.read_text())
    return report


def experiment(layout: Layout, monkeypatch: pytest.MonkeyPatch, name: str = "try-this") -> dict[str, Any]:
    with monkeypatch.context() as within:
        within.setenv("DVC_EXP_NAME", name)
        return repro(layout)


def with_another_threshold(layout: Layout) -> None:
    """As `dvc exp run -S operating.threshold...` leaves it: other packages, the same scores."""
    operating = settings_of(layout.workspace).operating.model_dump()
    change_params(layout.workspace, operating=operating | {"threshold": OTHER_POINT})
    for name, weights in WEIGHTS.items():
        fit_by_hand(layout, name, weights)


def with_other_intervals(layout: Layout) -> None:
    """As `dvc exp run -S evaluation.confidence=0.8` leaves it: the same packages, other figures."""
    params = settings_of(layout.workspace)
    change_params(layout.workspace, evaluation=params.evaluation.model_dump() | {"confidence": 0.8})
    for name in WEIGHTS:
        evaluate(layout, settings_of(layout.workspace), [name])


def leaderboard(layout: Layout) -> dict[str, dict[str, str]]:
    with layout.leaderboard.open(newline="") as file:
        return {row["detector"]: row for row in csv.DictReader(file)}


def actions(client: MlflowClient, layout: Layout) -> list[str]:
    return [entry.action for entry, _ in DecisionLog(client, layout, MODEL).entries()]


def shown(client: MlflowClient, version: Version) -> Any:
    """All that MLflow shows of a version and its run."""
    run = client.get_run(version.run_id)
    card = client.download_artifacts(version.run_id, "card.md")
    return version.tags, version.stage, run.data.metrics, run.data.tags, Path(card).read_text()


def assert_about_its_own(layout: Layout, report: dict[str, Any]) -> None:
    results = {result.detector: result for result in read_results(layout, settings_of(layout.workspace))}
    known = {version.digest: version.number for version in versions_of(open_store(layout), MODEL)}
    for standing in report["standings"]:
        result, row = results[standing["detector"]], leaderboard(layout)[standing["detector"]]
        assert (standing["digest"], standing["version"]) == (result.digest, known.get(result.digest))
        assert row["verdict"] == standing["verdict"]
        assert row["test/auroc_low"] == f"{result.evaluation['test']['auroc']['low']:.4f}"


def test_the_decision_of_the_workspace_is_not_told_of_an_experiment(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scores, and so AUROC on val, are those that the workspace's own decision was about."""
    client = open_store(workspace)
    before = repro(workspace)
    with_another_threshold(workspace)
    report = experiment(workspace, monkeypatch)
    assert_about_its_own(workspace, report)
    assert [standing["verdict"] for standing in report["standings"]] == ["baseline", "refused", "experiment"]
    assert report["promoted"] is None
    assert report["reason"].startswith("not promoted: experiment try-this (whole: ")
    assert "Leaderboard of experiment try-this (95% intervals" in capsys.readouterr().out
    assert version_in_stage(client, MODEL, "Production") is not None
    assert version_in_stage(client, MODEL, "Production").number == before["promoted"]["version"]


def test_an_experiment_registers_no_baseline_and_logs_its_run(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_store(workspace)
    with_another_threshold(workspace)
    report = experiment(workspace, monkeypatch)
    assert [standing["version"] for standing in report["standings"]] == [None, 4, 5]
    assert [version.detector for version in versions_of(client, MODEL)] == ["whole", "half", "whole", "half", "corner"]
    runs = client.search_runs([client.get_experiment_by_name("films").experiment_id])
    named = [run.info.run_name for run in runs if run.data.tags.get("medscreen.dvc_exp_name") == "try-this"]
    assert sorted(named) == ["corner", "half", "whole"]
    # the same again makes nothing new
    assert experiment(workspace, monkeypatch) == report
    assert len(versions_of(client, MODEL)) == 5
    assert actions(client, workspace) == ["experiment", "publish"]


def test_an_applied_experiment_is_registered_and_promoted_by_the_next_repro(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_another_threshold(workspace)
    experiment(workspace, monkeypatch)
    report = repro(workspace)  # after `dvc exp apply`
    assert_about_its_own(workspace, report)
    assert report["promoted"]["version"] == 5
    assert [standing["version"] for standing in report["standings"]] == [6, 4, 5]


def test_an_experiment_with_the_packages_of_the_workspace_leaves_them_as_they_are(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_store(workspace)
    before = [shown(client, version) for version in versions_of(client, MODEL)]
    with_other_intervals(workspace)
    report = experiment(workspace, monkeypatch)
    assert_about_its_own(workspace, report)
    assert [standing["verdict"] for standing in report["standings"]] == ["baseline", "refused", "champion"]
    assert [shown(client, version) for version in versions_of(client, MODEL)] == before
    repro(workspace)  # after `dvc exp apply` they are the workspace's figures
    whole = versions_of(client, MODEL)[0]
    assert client.get_run(whole.run_id).data.metrics["test/auroc_low"] > before[0][2]["test/auroc_low"]


def test_a_training_of_an_experiment_that_gave_a_known_package_leaves_no_run(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_store(workspace)
    experiment_id = client.get_experiment_by_name("films").experiment_id
    before = {run.info.run_id for run in client.search_runs([experiment_id])}
    with monkeypatch.context() as within:
        within.setenv("DVC_EXP_NAME", "try-this")
        for name, weights in WEIGHTS.items():  # as `dvc exp run --force` trains them again
            with live_run(workspace, "films", name, f"training of {name} {weights}"):
                pass
        repro(workspace)
    assert {run.info.run_id for run in client.search_runs([experiment_id])} == before


def test_the_table_of_the_workspace_is_the_same_after_an_experiment(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = (workspace.workspace / "params.yaml").read_bytes()
    repro(workspace)
    before = workspace.promotion.read_bytes(), workspace.leaderboard.read_bytes()
    with_another_threshold(workspace)
    experiment(workspace, monkeypatch)
    (workspace.workspace / "params.yaml").write_bytes(former)
    for name, weights in WEIGHTS.items():
        fit_by_hand(workspace, name, weights)
    repro(workspace)
    assert (workspace.promotion.read_bytes(), workspace.leaderboard.read_bytes()) == before


def test_an_experiment_after_a_rollback_is_refused_for_its_own_package_alone(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_store(workspace)
    former = (workspace.workspace / "params.yaml").read_bytes()
    with_another_threshold(workspace)
    assert repro(workspace)["promoted"]["version"] == 6
    roll_back(client, workspace, MODEL, "too many alarms")
    report = experiment(workspace, monkeypatch)
    assert_about_its_own(workspace, report)
    assert "version 6 was rolled back" in report["standings"][2]["reason"]
    (workspace.workspace / "params.yaml").write_bytes(former)
    for name, weights in WEIGHTS.items():
        fit_by_hand(workspace, name, weights)
    report = experiment(workspace, monkeypatch, "another")
    assert_about_its_own(workspace, report)
    assert report["standings"][2]["verdict"] == "champion"


def test_what_a_stricter_gate_refuses_is_not_told_as_promoted(workspace: Layout) -> None:
    """No experiment: a repro whose packages and scores are those of the last one, with a calibration that is worse."""
    repro(workspace)
    params = settings_of(workspace.workspace)
    change_params(workspace.workspace, promotion=params.promotion.model_dump() | {"min_balanced_accuracy": 0.99})
    with_another_threshold(workspace)
    report = repro(workspace)
    assert_about_its_own(workspace, report)
    assert [standing["verdict"] for standing in report["standings"]] == ["baseline", "refused", "refused"]
    assert report["policy"]["min_balanced_accuracy"] == 0.99
