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
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from pydantic import TypeAdapter

from medscreen.errors import MedscreenError
from medscreen.evaluation import Bootstrap, Outcomes, evaluate
from medscreen.figures import save_operating
from medscreen.layout import Layout
from medscreen.lineage import lineage_digest, with_policy
from medscreen.operating import OperatingPoint, choose_operating_point
from medscreen.packaging.detector import packaged_digest
from medscreen.packaging.operating_nodes import package, scoring_part
from medscreen.params import EvaluationParams, OperatingParams, Policy
from medscreen.registry.cards import UNCHANGED, describe_operating_point
from medscreen.registry.versions import (
    BASELINE,
    OPERATING_POINT_OF,
    POLICY,
    SPLITS,
    VAL,
    Version,
    register_run,
    require_graph,
    version_of,
)
from medscreen.tracking.models import DIGEST, log_model
from medscreen.tracking.runs import (
    DATA,
    DETECTOR,
    DIRTY,
    LINEAGE,
    LINEAGE_FILE,
    RUN_KEY,
    SCORES,
    TRAINED_ON,
    flat_metrics,
    log_table,
)

_THRESHOLD = "operating.threshold."
_SHARED_TAGS = (DETECTOR, DATA, DIRTY)
_RATES = ["sensitivity", "specificity", "false_positive_rate", "false_negative_rate", "ppv", "npv", "accuracy"]
_RATES += ["coverage", "error_kept", "error_referred"]


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
    run = client.get_run(version.run_id)
    graph = require_graph(client, layout, version)
    with TemporaryDirectory() as folder:
        scores = _kept_scores(client, version, Path(folder))
        scoring, metadata = scoring_part(onnx.load(graph))
        val = scores.filter(pc.field("split") == "val")
        point = choose_operating_point(
            _settings(run, policy), _floats(val["score"]), _labels(val), metadata["score_at_half"]
        )
        stated = asdict(point) | {name: metadata[name] for name in ("domain",) if name in metadata}
        packaged = Path(folder) / "detector.onnx"
        onnx.save(package(scoring, point, metadata), packaged)
        digest = packaged_digest(packaged)
        bootstrap = Bootstrap(settings.resamples, settings.confidence, seed)
        outcomes = {split: _outcomes(scores, split, point) for split in ("val", "test")}
        rates: dict[str, dict[str, Any]] = {
            split: dict(evaluate(of_split, bootstrap, _RATES)) for split, of_split in outcomes.items()
        }
        # registered again, it would take the place of that version, be it the one in Production
        known = version_of(client, version.model, digest)
        if known is not None:
            return Rethresholded(known, False, point, rates)
        run_id = _new_run(client, run, version, policy, stated, rates)
        log_table(client, run_id, scores, SCORES)
        _log_lineage(client, version, run_id, policy, Path(folder))
        picture = Path(folder) / "operating.png"
        save_operating(outcomes, asdict(point), version.detector, picture)
        client.log_artifact(run_id, str(picture))
        log_model(client, run_id, onnx.load(packaged), digest)
        # last, both at once: a run that was cut short belongs to no training, and publish leaves it alone
        client.log_batch(run_id, tags=[RunTag(RUN_KEY, version.run_key), RunTag(DIGEST, digest)])
    about = {name: version.tags[name] for name in (VAL, SPLITS, BASELINE) if name in version.tags}
    made = register_run(client, version.model, run_id, about | {POLICY: policy.policy})
    describe_operating_point(client, made, version, stated, rates)
    return Rethresholded(made, True, point, rates)


def _kept_scores(client: MlflowClient, version: Version, folder: Path) -> pa.Table:
    kept = {item.path for item in client.list_artifacts(version.run_id)}
    if SCORES not in kept:
        raise MedscreenError(
            f"The run of {version.model} version {version.number} keeps no {SCORES} to choose a threshold on; "
            "`dvc repro publish` logs it where the version is the workspace's own."
        )
    return pq.read_table(client.download_artifacts(version.run_id, SCORES, str(folder)))


def _settings(run: Run, policy: Policy) -> OperatingParams:
    """The operating settings that the run was made with, but for the policy."""
    logged = run.data.params
    return OperatingParams.model_validate(
        {
            "threshold": policy,
            "calibration": logged["operating.calibration"],
            "refer": {name: float(logged[f"operating.refer.{name}"]) for name in ("sensitivity", "specificity")},
        }
    )


def _outcomes(scores: pa.Table, split: str, point: OperatingPoint) -> Outcomes:
    rows = scores.filter(pc.field("split") == split)
    values = _floats(rows["score"])
    refer = (values >= point.refer_from) & (values < point.refer_to)
    undecided = np.zeros(len(values), dtype=np.bool_)
    said = Outcomes(_labels(rows), values, undecided, rows["patient"].to_numpy(), None, None, refer)
    return said.at(point.threshold)


def _new_run(
    client: MlflowClient,
    source: Run,
    version: Version,
    policy: Policy,
    stated: Mapping[str, Any],
    rates: Mapping[str, Any],
) -> str:
    """A run that shows the new operating point; what it has in common with the old one is copied."""
    tags = {name: value for name, value in source.data.tags.items() if name in _SHARED_TAGS or "git" in name}
    tags[OPERATING_POINT_OF] = f"version {version.number}"
    run = client.create_run(source.info.experiment_id, run_name=f"{version.detector}, {policy.policy}", tags=tags)
    run_id = str(run.info.run_id)
    shared = {name: value for name, value in source.data.params.items() if not name.startswith(_THRESHOLD)}
    chosen = {f"{_THRESHOLD}{name}": str(value) for name, value in policy.model_dump().items()}
    unchanged = {name: value for name, value in source.data.metrics.items() if _of_scores(name)}
    measured = unchanged | dict(flat_metrics(rates))
    now = int(run.info.start_time)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in measured.items()],
        params=[Param(name, value) for name, value in (shared | chosen).items()],
    )
    client.log_text(run_id, json.dumps(stated, indent=1), "operating.json")
    return run_id


def _log_lineage(client: MlflowClient, version: Version, run_id: str, policy: Policy, folder: Path) -> None:
    """The old version's chain with the new policy in its params.yaml, and the images that it was trained on."""
    kept = {item.path for item in client.list_artifacts(version.run_id)}
    if TRAINED_ON in kept:
        client.log_artifact(run_id, client.download_artifacts(version.run_id, TRAINED_ON, str(folder)))
    if LINEAGE_FILE in kept:
        lineage = json.loads(Path(client.download_artifacts(version.run_id, LINEAGE_FILE, str(folder))).read_text())
        lineage["params.yaml"] = with_policy(lineage["params.yaml"], policy)
        client.log_text(run_id, json.dumps(lineage, indent=1), LINEAGE_FILE)
        client.set_tag(run_id, LINEAGE, lineage_digest(lineage))


def _of_scores(metric: str) -> bool:
    """Whether a logged metric does not depend on the threshold: val/auroc_low, test/brier."""
    split, _, name = metric.partition("/")
    return split in {"val", "test"} and name.removesuffix("_low").removesuffix("_high") in UNCHANGED


def parse_policy(name: str, numbers: Mapping[str, float]) -> Policy:
    """The policy of that name with its numbers; raises pydantic's ValidationError for what is none."""
    policy: Policy = TypeAdapter(Policy).validate_python({"policy": name, **numbers})
    return policy


def _floats(column: pa.ChunkedArray) -> Any:
    return column.to_numpy().astype(np.float64)


def _labels(rows: pa.Table) -> Any:
    return rows["label"].to_numpy().astype(np.int64)
