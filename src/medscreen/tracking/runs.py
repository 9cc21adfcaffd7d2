"""One result, one run: opened while the detector trains, closed with what DVC's files hold."""

import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from medscreen.tracking.detector_results import Result
from medscreen.tracking.logged_models import DIGEST, log_model
from medscreen.tracking.run_state import find_run, is_deleted, kept_names, require_reachable
from medscreen.tracking.server import checkout_mark, on_server
from medscreen.tracking.store import open_experiment, open_store
from medscreen.workspace.atomic_outputs import is_writing, this_writer
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import lineage_digest, source_of

RUN_KEY = "medscreen.run_key"
COMMIT, DIRTY = "mlflow.source.git.commit", "medscreen.dirty"
DETECTOR, DATA = "medscreen.detector", "medscreen.data_digest"
EXPERIMENT = "medscreen.dvc_exp_name"
LINEAGE = "medscreen.lineage_digest"
SCORES, TRAINED_ON, LINEAGE_FILE = "scores.parquet", "trained_on.parquet", "lineage.json"
OPERATING_FILE = "operating.json"
WRITER, _CHECKOUT = "medscreen.writer", "medscreen.checkout"
_PARAMS_AT_ONCE = 100  # MLflow refuses a batch of more
_TRAINED_AT, _REPORTED = "medscreen.trained_at", "medscreen.report_digest"


@contextmanager
def live_run(layout: Layout, dataset: str, detector: str, run_key: str) -> "Iterator[LiveRun]":
    """A run that shows curves while the detector trains; `finish_run` closes it later.

    Runs of the same key whose process ended before that are removed: a killed training leaves one.
    """
    client = open_store(layout)
    experiment = open_experiment(client, layout, dataset)
    for stale in _unfinished(client, layout, experiment, run_key):
        client.delete_run(stale.info.run_id)
    run = client.create_run(
        experiment,
        run_name=detector,
        tags={RUN_KEY: run_key, DETECTOR: detector, **writer_tags(client, layout), **_origin(layout)},
    )
    live = LiveRun(client, run.info.run_id)
    try:
        yield live
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_tag(run.info.run_id, _TRAINED_AT, str(_now_ms()))


class LiveRun:
    """A run to which a training reports its epochs."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def on_epoch(self, epoch: int, terms: Mapping[str, float]) -> None:
        """Logs the named terms of an epoch's loss."""
        now = _now_ms()
        metrics = [Metric(f"epoch/{name}", value, now, epoch) for name, value in terms.items()]
        self._client.log_batch(self._run_id, metrics)


def finish_run(client: MlflowClient, layout: Layout, result: Result, registered: Collection[str] = ()) -> str:
    """The id of the run that shows this result: found, closed, or built again from the files.

    `registered`: the runs of versions of this package; they are brought back where somebody deleted them. Of other runs
    of one result the first stays.
    """
    experiment = open_experiment(client, layout, result.dataset)
    require_reachable(client, client.get_experiment(experiment).artifact_location)
    for run in filter(None, (find_run(client, run_id) for run_id in registered)):
        if is_deleted(run):
            client.restore_run(run.info.run_id)
    known = _find(client, experiment, DIGEST, result.digest)
    known.sort(key=lambda run: run.info.run_id not in registered)
    unfinished = _unfinished(client, layout, experiment, result.run_key)
    if known:
        for extra in [*known[1:], *unfinished]:
            if extra.info.run_id not in registered:
                client.delete_run(extra.info.run_id)
        if experiment_name() in ("", known[0].data.tags.get(EXPERIMENT)):  # an experiment changes no run but its own
            _mend(client, known[0], result)
        return str(known[0].info.run_id)
    for run in unfinished:
        if not _contradicts(run, result):
            run_id, ended = str(run.info.run_id), int(run.data.tags.get(_TRAINED_AT, 0))
            break
        client.delete_run(run.info.run_id)
    else:
        run_id, ended = _rebuild(client, layout, experiment, result), 0
    log_params(client, run_id, result.params)
    _log_report(client, run_id, result)
    log_model(client, run_id, onnx.load(result.packaged), result.digest)
    # the tag goes last: a run without it is closed again, or replaced, by the next publish
    client.set_tag(run_id, DIGEST, result.digest)
    client.set_terminated(run_id, "FINISHED", end_time=ended or _now_ms())
    return run_id


def _contradicts(run: Run, result: Result) -> bool:
    """Whether a publish that was killed has logged other parameters than those of now, which MLflow never changes."""
    return any(run.data.params.get(name, str(value)) != str(value) for name, value in result.params.items())


def _mend(client: MlflowClient, run: Run, result: Result) -> None:
    """Brings a finished run up to date: evaluated anew, cut short, or parts of it lost."""
    run_id = run.info.run_id
    log_params(client, run_id, {name: v for name, v in result.params.items() if name not in run.data.params})
    shown = run.data.metrics.keys() >= {name for name, _ in flat_metrics(result.evaluation)}
    is_reported = run.data.tags.get(_REPORTED) == result.report_digest
    if not (shown and is_reported and _keeps_files(client, run_id, result)):
        _log_report(client, run_id, result)
    if run.info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED")


def _keeps_files(client: MlflowClient, run_id: str, result: Result) -> bool:
    """Whether every file that a run is to show is listed there."""
    if not kept_names(client, run_id) >= {SCORES, TRAINED_ON, LINEAGE_FILE, OPERATING_FILE}:
        return False
    return all(
        {path.name for path in paths} <= {Path(name).name for name in kept_names(client, run_id, folder or None)}
        for folder, paths in result.files.items()
    )


def _unfinished(client: MlflowClient, layout: Layout, experiment: str, run_key: str) -> list[Run]:
    """Runs of that key which show no result, and whose training has ended, well or not."""
    here = writer_tags(client, layout).get(_CHECKOUT)
    return [
        run
        for run in _find(client, experiment, RUN_KEY, run_key)
        if DIGEST not in run.data.tags and (_TRAINED_AT in run.data.tags or not _is_training(run, here))
    ]


def _is_training(run: Run, here: str | None) -> bool:
    """Whether the process that opened a run may still train; those of another checkout can't be seen from `here`."""
    if run.data.tags.get(_CHECKOUT) != here:
        return bool(run.info.status == "RUNNING")
    return is_writing(run.data.tags.get(WRITER, ""))


def writer_tags(client: MlflowClient, layout: Layout) -> dict[str, str]:
    """Tags that say which process trains; on a server also of which checkout, since others may be on other machines."""
    return {WRITER: this_writer()} | ({_CHECKOUT: checkout_mark(layout)} if on_server(client) else {})


def was_cut_short(client: MlflowClient, layout: Layout, run: Run) -> bool:
    """Whether a process of this checkout was writing a run and is gone."""
    tags, here = run.data.tags, writer_tags(client, layout).get(_CHECKOUT)
    return WRITER in tags and tags.get(_CHECKOUT) == here and not is_writing(tags[WRITER])


def _find(client: MlflowClient, experiment: str, tag: str, value: str) -> list[Run]:
    """The runs with that tag, the oldest first."""
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'", order_by=["attributes.start_time ASC"]))


def _rebuild(client: MlflowClient, layout: Layout, experiment: str, result: Result) -> str:
    run = client.create_run(
        experiment,
        run_name=result.detector,
        tags={
            RUN_KEY: result.run_key,
            DETECTOR: result.detector,
            "medscreen.origin": "rebuilt from the files that DVC versions",
            **_origin(layout),
        },
    )
    live = LiveRun(client, run.info.run_id)
    for row in result.history:
        live.on_epoch(int(row["epoch"]), {name: value for name, value in row.items() if name != "epoch"})
    return str(run.info.run_id)


def log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    """Shows all of these, however many: an ensemble has those of its members."""
    logged = [Param(name, str(value)) for name, value in params.items()]
    for start in range(0, len(logged), _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=logged[start : start + _PARAMS_AT_ONCE])


def _log_report(client: MlflowClient, run_id: str, result: Result) -> None:
    now = _now_ms()
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in flat_metrics(result.evaluation)],
        tags=[
            # a package may come out of two trainings: a baseline that learns nothing of what has changed
            RunTag(RUN_KEY, result.run_key),
            RunTag(DATA, result.data_digest),
            RunTag(LINEAGE, lineage_digest(result.lineage)),
        ],
    )
    client.log_inputs(
        run_id,
        [
            DatasetInput(
                Dataset(
                    name=f"{result.dataset}/{split}",
                    digest=about["digest"],
                    source_type="local",
                    source=f"data/curated/{split}",
                    profile=f'{{"num_rows": {about["images"]}}}',
                ),
                [InputTag("mlflow.data.context", split)],
            )
            for split, about in result.data.items()
        ],
    )
    for folder, paths in result.files.items():
        for path in paths:
            client.log_artifact(run_id, str(path), folder or None)
    log_table(client, run_id, result.predictions.select(["split", "patient", "label", "score"]), SCORES)
    log_table(client, run_id, pa.table({"digest": result.trained_on}), TRAINED_ON)
    client.log_text(run_id, json.dumps(result.lineage, indent=1), LINEAGE_FILE)
    client.log_text(run_id, json.dumps(result.operating_point, indent=1), OPERATING_FILE)
    # last: a run without it is reported again
    client.set_tag(run_id, _REPORTED, result.report_digest)


def log_table(client: MlflowClient, run_id: str, table: pa.Table, name: str) -> None:
    """Keeps a table with the run.

    SCORES: scores and labels of `val` and `test`, on which another operating point is chosen. TRAINED_ON: the images
    that no comparison with this detector may use.
    """
    with TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / name)
        client.log_artifact(run_id, str(Path(folder) / name))


def flat_metrics(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """test/auroc, test/auroc_low, test/auroc_high for each estimate; undefined ones are left out."""
    for name, entry in block.items():
        if "value" not in entry:
            yield from flat_metrics(entry, f"{prefix}{name}/")
            continue
        for key, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if entry[key] is not None:
                yield f"{prefix}{name}{suffix}", entry[key]


def experiment_name() -> str:
    """The name that DVC gave the experiment which this process is part of; "" in a repro of the workspace."""
    return os.environ.get("DVC_EXP_NAME", "")


def _origin(layout: Layout) -> dict[str, str]:
    """Tags that say which code and which experiment a run comes from."""
    source = source_of(layout)
    tags = {COMMIT: source["commit"], DIRTY: str(bool(source["uncommitted"])).lower()} if source["commit"] else {}
    for variable in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if value := os.environ.get(variable):
            tags[f"medscreen.{variable.lower()}"] = value
    return tags


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
