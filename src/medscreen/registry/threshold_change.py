"""A new operating point for a registered version, with the same weights and without training."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import pyarrow as pa
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from pydantic import TypeAdapter

from medscreen.config.operating import EvaluationParams, OperatingParams, Policy
from medscreen.errors import MedscreenError
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.outcomes import Outcomes
from medscreen.operating.decision_nodes import package, scoring_part
from medscreen.operating.operating_point import OperatingPoint, choose_operating_point
from medscreen.packaging.packaged_detector import packaged_digest
from medscreen.registry.cards import describe_operating_point, lost_sources
from medscreen.registry.registration import mend_files, register_run
from medscreen.registry.run_record import Record
from medscreen.registry.versions import Version, require_graph, version_of, versions_of
from medscreen.reporting.evaluation_report.operating_figure import save_operating
from medscreen.tracking import names
from medscreen.tracking.logged_models import log_model
from medscreen.tracking.run_state import find_run, is_deleted, settings_of
from medscreen.tracking.runs import flat_metrics, log_table, was_cut_short, writer_tags
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import lineage_digest, with_policy

_THRESHOLD = "operating.threshold."
_SHARED_TAGS = (names.DETECTOR, names.DATA, names.DIRTY)
# metrics that do not depend on the threshold
_UNCHANGED = ("auroc", "average_precision", "brier", "ece", "in_domain")
_RATES = ["sensitivity", "specificity", "false_positive_rate", "false_negative_rate", "ppv", "npv", "accuracy"]
_RATES += ["coverage", "error_kept", "error_deferred"]


def parse_policy(name: str, numbers: Mapping[str, float]) -> Policy:
    """The policy of that name with its numbers; raises pydantic's ValidationError for an invalid one."""
    policy: Policy = TypeAdapter(Policy).validate_python({"policy": name, **numbers})
    return policy


@dataclass(frozen=True)
class Rethresholded:
    """The version with the new operating point; `is_new`: created now; `rates`: split -> rate -> estimate."""

    version: Version
    is_new: bool
    point: OperatingPoint
    rates: dict[str, dict[str, Any]]


def set_threshold(
    client: MlflowClient, layout: Layout, version: Version, policy: Policy, settings: EvaluationParams, seed: int
) -> Rethresholded:
    """A version of the same network with the threshold that `policy` selects on the recorded scores of `val`.

    An existing version with this operating point is reused. Probability calibration and settings of the deferral band
    are those of the old version. Raises MedscreenError if its files are lost.
    """
    graph = require_graph(client, layout, version)
    record = Record(client, layout, version)
    run, known_outcomes = _require_kept(record)
    remove_cut_short(client, layout, version.model, run.info.experiment_id)
    scoring, metadata = scoring_part(onnx.load(graph))
    val = known_outcomes["val"]
    point = choose_operating_point(_settings(run, policy), val.scores, val.labels, metadata["decision_boundary"])
    outcomes = {
        split: replace(of.at(point.threshold), deferred=(of.scores >= point.defer_from) & (of.scores < point.defer_to))
        for split, of in known_outcomes.items()
    }
    bootstrap = Bootstrap(settings.resamples, settings.confidence, seed)
    rates = {split: dict[str, Any](evaluate(of, bootstrap, _RATES)) for split, of in outcomes.items()}
    with TemporaryDirectory() as folder:
        packaged, picture = Path(folder) / "detector.onnx", Path(folder) / "operating.png"
        onnx.save(package(scoring, point, metadata), packaged)
        digest = packaged_digest(packaged)
        # registering it again would replace the existing version, possibly in Production
        known = version_of(client, version.model, digest)
        if known is not None and find_run(client, known.run_id) is not None:
            mend_files(client, layout, known, packaged)
            return Rethresholded(known, False, point, rates)
        stated = asdict(point) | {name: metadata[name] for name in ("domain",) if name in metadata}
        former = record.json("evaluation.json") or {}
        evaluation = {
            split: {**{name: former[split][name] for name in _UNCHANGED if name in former[split]}, **of_split}
            for split, of_split in rates.items()
        }
        run_id = _new_run(client, layout, run, version, policy, evaluation)
        client.log_text(run_id, json.dumps(stated, indent=1), names.OPERATING_FILE)
        log_table(client, run_id, record.scores(), names.SCORES)
        if (cases := record.content(names.SIMILAR_CASES)) is not None:
            kept = Path(folder) / names.SIMILAR_CASES
            kept.write_bytes(cases)
            client.log_artifact(run_id, str(kept))
        _log_lineage(client, record, run_id, policy)
        save_operating(outcomes, asdict(point), version.detector, picture)
        client.log_artifact(run_id, str(picture))
        log_model(client, run_id, onnx.load(packaged), digest)
        # last, and in one call: without these tags publish ignores an incomplete run
        client.log_batch(run_id, tags=[RunTag(names.RUN_KEY, version.run_key), RunTag(names.DIGEST, digest)])
        about = {name: version.tags[name] for name in (names.VAL, names.SPLITS, names.BASELINE) if name in version.tags}
        made = register_run(client, layout, version.model, run_id, about | {names.POLICY: policy.policy}, packaged)
    describe_operating_point(client, made, version, stated, evaluation)
    client.delete_tag(run_id, names.WRITER)
    return Rethresholded(made, True, point, rates)


def remove_cut_short(client: MlflowClient, layout: Layout, model: str, experiment: str) -> None:
    """Removes runs, and versions without card, left by killed `medscreen threshold` commands of this checkout."""
    for run in client.search_runs([experiment], f"tags.`{names.OPERATING_POINT_OF}` LIKE 'version %'"):
        if not was_cut_short(client, layout, run):
            continue
        of_run = [version for version in versions_of(client, model) if version.run_id == run.info.run_id]
        if all(version.stage == "None" and names.CARD not in version.tags for version in of_run):
            for version in of_run:
                client.delete_model_version(model, str(version.number))
            client.delete_run(run.info.run_id)
        else:  # killed after the last file, or the version is in use
            client.set_terminated(run.info.run_id, "FINISHED")
            client.delete_tag(run.info.run_id, names.WRITER)


def _require_kept(record: Record) -> tuple[Run, dict[str, Outcomes]]:
    """The run of a version and its outcomes on val and test; raises MedscreenError if either is lost or damaged."""
    name = f"The run of {record.version}"
    again = "`dvc repro publish` logs it if the workspace holds the version."
    if record.run is None or is_deleted(record.run):
        raise MedscreenError(f"{name} is lost, and with it the scores for choosing a threshold; {again}")
    try:
        outcomes = {split: of for split in ("val", "test") if (of := record.outcomes(split))}
    except (OSError, ValueError) as error:  # includes pyarrow's errors
        raise MedscreenError(f"{name}: {names.SCORES} is damaged. Run `medscreen verify`.") from error
    if not outcomes:
        raise MedscreenError(f"{name} has no {names.SCORES} for choosing a threshold; {again}")
    if lost := lost_sources(record.client, record.version):
        raise MedscreenError(f"{name} has lost or damaged {', '.join(lost)}; {again}")
    return record.run, outcomes


def _settings(run: Run, policy: Policy) -> OperatingParams:
    """The operating settings of the run with a new policy."""
    logged = settings_of(run)
    needed = ["operating.calibration", "operating.deferral.sensitivity", "operating.deferral.specificity"]
    if lost := [name for name in needed if name not in logged]:
        raise MedscreenError(
            f"The run {run.info.run_id} has lost its parameters {', '.join(lost)}; `dvc repro publish` logs them if "
            "the workspace holds the version."
        )
    return OperatingParams.model_validate(
        {
            "threshold": policy,
            "calibration": logged["operating.calibration"],
            "deferral": {name: float(logged[f"operating.deferral.{name}"]) for name in ("sensitivity", "specificity")},
        }
    )


def _new_run(
    client: MlflowClient, layout: Layout, source: Run, version: Version, policy: Policy, evaluation: Mapping[str, Any]
) -> str:
    """Creates a run for the new operating point, with tags and parameters copied from the old one."""
    tags = {name: value for name, value in source.data.tags.items() if name in _SHARED_TAGS or "git" in name}
    tags |= {names.OPERATING_POINT_OF: f"version {version.number}", **writer_tags(client, layout)}
    run = client.create_run(source.info.experiment_id, run_name=f"{version.detector}, {policy.policy}", tags=tags)
    shared = {name: value for name, value in settings_of(source).items() if not name.startswith(_THRESHOLD)}
    chosen = {f"{_THRESHOLD}{name}": str(value) for name, value in policy.model_dump().items()}
    now = int(run.info.start_time)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, now, 0) for name, value in flat_metrics(evaluation)],
        params=[Param(name, value) for name, value in (shared | chosen).items()],
    )
    return str(run.info.run_id)


def _log_lineage(client: MlflowClient, record: Record, run_id: str, policy: Policy) -> None:
    """Logs the old version's lineage, with the new policy in params.yaml, and its list of training images."""
    trained_on = record.trained_on()
    if trained_on is not None:
        log_table(client, run_id, pa.table({"digest": trained_on}), names.TRAINED_ON)
    lineage = dict(record.lineage)
    lineage["params.yaml"] = with_policy(lineage["params.yaml"], policy)
    client.log_text(run_id, json.dumps(lineage, indent=1), names.LINEAGE_FILE)
    client.set_tag(run_id, names.LINEAGE, lineage_digest(lineage))
