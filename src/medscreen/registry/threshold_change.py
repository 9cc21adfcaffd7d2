"""Another operating point for a registered version: the same weights, nothing trained again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from pydantic import TypeAdapter

from medscreen.config.operating import EvaluationParams, OperatingParams, Policy
from medscreen.errors import MedscreenError
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.outcomes import Outcomes, outcomes_of
from medscreen.operating.decision_nodes import package, scoring_part
from medscreen.operating.operating_point import OperatingPoint, choose_operating_point
from medscreen.packaging.packaged_detector import packaged_digest
from medscreen.registry.cards import UNCHANGED, describe_operating_point, lost_sources
from medscreen.registry.registration import mend_files, register_run
from medscreen.registry.run_record import Record
from medscreen.registry.versions import Version, require_graph, version_of, versions_of
from medscreen.reporting.figures.operating_figure import save_operating
from medscreen.tracking import names
from medscreen.tracking.logged_models import log_model
from medscreen.tracking.run_state import find_run, is_deleted, settings_of
from medscreen.tracking.runs import flat_metrics, log_table, was_cut_short, writer_tags
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import lineage_digest, with_policy

_THRESHOLD = "operating.threshold."
_SHARED_TAGS = (names.DETECTOR, names.DATA, names.DIRTY)
_RATES = ["sensitivity", "specificity", "false_positive_rate", "false_negative_rate", "ppv", "npv", "accuracy"]
_RATES += ["coverage", "error_kept", "error_referred"]


def parse_policy(name: str, numbers: Mapping[str, float]) -> Policy:
    """The policy of that name with its numbers; raises pydantic's ValidationError for an invalid one."""
    policy: Policy = TypeAdapter(Policy).validate_python({"policy": name, **numbers})
    return policy


@dataclass(frozen=True)
class Rethresholded:
    """The version with that operating point, made now or there before, and split -> rate -> estimate."""

    version: Version
    is_new: bool
    point: OperatingPoint
    rates: dict[str, dict[str, Any]]


def set_threshold(
    client: MlflowClient, layout: Layout, version: Version, policy: Policy, settings: EvaluationParams, seed: int
) -> Rethresholded:
    """A version of the same network whose threshold `policy` chose on the scores of `val` that its run keeps.

    It is new unless a version of that operating point is there already. Calibration and the settings of the refer
    band are those of the old version. Raises MedscreenError where its files are lost.
    """
    graph = require_graph(client, layout, version)
    record = Record(client, layout, version)
    run, scores = _require_kept(record)
    remove_cut_short(client, layout, version.model, run.info.experiment_id)
    scoring, metadata = scoring_part(onnx.load(graph))
    labels, values, _ = _columns(scores, "val")
    point = choose_operating_point(_settings(run, policy), values, labels, metadata["score_at_half"])
    outcomes = {split: _outcomes(scores, split, point) for split in ("val", "test")}
    bootstrap = Bootstrap(settings.resamples, settings.confidence, seed)
    rates: dict[str, dict[str, Any]] = {
        split: dict(evaluate(of_split, bootstrap, _RATES)) for split, of_split in outcomes.items()
    }
    with TemporaryDirectory() as folder:
        packaged, picture = Path(folder) / "detector.onnx", Path(folder) / "operating.png"
        onnx.save(package(scoring, point, metadata), packaged)
        digest = packaged_digest(packaged)
        # registered again, it would take the place of that version, be it the one in Production
        known = version_of(client, version.model, digest)
        if known is not None and find_run(client, known.run_id) is not None:
            mend_files(client, layout, known, packaged)
            return Rethresholded(known, False, point, rates)
        stated = asdict(point) | {name: metadata[name] for name in ("domain",) if name in metadata}
        run_id = _new_run(client, layout, run, version, policy, rates)
        client.log_text(run_id, json.dumps(stated, indent=1), names.OPERATING_FILE)
        log_table(client, run_id, scores, names.SCORES)
        if (cases := record.content(names.SIMILAR_CASES)) is not None:
            kept = Path(folder) / names.SIMILAR_CASES
            kept.write_bytes(cases)
            client.log_artifact(run_id, str(kept))
        _log_lineage(client, record, run_id, policy)
        save_operating(outcomes, asdict(point), version.detector, picture)
        client.log_artifact(run_id, str(picture))
        log_model(client, run_id, onnx.load(packaged), digest)
        # last, both at once: a run that was cut short belongs to no training, and publish leaves it alone
        client.log_batch(run_id, tags=[RunTag(names.RUN_KEY, version.run_key), RunTag(names.DIGEST, digest)])
        about = {name: version.tags[name] for name in (names.VAL, names.SPLITS, names.BASELINE) if name in version.tags}
        made = register_run(client, layout, version.model, run_id, about | {names.POLICY: policy.policy}, packaged)
    describe_operating_point(client, made, version, stated, rates)
    client.delete_tag(run_id, names.WRITER)
    return Rethresholded(made, True, point, rates)


def remove_cut_short(client: MlflowClient, layout: Layout, model: str, experiment: str) -> None:
    """Takes back what a killed `medscreen threshold` of this checkout has left: its run, and a version without card."""
    for run in client.search_runs([experiment], f"tags.`{names.OPERATING_POINT_OF}` LIKE 'version %'"):
        if not was_cut_short(client, layout, run):
            continue
        of_run = [version for version in versions_of(client, model) if version.run_id == run.info.run_id]
        if all(version.stage == "None" and names.CARD not in version.tags for version in of_run):
            for version in of_run:
                client.delete_model_version(model, str(version.number))
            client.delete_run(run.info.run_id)
        else:  # the kill came after the last file, or somebody uses it already
            client.set_terminated(run.info.run_id, "FINISHED")
            client.delete_tag(run.info.run_id, names.WRITER)


def _require_kept(record: Record) -> tuple[Run, pa.Table]:
    """The run of a version, and its scores of val and test; raises MedscreenError where either is lost or damaged."""
    name = f"{record.version.model} version {record.version.number}"
    logged_again = "`dvc repro publish` logs it where the version is the workspace's own."
    if record.run is None or is_deleted(record.run):
        raise MedscreenError(
            f"The run of {name} is lost, and with it the scores to choose a threshold on; {logged_again}"
        )
    try:
        scores = record.scores()
    except (OSError, ValueError) as error:  # pyarrow's own are both
        raise MedscreenError(
            f"{names.SCORES} of the run of {name} is damaged; `medscreen verify` looks at the rest."
        ) from error
    if scores is None:
        raise MedscreenError(f"The run of {name} keeps no {names.SCORES} to choose a threshold on; {logged_again}")
    if lost := lost_sources(record.client, record.version):
        raise MedscreenError(f"The run of {name} keeps no whole {', '.join(lost)}; {logged_again}")
    return record.run, scores


def _settings(run: Run, policy: Policy) -> OperatingParams:
    """The operating settings that the run was made with, but for the policy."""
    logged = run.data.params
    needed = ["operating.calibration", "operating.refer.sensitivity", "operating.refer.specificity"]
    if lost := [name for name in needed if name not in logged]:
        raise MedscreenError(
            f"The run {run.info.run_id} has lost its parameters {', '.join(lost)}; `dvc repro publish` logs them where "
            "the version is the workspace's own."
        )
    return OperatingParams.model_validate(
        {
            "threshold": policy,
            "calibration": logged["operating.calibration"],
            "refer": {name: float(logged[f"operating.refer.{name}"]) for name in ("sensitivity", "specificity")},
        }
    )


def _columns(scores: pa.Table, split: str) -> tuple[Any, Any, Any]:
    """Labels, scores and patients of a split, each (N,)."""
    rows = scores.filter(pc.field("split") == split)
    labels, values, patients = (rows[name].to_numpy() for name in ("label", "score", "patient"))
    return labels.astype(np.int64), values.astype(np.float64), patients


def _outcomes(scores: pa.Table, split: str, point: OperatingPoint) -> Outcomes:
    labels, values, patients = _columns(scores, split)
    refer = (values >= point.refer_from) & (values < point.refer_to)
    return outcomes_of(labels=labels, scores=values, patients=patients, threshold=point.threshold, refer=refer)


def _new_run(
    client: MlflowClient, layout: Layout, source: Run, version: Version, policy: Policy, rates: Mapping[str, Any]
) -> str:
    """A run that shows the new operating point; what it has in common with the old one is copied."""
    tags = {name: value for name, value in source.data.tags.items() if name in _SHARED_TAGS or "git" in name}
    tags |= {names.OPERATING_POINT_OF: f"version {version.number}", **writer_tags(client, layout)}
    run = client.create_run(source.info.experiment_id, run_name=f"{version.detector}, {policy.policy}", tags=tags)
    shared = {name: value for name, value in settings_of(source).items() if not name.startswith(_THRESHOLD)}
    chosen = {f"{_THRESHOLD}{name}": str(value) for name, value in policy.model_dump().items()}
    measured = {name: value for name, value in source.data.metrics.items() if _is_unchanged(name)}
    measured |= dict(flat_metrics(rates))
    now = int(run.info.start_time)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, now, 0) for name, value in measured.items()],
        params=[Param(name, value) for name, value in (shared | chosen).items()],
    )
    return str(run.info.run_id)


def _is_unchanged(metric: str) -> bool:
    """Whether a logged metric does not depend on the threshold: val/auroc_low, test/brier."""
    split, _, name = metric.partition("/")
    return split in {"val", "test"} and name.removesuffix("_low").removesuffix("_high") in UNCHANGED


def _log_lineage(client: MlflowClient, record: Record, run_id: str, policy: Policy) -> None:
    """The old version's lineage with the new policy in its params.yaml, and the images that it was trained on."""
    trained_on = record.trained_on()
    if trained_on is not None:
        log_table(client, run_id, pa.table({"digest": trained_on}), names.TRAINED_ON)
    lineage = dict(record.lineage or {})
    lineage["params.yaml"] = with_policy(lineage["params.yaml"], policy)
    client.log_text(run_id, json.dumps(lineage, indent=1), names.LINEAGE_FILE)
    client.set_tag(run_id, names.LINEAGE, lineage_digest(lineage))
