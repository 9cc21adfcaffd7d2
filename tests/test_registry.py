"""Stages, the gate in practice, the promotion log, rollback: on a small workspace (workspaces.py)."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from factories import one_sentence
from medscreen import load_detector
from medscreen.config.operating import YoudenPolicy
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.pipeline.publish import publish
from medscreen.registry.decision_log import DecisionLog, Entry
from medscreen.registry.gate import Decision
from medscreen.registry.gate_evidence import Evidence
from medscreen.registry.promotion import promote_version, roll_back
from medscreen.registry.threshold_change import set_threshold
from medscreen.registry.versions import Version, find_version, version_in_stage, versions_of
from medscreen.tracking.detector_results import read_results
from medscreen.tracking.server import as_default
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, change_params, curate_films, fit_by_hand, graph_of, settings_of

# what MLflow says of its own type hints when it first logs a model
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]

CORNER, HALF, WHOLE = 1, 2, 3


def repro(layout: Layout) -> dict[str, Any]:
    """What the stage publish does and writes."""
    publish(layout, settings_of(layout.workspace))
    report: dict[str, Any] = json.loads(layout.promotion.read_text())
    return report


def promote(layout: Layout, number: int, stage: str = "Production", forced: str = "") -> Decision | None:
    client = open_store(layout)
    params = settings_of(layout.workspace)
    version = find_version(client, MODEL, str(number))
    return promote_version(client, layout, version, stage, params, forced)


def stages(layout: Layout) -> dict[int, str]:
    return {version.number: version.stage for version in versions_of(open_store(layout), MODEL)}


def aliases(layout: Layout) -> dict[str, int]:
    found = open_store(layout).get_registered_model(MODEL).aliases
    return {alias: int(number) for alias, number in found.items()}


def production(layout: Layout) -> int:
    """The one version in Production, by stage and by alias."""
    numbers = [number for number, stage in stages(layout).items() if stage == "Production"]
    assert numbers == [aliases(layout)["production"]]
    return numbers[0]


def log(layout: Layout) -> list[Entry]:
    return [entry for entry, _ in DecisionLog(open_store(layout), layout, MODEL).entries()]


def refusal(layout: Layout, number: int, **how: Any) -> str:
    with pytest.raises(MedscreenError) as error:
        promote(layout, number, **how)
    return one_sentence(error)


def retrained(layout: Layout, weights: tuple[float, ...]) -> dict[str, Any]:
    """A repro after `half` has been trained anew."""
    fit_by_hand(layout, "half", weights)
    return repro(layout)


def test_the_first_repro_registers_all_and_promotes_the_best(workspace: Layout) -> None:
    assert stages(workspace) == {CORNER: "None", HALF: "None", WHOLE: "Production"}
    assert aliases(workspace) == {"production": WHOLE}
    assert [(entry.action, entry.version, entry.replaced) for entry in log(workspace)] == [("publish", WHOLE, None)]


def test_a_second_repro_changes_nothing(workspace: Layout) -> None:
    before = workspace.promotion.read_bytes(), log(workspace), stages(workspace)
    repro(workspace)
    assert (workspace.promotion.read_bytes(), log(workspace), stages(workspace)) == before


def test_a_stage_and_its_alias_move_together(workspace: Layout) -> None:
    promote(workspace, HALF, "Staging")
    assert stages(workspace) == {CORNER: "None", HALF: "Staging", WHOLE: "Production"}
    assert aliases(workspace) == {"production": WHOLE, "staging": HALF}
    promote(workspace, HALF, forced="to try the stages")
    assert stages(workspace) == {CORNER: "None", HALF: "Production", WHOLE: "Archived"}
    assert aliases(workspace) == {"production": HALF, "archived": WHOLE}


def test_the_three_ways_to_load_production_agree(workspace: Layout, loaded_registry: Callable[[Path], None]) -> None:
    import mlflow

    loaded_registry(workspace.home)
    promote(workspace, HALF, forced="another one than the first")
    client = open_store(workspace)
    images = np.random.default_rng(0).integers(2, 255, (5, 16, 16)).astype(np.uint8)
    ours = load_detector(MODEL, stage="Production").score(images)
    with as_default(client):
        for address in (f"models:/{MODEL}/Production", f"models:/{MODEL}@production"):
            predictions = mlflow.pyfunc.load_model(address).predict(images[:, None])
            np.testing.assert_array_equal(predictions["score"], ours)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (CORNER, "a baseline is never promoted"),
        (HALF, "not better than version 3 (whole)"),
        (WHOLE, "is in Production already"),
    ],
)
def test_what_the_gate_refuses_by_hand_is_said_and_in_the_log(workspace: Layout, number: int, says: str) -> None:
    assert says in refusal(workspace, number)
    assert production(workspace) == WHOLE
    if number != WHOLE:
        entry = log(workspace)[0]
        assert entry.title.startswith(f"refused: version {number} ")
        assert entry.version is None
        assert says in entry.reason
        assert entry.by


def test_force_is_recorded_with_its_reason_and_the_gates(workspace: Layout) -> None:
    promote(workspace, HALF, forced="the ward asks for it")
    entry = log(workspace)[0]
    assert (entry.action, entry.version, entry.replaced, entry.forced) == ("promote", HALF, WHOLE, True)
    assert entry.reason.startswith("the ward asks for it (the gate: ")
    version = find_version(open_store(workspace), MODEL, str(HALF))
    assert "the ward asks for it" in version.tags["medscreen.decision"]


def test_a_better_detector_replaces_the_champion_and_a_worse_one_does_not(workspace: Layout) -> None:
    promote(workspace, HALF, forced="so that something worse is there")
    fit_by_hand(workspace, "whole", (1, 1, 0.95, 0))
    report = repro(workspace)
    better = report["promoted"]["version"]
    assert report["promoted"]["detector"] == "whole"
    assert "better than version 2 (half) in Production" in report["reason"]
    assert production(workspace) == better
    report = retrained(workspace, (1, 0.2, 0, 0))
    assert report["promoted"] is None
    assert production(workspace) == better


def test_a_persons_choice_outlives_a_repro(workspace: Layout) -> None:
    promote(workspace, HALF, forced="the clinic wants this one")
    report = repro(workspace)
    assert report["promoted"] is None
    assert "put version 2 into Production" in report["standings"][2]["reason"]
    assert production(workspace) == HALF
    promote(workspace, WHOLE)  # by hand the gate alone is asked
    assert production(workspace) == WHOLE


def test_a_reason_of_any_length_and_script_leaves_a_log_that_can_be_read(workspace: Layout) -> None:
    promote(workspace, HALF, forced="weil es \u4e2d\n" + "\u4e2d\u6587 " * 9000)
    assert log(workspace)[0].version == HALF
    assert log(workspace)[0].reason.startswith("weil es \u4e2d \u4e2d\u6587")
    assert production(workspace) == HALF


def test_rollback_puts_the_former_version_back_and_no_repro_undoes_it(workspace: Layout) -> None:
    promote(workspace, HALF, forced="so that something worse is there")
    promote(workspace, WHOLE)
    client = open_store(workspace)
    former, now = roll_back(client, workspace, MODEL, "too many alarms at night")
    assert (former.number, now.number, production(workspace)) == (WHOLE, HALF, HALF)
    assert aliases(workspace)["archived"] == WHOLE
    for _ in range(2):
        report = repro(workspace)
        assert report["promoted"] is None
        assert "version 3 was rolled back" in report["reason"]
        assert "too many alarms at night" in report["reason"]
        assert production(workspace) == HALF
    assert [entry.action for entry in log(workspace)] == ["publish", "rollback", "promote", "promote", "publish"]
    assert "was rolled back" in refusal(workspace, WHOLE)
    promote(workspace, WHOLE, forced="it was the scanner")
    assert production(workspace) == WHOLE
    assert find_version(client, MODEL, str(WHOLE)).rolled_back == ""


def test_without_a_former_version_nothing_is_rolled_back(workspace: Layout) -> None:
    with pytest.raises(MedscreenError) as error:
        roll_back(open_store(workspace), workspace, MODEL, "")
    assert "there was none, or each is rolled back" in one_sentence(error)
    assert production(workspace) == WHOLE


def test_rollback_passes_over_what_was_rolled_back_or_is_lost(workspace: Layout) -> None:
    client = open_store(workspace)
    promote(workspace, HALF, forced="second")
    promote(workspace, CORNER, forced="third")
    shutil.rmtree(graph_of(client, workspace, find_version(client, MODEL, str(HALF))).parent)
    roll_back(client, workspace, MODEL, "bad")
    assert production(workspace) == WHOLE  # not HALF, whose files are lost
    with pytest.raises(MedscreenError, match="rolled back itself or can't be used; version 2: its files are lost"):
        roll_back(client, workspace, MODEL, "bad, too")  # CORNER is rolled back
    assert production(workspace) == WHOLE


def test_a_new_operating_point_of_the_champion_takes_its_place_unless_a_person_chose_it(workspace: Layout) -> None:
    params = settings_of(workspace.workspace)
    operating = params.operating.model_dump() | {"threshold": {"policy": "specificity", "at_least": 0.9}}
    change_params(workspace.workspace, operating=operating)
    fit_by_hand(workspace, "whole", (1, 1, 1, 0))
    report = repro(workspace)
    assert "this is its new operating point" in report["reason"]
    new = production(workspace)
    assert new not in {CORNER, HALF, WHOLE}
    client = open_store(workspace)
    chosen = set_threshold(
        client, workspace, find_version(client, MODEL, str(new)), YoudenPolicy(policy="youden"), params.evaluation, 7
    )
    assert chosen.version.number == WHOLE
    promote(workspace, WHOLE, forced="the other threshold, please")
    assert "put version 3 into Production" in repro(workspace)["reason"]
    assert production(workspace) == WHOLE
    change_params(workspace.workspace, operating=operating | {"threshold": {"policy": "specificity", "at_least": 0.85}})
    fit_by_hand(workspace, "whole", (1, 1, 1, 0))
    assert "this is its new operating point" in repro(workspace)["reason"]  # it came after the choice


def test_a_champion_is_judged_on_patients_it_was_not_trained_on(workspace: Layout) -> None:
    """After another split, most of val was in the champion's training data."""
    client, params = open_store(workspace), settings_of(workspace.workspace)
    trained_on = set(read_results(workspace, params)[2].trained_on)
    # a larger val: twenty people of each class have to be left that the champion has not seen
    change_params(workspace.workspace, seed=8, curation=params.curation.model_dump() | {"val_fraction": 0.4})
    curate_films(workspace, seed=8)
    for name, weights in (("corner", (0, 0, 0, 1)), ("half", (1, 0.3, 0, 0)), ("whole", (1, 1, 0.9, 0))):
        fit_by_hand(workspace, name, weights)
    evidence = Evidence(client, workspace, read_results(workspace, settings_of(workspace.workspace)))
    known = evidence.contestant(find_version(client, MODEL, str(WHOLE)))
    digests = evidence.val.digests
    assert [digest not in trained_on for digest in digests] == known.unseen.tolist()
    assert 0 < known.unseen.sum() < len(digests)
    report = repro(workspace)
    whole = next(standing for standing in report["standings"] if standing["detector"] == "whole")
    assert f"on {known.unseen.sum()} images" in whole["checks"][-1]["says"]


def test_a_version_whose_run_keeps_no_training_images_is_not_compared(workspace: Layout) -> None:
    client = open_store(workspace)
    version = find_version(client, MODEL, str(WHOLE))
    fit_by_hand(workspace, "whole", (1, 1, 0.8, 0))
    for path in (workspace.mlruns / "artifacts" / "films" / version.run_id).rglob("trained_on.parquet"):
        path.unlink()
    report = repro(workspace)
    assert report["promoted"] is None
    assert "has no list of training images" in report["standings"][2]["reason"]


def test_production_is_never_emptied_for_staging(workspace: Layout) -> None:
    assert "Production, which would be left empty" in refusal(workspace, WHOLE, stage="Staging")
    assert production(workspace) == WHOLE


def test_an_altered_package_is_neither_loaded_nor_judged_nor_promoted(
    workspace: Layout, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.home)
    client = open_store(workspace)
    paths = {n: graph_of(client, workspace, find_version(client, MODEL, str(n))) for n in (CORNER, HALF, WHOLE)}
    promote(workspace, HALF, forced="so that something worse is there")
    shutil.copy(paths[CORNER], paths[WHOLE])
    assert "is not the one that was registered" in refusal(workspace, WHOLE)
    shutil.copy(paths[CORNER], paths[HALF])
    with pytest.raises(MedscreenError, match="is not the one that was registered"):
        load_detector(MODEL)


def test_a_worse_version_is_refused_by_hand_as_often_as_in_a_repro(workspace: Layout) -> None:
    """Promoting the roster's detectors one after another shares the error as a repro does."""
    client, params = open_store(workspace), settings_of(workspace.workspace)
    results = read_results(workspace, params)
    evidence = Evidence(client, workspace, results)
    corner, half, whole = (find_version(client, MODEL, str(number)) for number in (CORNER, HALF, WHOLE))
    assert evidence.of_version(half, corner).rivals == evidence.of_roster(results[1], half, corner, None).rivals == 2
    assert evidence.of_version(half, whole).rivals == 1


def test_a_film_of_a_person_it_was_trained_on_counts_as_seen(workspace: Layout) -> None:
    client, params = open_store(workspace), settings_of(workspace.workspace)
    evidence = Evidence(client, workspace, [])
    val = evidence.val
    two_of_one = evidence.val.patients.copy()
    two_of_one[1] = two_of_one[0]
    object.__setattr__(val, "patients", two_of_one)
    version = find_version(client, MODEL, str(WHOLE))
    (kept,) = (workspace.mlruns / "artifacts" / "films" / version.run_id).rglob("trained_on.parquet")
    pq.write_table(pa.table({"digest": [val.digests[0]]}), kept)
    assert evidence.contestant(version).unseen[:3].tolist() == [False, False, True]
    pq.write_table(pa.table({"digest": pa.array([], pa.string())}), kept)
    with pytest.raises(MedscreenError, match="an empty list"):
        evidence.contestant(version)
    assert params.dataset == "films"


def test_an_old_champion_is_scored_anew_on_another_val(workspace: Layout) -> None:
    client = open_store(workspace)
    version = find_version(client, MODEL, str(WHOLE))
    before = Evidence(client, workspace, []).contestant(version).val.scores
    change_params(workspace.workspace, seed=8)
    curate_films(workspace, seed=8)
    after = Evidence(client, workspace, [])
    graph = graph_of(client, workspace, version)
    np.testing.assert_array_equal(after.contestant(version).val.scores, PackagedDetector(graph).score(after.val.pixels))
    assert not np.array_equal(before, after.contestant(version).val.scores)


def test_staging_needs_no_results_of_the_workspace(workspace: Layout) -> None:
    shutil.rmtree(workspace.workspace / "models")
    promote(workspace, HALF, "Staging")
    assert aliases(workspace)["staging"] == HALF
    assert "it can't be judged: The workspace lacks results" in refusal(workspace, HALF)
    promote(workspace, HALF, forced="at night")
    assert production(workspace) == HALF


def test_results_of_another_data_set_judge_nothing(workspace: Layout) -> None:
    raw = json.loads(workspace.raw.read_text())
    workspace.raw.write_text(json.dumps(raw | {"dataset": "mri"}))
    assert "The workspace has results of mri, params.yaml has films" in refusal(workspace, HALF)


def test_a_changed_refusal_is_a_new_entry(workspace: Layout) -> None:
    retrained(workspace, (1, 0.2, 0, 0))
    first = len(log(workspace))
    retrained(workspace, (1, 0.1, 0, 0))
    assert len(log(workspace)) == first + 1


def test_deleted_decisions_come_back(workspace: Layout) -> None:
    client = open_store(workspace)
    client.delete_experiment(client.get_experiment_by_name(f"{MODEL} decisions").experiment_id)
    assert [entry.version for entry in log(workspace)] == [WHOLE]
    repro(workspace)


def test_tags_say_what_became_of_a_version(workspace: Layout) -> None:
    client = open_store(workspace)
    promote(workspace, HALF, "Staging")
    promote(workspace, HALF, forced="why not")
    repro(workspace)
    tags = {number: version_tags(client, number)["medscreen.decision"] for number in (CORNER, HALF, WHOLE)}
    assert tags[CORNER] == "baseline: a baseline is never promoted"
    assert tags[HALF].startswith("version 2 (half) to Production, forced by ")
    assert tags[WHOLE] == tags[HALF]  # what replaced it


def test_what_cannot_be_judged_is_refused_and_can_be_forced(workspace: Layout) -> None:
    client = open_store(workspace)
    fit_by_hand(workspace, "half", (1, 0.1, 0, 0))  # so that version 2 is none of the workspace's
    repro(workspace)
    run_id = find_version(client, MODEL, str(HALF)).run_id
    for path in (workspace.mlruns / "artifacts" / "films" / run_id).rglob("trained_on.parquet"):
        path.unlink()
    assert "it can't be judged: its run has no list of training images" in refusal(workspace, HALF)
    promote(workspace, HALF, forced="the old one, please")
    assert production(workspace) == HALF


def test_a_user_without_a_name_has_a_number(workspace: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    promote(workspace, HALF, "Staging")
    assert log(workspace)[0].by == "user 54321"


def test_lost_files_are_put_back_in_place_and_production_stays(
    workspace: Layout, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.home)
    shutil.rmtree(workspace.mlruns / "artifacts" / "films" / "models")
    with pytest.raises(MedscreenError, match="are lost"):
        load_detector(MODEL)
    before = stages(workspace)
    repro(workspace)
    assert stages(workspace) == before
    assert load_detector(MODEL).image_size == 16


def test_an_altered_package_is_put_back(workspace: Layout) -> None:
    client = open_store(workspace)
    version = find_version(client, MODEL, str(WHOLE))
    graph = graph_of(client, workspace, version)
    before = graph.read_bytes()
    graph.write_bytes(before + b"x")
    repro(workspace)
    assert graph_of(client, workspace, version).read_bytes() == before


def test_a_store_that_was_removed_is_built_again(workspace: Layout) -> None:
    empty = without_store(workspace, "empty")
    repro(empty)
    assert production(empty) == WHOLE


def test_a_leak_in_the_audit_keeps_all_out_of_production(workspace: Layout) -> None:
    audit = json.loads(workspace.curation_report.read_text())
    audit["leaks"] = {"train+tune": {"images": 9, "patients": 3, "exact_duplicates": 0}}
    workspace.curation_report.write_text(json.dumps(audit))
    assert repro(without_store(workspace, "clean"))["promoted"] is not None
    audit["leaks"]["train+val"] = {"images": 2, "patients": 1, "exact_duplicates": 0}
    workspace.curation_report.write_text(json.dumps(audit))
    leaking = without_store(workspace, "leaking")
    report = repro(leaking)
    assert report["promoted"] is None
    assert "val and test share 2 images" in report["reason"]
    assert "production" not in aliases(leaking)


def test_an_experiment_is_judged_and_not_promoted(workspace: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(workspace, HALF, forced="so that something worse is there")
    fit_by_hand(workspace, "whole", (1, 1, 0.95, 0))
    monkeypatch.setenv("DVC_EXP_NAME", "try-this")
    report = repro(workspace)
    assert report["reason"].startswith("not promoted: experiment try-this (whole: ")
    assert production(workspace) == HALF


def without_store(layout: Layout, name: str) -> Layout:
    """A copy of the workspace that has no store: MLflow keeps a removed one open."""
    home = Path(shutil.copytree(layout.home, layout.home.parent / name, ignore=shutil.ignore_patterns("mlruns")))
    return Layout(home, home)


def version_tags(client: MlflowClient, number: int) -> dict[str, str]:
    return dict(find_version(client, MODEL, str(number)).tags)


def test_each_version_carries_what_it_was_made_from(workspace: Layout) -> None:
    client = open_store(workspace)
    tags = version_tags(client, WHOLE)
    curation = json.loads(workspace.curation_report.read_text())
    assert tags["medscreen.data_digest"] == "films of the tests"
    assert tags["medscreen.split_digests"].split() == [f"{k}={v['digest']}" for k, v in curation["splits"].items()]
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["medscreen.dirty"] == "false"
    assert tags["medscreen.threshold_policy"] == "youden"
    version = find_version(client, MODEL, str(WHOLE))
    kept = {item.path for item in client.list_artifacts(version.run_id)}
    assert {"lineage.json", "trained_on.parquet", "scores.parquet", "decision.json", "card.md", "card.html"} <= kept
    lineage = json.loads(Path(client.download_artifacts(version.run_id, "lineage.json")).read_text())
    assert lineage["params.yaml"] == workspace.params.read_text()
    assert lineage["environment"]["packages"]["onnxruntime"]
    assert lineage["trial"] is None


def test_the_card_is_the_description_and_names_the_decision(workspace: Layout) -> None:
    client = open_store(workspace)
    described = client.get_model_version(MODEL, str(WHOLE)).description
    assert 1000 < len(described) <= 5000
    assert "never diagnosis" in described.lower() or "not for diagnosis" in described.lower()
    run_id = find_version(client, MODEL, str(HALF)).run_id
    decision = json.loads(Path(client.download_artifacts(run_id, "decision.json")).read_text())
    assert decision["verdict"] == "refused"
    assert "whole is better by" in decision["reason"]
    assert version_tags(client, HALF)["medscreen.decision"] == f"refused: {decision['reason']}"


def test_another_commit_changes_no_card(workspace: Layout) -> None:
    client = open_store(workspace)
    before = client.get_model_version(MODEL, str(WHOLE)).description, version_tags(client, WHOLE)
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "next"], cwd=workspace.home, check=True)
    repro(workspace)
    assert (client.get_model_version(MODEL, str(WHOLE)).description, version_tags(client, WHOLE)) == before


def test_two_in_production_are_mended(workspace: Layout) -> None:
    """What two clients of a server can leave that promote at the same moment; the log knows who came last."""
    client = open_store(workspace)
    client.transition_model_version_stage(MODEL, str(HALF), "Production", archive_existing_versions=False)
    assert sorted(stages(workspace).values()) == ["None", "Production", "Production"]
    log_of_it = DecisionLog(client, workspace, MODEL)
    log_of_it.settle()
    assert production(workspace) == WHOLE
    assert stages(workspace)[HALF] == "Archived"


@pytest.mark.parametrize(
    ("name", "stage", "says"),
    [(MODEL, "production", "is not a stage"), (MODEL, "Staging", "No version"), ("mri-detector", "Production", MODEL)],
)
def test_what_is_not_there_is_said(
    published: Path, loaded_registry: Callable[[Path], None], name: str, stage: str, says: str
) -> None:
    loaded_registry(published)
    with pytest.raises(MedscreenError, match=says):
        load_detector(name, stage)


def test_outside_a_checkout_is_said(tmp_path: Path, loaded_registry: Callable[[Path], None]) -> None:
    loaded_registry(tmp_path)
    with pytest.raises(MedscreenError, match="No medscreen project"):
        load_detector(MODEL)


def test_a_stage_that_nothing_is_in_is_none(published: Path) -> None:
    assert version_in_stage(open_store(Layout(published, published)), MODEL, "Staging") is None


def test_a_version_knows_its_age(published: Path) -> None:
    version = find_version(open_store(Layout(published, published)), MODEL, "1")
    assert isinstance(version, Version)
    assert version.made.tzinfo is not None
