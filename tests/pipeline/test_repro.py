import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from conftest import SAMPLE, TINY, environment, new_project, repro, run, set_params
from medscreen import load_detector
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.images import load_images, open_test_split
from medscreen.errors import MedscreenError
from medscreen.registry.decision_log import DecisionLog
from medscreen.registry.versions import version_in_stage, versions_of
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout, find_layout

EPOCHS = TINY["detectors.cnn.training.epochs"]


def layout_of(project: Path) -> Layout:
    return find_layout(project)


def stages_run(log: str) -> list[str]:
    return [line.split("'")[1] for line in log.splitlines() if line.startswith("Running stage")]


def kinds_run(log: str) -> set[str]:
    return {stage.partition("@")[0] for stage in stages_run(log)}


def metrics(project: Path) -> dict[str, bytes]:
    return {name: (layout_of(project).report(name) / "evaluation.json").read_bytes() for name in SAMPLE}


def results(project: Path) -> dict[str, bytes]:
    """All that a repro leaves in the workspace, byte for byte."""
    files = [p for top in ("models", "reports", "data/curated") for p in (project / top).rglob("*") if p.is_file()]
    return {str(p.relative_to(project)): p.read_bytes() for p in files}


def production(client: MlflowClient) -> tuple[int, str]:
    version = version_in_stage(client, "phantom-detector", "Production")
    assert version is not None
    assert int(client.get_model_version_by_alias("phantom-detector", "production").version) == version.number
    return version.number, version.digest


def test_a_repro_leaves_every_report(finished: Path) -> None:
    layout = layout_of(finished)
    audit = json.loads(layout.curation_report.read_text())
    assert len(audit["quarantined"]) == 3
    assert audit["respelled_patients"] == 3
    assert audit["exact_duplicates"]["dropped"] == 3
    for name in SAMPLE:
        report = json.loads((layout.report(name) / "evaluation.json").read_text())
        assert set(report) == {"train", "val", "test"}
        assert set(report["train"]) == {"accuracy", "balanced_view", "in_domain"}
        assert set(report["test"]["auroc"]) == {"value", "low", "high"}
        assert ("accuracy_at_half" in report["test"]) == (name == "cnn")
        pictures = {path.name for path in layout.figures(name).glob("*.png")}
        assert len(pictures) == 9 + ("embedding.png" in pictures)
        assert ("embedding.png" in pictures) == (name != "gradient")
        assert "cases.png" in pictures
        assert layout.operating_picture(name).stat().st_size > 10_000
        assert len(layout.threshold_comparison(name).read_text().splitlines()) == 1 + 8
        tables = json.loads(layout.analysis(name).read_text())
        assert set(tables["subgroups"]) == {"sex", "age", "site"}
        assert set(tables["findings"]) == {"nodule", "consolidation"}
    assert len(layout.comparison.read_text().splitlines()) == 1 + 2 * (len(SAMPLE) - 1)
    assert json.loads(layout.promotion.read_text())["promoted"]["version"] >= 1
    assert "Leaderboard" in (finished / "repro.log").read_text()
    assert len(layout.leaderboard.read_text().splitlines()) == 1 + len(SAMPLE)


def test_mlflow_shows_the_same_numbers_as_the_reports(finished: Path) -> None:
    layout = layout_of(finished)
    client = open_store(layout)
    experiment = client.get_experiment_by_name("phantom")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(r.info.run_name for r in runs) == sorted(SAMPLE)
    for found in runs:
        assert found.info.status == "FINISHED"
        report = json.loads((layout.report(found.info.run_name) / "evaluation.json").read_text())
        for metric, estimate in report["test"].items():
            if "value" in estimate and estimate["value"] is not None:
                assert found.data.metrics[f"test/{metric}"] == estimate["value"]
                assert found.data.metrics.get(f"test/{metric}_low") == estimate["low"]
                assert found.data.metrics.get(f"test/{metric}_high") == estimate["high"]
        assert "test/auroc_low" in found.data.metrics
        assert "test/ece_low" not in found.data.metrics  # it has no interval
        assert found.data.params["dataset"] == "phantom"
        assert {"medscreen.run_key", "medscreen.packaged_digest", "medscreen.data_digest"} <= set(found.data.tags)
        assert found.data.tags["mlflow.source.git.commit"]
        inputs = {item.dataset.name: item.dataset.digest for item in found.inputs.dataset_inputs}
        assert set(inputs) == {"phantom/train", "phantom/tune", "phantom/val", "phantom/test"}
        figures = [item.path for item in client.list_artifacts(found.info.run_id, "figures")]
        assert {"figures/confusion.png", "figures/cases.png"} <= set(figures)  # the phantom shows nobody
    trained = next(r for r in runs if r.info.run_name == "cnn")
    assert len(client.get_metric_history(trained.info.run_id, "epoch/tune_loss")) == EPOCHS


def test_the_registered_model_is_the_packaged_file(finished: Path, loaded_registry: Callable[[Path], None]) -> None:
    loaded_registry(finished)
    layout = layout_of(finished)
    promoted = json.loads(layout.promotion.read_text())["promoted"]["detector"]
    with open_test_split():
        images = load_images(layout.curated("test")).pixels
    predictions = pq.read_table(layout.predictions(promoted), filters=[("split", "==", "test")])
    screening = load_detector("phantom-detector").screen(np.asarray(images))
    np.testing.assert_allclose(screening.score, predictions["score"], atol=1e-5)
    np.testing.assert_array_equal(screening.abnormal, predictions["abnormal"])
    artefacts = list(layout.mlruns.rglob("model.onnx"))
    assert layout.packaged(promoted).read_bytes() in [path.read_bytes() for path in artefacts]


def test_a_second_repro_runs_raw_and_publish_and_changes_nothing(copied: Path) -> None:
    before, client = results(copied), open_store(layout_of(copied))
    held = production(client)
    log = repro(copied)
    assert stages_run(log) == ["raw", "publish"]
    assert results(copied) == before
    assert production(client) == held
    assert len(client.search_model_versions("name = 'phantom-detector'")) == len(SAMPLE)
    assert len(client.search_runs([client.get_experiment_by_name("phantom").experiment_id])) == len(SAMPLE)
    assert len(DecisionLog(client, layout_of(copied), "phantom-detector").entries()) == 1


def test_mlruns_comes_back_without_training(copied: Path) -> None:
    before = production(open_store(layout_of(copied)))[1]
    shutil.rmtree(copied / "mlruns")
    assert stages_run(repro(copied)) == ["raw", "publish"]
    client = open_store(layout_of(copied))
    assert production(client)[1] == before
    runs = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    assert sorted(r.info.run_name for r in runs) == sorted(SAMPLE)
    trained = next(r for r in runs if r.info.run_name == "cnn")
    assert len(client.get_metric_history(trained.info.run_id, "epoch/train_loss")) == EPOCHS
    assert trained.data.metrics["test/auroc"]


def test_a_moved_checkout_loads_its_models(
    copied: Path, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    moved = copied.rename(tmp_path / "else where")
    loaded_registry(moved)
    detector = load_detector("phantom-detector")
    assert (detector.image_size, detector.display) == (32, FILE_DISPLAY)
    client = open_store(layout_of(moved))
    located = [v.source for v in client.search_model_versions("name = 'phantom-detector'")]
    runs = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    assert located
    assert all(str(tmp_path / "else%20where") in r.info.artifact_uri for r in runs)


def test_an_experiment_never_changes_production(copied: Path) -> None:
    client = open_store(layout_of(copied))
    # a champion that is easily beaten: only the experiment holds the new winner back
    baseline = next(v for v in versions_of(client, "phantom-detector") if v.is_baseline)
    forced = ("--force", "--reason", "something weak for the test")
    done = run(copied, "medscreen", "promote", str(baseline.number), *forced)
    assert done.returncode == 0, done.stdout + done.stderr
    held = production(client)
    change = ("-S", "detectors.cnn.training.epochs=14", "-S", "curation.val_fraction=0.25")
    done = run(copied, "dvc", "exp", "run", *change, "--name", "longer")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fit@cnn" in stages_run(done.stdout)
    assert production(client) == held
    promotion = json.loads((copied / "reports" / "promotion.json").read_text())
    assert promotion["promoted"] is None
    assert promotion["reason"].startswith("not promoted: experiment longer (")
    assert f"; better than version {held[0]} ({baseline.detector}) in Production" in promotion["reason"]
    runs = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    assert [r.data.tags.get("medscreen.dvc_exp_name") for r in runs].count("longer") == len(SAMPLE)  # new splits


def test_another_operating_point_goes_to_production_without_training(copied: Path) -> None:
    client = open_store(layout_of(copied))
    held = production(client)
    set_params(copied, {"operating.threshold": {"policy": "healthy_quantile", "quantile": 0.8}})
    assert {stage.partition("@")[0] for stage in stages_run(repro(copied))} == {
        "raw",
        "calibrate",
        "evaluate",
        "publish",
    }
    assert production(client)[1] != held[1]
    assert "new operating point" in json.loads((copied / "reports" / "promotion.json").read_text())["reason"]
    assert len(client.search_model_versions("name = 'phantom-detector'")) == 2 * len(SAMPLE)


def test_findings_told_apart_and_further_seeds(copied: Path, loaded_registry: Callable[[Path], None]) -> None:
    loaded_registry(copied)
    set_params(copied, {"detectors.cnn.findings": ["nodule", "consolidation"], "seeds": [8]})
    log = repro(copied)
    assert "2 seeds" in log
    layout = layout_of(copied)
    tables = json.loads((layout.analysis("cnn")).read_text())
    assert tables["classes"]["names"] == ["normal", "nodule", "consolidation"]
    with open_test_split():
        assert sum(map(sum, tables["classes"]["confusion"])) == len(load_images(layout.curated("test")))
    assert set(tables["seeds"]["test"]["auroc"]) == {"7", "8"}
    assert tables["seeds"]["test"]["sd"] is not None
    report = json.loads((layout.report("cnn") / "evaluation.json").read_text())
    assert tables["seeds"]["val"]["auroc"]["7"] == report["val"]["auroc"]["value"]
    images = load_images(layout.curated("val"))
    predictions = load_detector("phantom-detector").screen(np.asarray(images.pixels))
    if predictions.findings is not None:
        np.testing.assert_allclose(predictions.findings.sum(1), 1, atol=1e-5)
    assert "classes" not in json.loads((layout.analysis("autoencoder")).read_text())


def test_another_evaluation_reaches_the_runs(copied: Path) -> None:
    set_params(copied, {"evaluation.confidence": 0.5})
    assert kinds_run(repro(copied)) == {"raw", "evaluate", "publish"}
    client = open_store(layout_of(copied))
    runs = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    assert len(runs) == len(SAMPLE)
    for found in runs:
        report = json.loads((layout_of(copied).report(found.info.run_name) / "evaluation.json").read_text())
        assert found.data.metrics["test/auroc_low"] == report["test"]["auroc"]["low"]


def test_lost_model_files_come_back(copied: Path, loaded_registry: Callable[[Path], None]) -> None:
    loaded_registry(copied)
    shutil.rmtree(copied / "mlruns" / "artifacts")
    with pytest.raises(MedscreenError, match="dvc repro publish"):
        load_detector("phantom-detector")
    repro(copied, "publish")
    assert load_detector("phantom-detector").image_size == 32
    client = open_store(layout_of(copied))
    production(client)
    runs = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    assert len(runs) == len(SAMPLE)
    assert all(client.list_artifacts(found.info.run_id, "figures") for found in runs)


def test_a_damaged_database_is_said(copied: Path) -> None:
    for leftover in ("mlflow.db-wal", "mlflow.db-shm"):
        (copied / "mlruns" / leftover).unlink(missing_ok=True)
    (copied / "mlruns" / "mlflow.db").write_bytes(b"garbage" * 1000)
    done = run(copied, "python", "-m", "medscreen.pipeline.publish")
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_killed_anywhere_the_next_repro_ends_with_the_undisturbed_bytes(finished: Path, tmp_path: Path) -> None:
    project = new_project(tmp_path / "killed")
    for stage in ("curate", "fit@autoencoder", "fit@cnn", "evaluate"):
        kill_during(project, stage)
    log = repro(project)
    assert "evaluate" in stages_run(log)
    assert results(project) == results(finished)
    client = open_store(layout_of(project))
    runs = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    assert sorted(r.info.run_name for r in runs) == sorted(SAMPLE)
    assert not [p for p in project.rglob("*partial-*") if ".dvc" not in p.parts]


def kill_during(project: Path, stage: str) -> None:
    """Kills `dvc repro` a moment after it has begun a stage; the stage itself is left running, as DVC leaves it."""
    module, _, name = stage.partition("@")
    dvc = subprocess.Popen(
        ["dvc", "repro"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and dvc.poll() is None:
        for process in psutil.Process(dvc.pid).children(recursive=True):
            try:
                command = process.cmdline()
            except psutil.Error:
                continue
            if f"medscreen.pipeline.{module}" in command and (not name or command[-1] == name):
                time.sleep(0.5 if module == "evaluate" else 2.0)  # evaluate itself takes little more than a second
                os.kill(dvc.pid, signal.SIGKILL)
                dvc.wait()
                return
        time.sleep(0.05)
    pytest.fail(f"{stage} never began")


def test_two_repros_at_once_leave_the_undisturbed_bytes(finished: Path, copied: Path) -> None:
    shutil.rmtree(copied / "models" / "cnn")
    shutil.rmtree(copied / ".dvc" / "cache")
    first, second = (
        subprocess.Popen(
            ["dvc", "repro"], cwd=copied, env=environment(copied), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    )
    outputs = [process.communicate(timeout=600)[0].decode() for process in (first, second)]
    assert 0 in {first.returncode, second.returncode}, outputs
    repro(copied)
    assert metrics(copied) == metrics(finished)
