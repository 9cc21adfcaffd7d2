"""MLflow runs of results: opened during training, finished with the files that DVC versions."""

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

from medscreen.tracking import names
from medscreen.tracking.detector_results import Result
from medscreen.tracking.logged_models import log_model
from medscreen.tracking.run_state import find_run, is_deleted, kept_names, require_reachable
from medscreen.tracking.server import checkout_mark, on_server
from medscreen.tracking.store import open_experiment, open_store
from medscreen.workspace.atomic_outputs import is_writing, this_writer
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import lineage_digest, source_of


@contextmanager
def live_run(layout: Layout, dataset: str, detector: str, run_key: str) -> "Iterator[LiveRun]":
    """Context with a run that shows the training curves; `finish_run` finishes it later.

    Unfinished runs of the same run key, left by killed trainings, are deleted.
    """
    client = open_store(layout)
    experiment = open_experiment(client, layout, dataset)
    for stale in _unfinished(client, layout, experiment, run_key):
        client.delete_run(stale.info.run_id)
    run_id = _open(client, layout, experiment, detector, run_key, writer_tags(client, layout))
    try:
        yield LiveRun(client, run_id)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_tag(run_id, names.TRAINED_AT, str(_now_ms()))


def _open(
    client: MlflowClient, layout: Layout, experiment: str, detector: str, run_key: str, about: Mapping[str, str]
) -> str:
    """Creates a run with tags for code and DVC experiment; returns its id."""
    tags, source = {names.RUN_KEY: run_key, names.DETECTOR: detector, **about}, source_of(layout)
    if source["commit"]:
        tags |= {names.COMMIT: source["commit"], names.DIRTY: str(bool(source["uncommitted"])).lower()}
    for variable in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if value := os.environ.get(variable):
            tags[f"medscreen.{variable.lower()}"] = value
    return str(client.create_run(experiment, run_name=detector, tags=tags).info.run_id)


class LiveRun:
    """A run that receives the metrics of each epoch during training."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def on_epoch(self, epoch: int, terms: Mapping[str, float]) -> None:
        """Logs the terms of an epoch's loss by name."""
        now = _now_ms()
        metrics = [Metric(f"epoch/{name}", value, now, epoch) for name, value in terms.items()]
        self._client.log_batch(self._run_id, metrics)


def finish_run(client: MlflowClient, layout: Layout, result: Result, registered: Collection[str] = ()) -> str:
    """Id of the run of a result: found, finished, or rebuilt from the files.

    `registered`: runs of registered versions of this package; deleted ones are restored. Of other runs of the result
    only the first is kept.
    """
    experiment = open_experiment(client, layout, result.dataset)
    require_reachable(client, client.get_experiment(experiment).artifact_location)
    for run in filter(None, (find_run(client, run_id) for run_id in registered)):
        if is_deleted(run):
            client.restore_run(run.info.run_id)
    known = _find(client, experiment, names.DIGEST, result.digest)
    known.sort(key=lambda run: run.info.run_id not in registered)
    unfinished = _unfinished(client, layout, experiment, result.run_key)
    if known:
        for extra in [*known[1:], *unfinished]:
            if extra.info.run_id not in registered:
                client.delete_run(extra.info.run_id)
        # an experiment changes only its own run
        if experiment_name() in ("", known[0].data.tags.get(names.EXPERIMENT)):
            _mend(client, known[0], result)
        return str(known[0].info.run_id)
    for run in unfinished:
        # immutable in MLflow: parameters logged by a killed publish must match
        logged = run.data.params
        if all(logged.get(name, str(value)) == str(value) for name, value in result.params.items()):
            run_id, ended = str(run.info.run_id), int(run.data.tags.get(names.TRAINED_AT, 0))
            break
        client.delete_run(run.info.run_id)
    else:
        run_id, ended = _rebuild(client, layout, experiment, result), 0
    log_params(client, run_id, result.params)
    _log_report(client, run_id, result)
    log_model(client, run_id, onnx.load(result.packaged), result.digest)
    # the tag is last: the next publish finishes or replaces a run without it
    client.set_tag(run_id, names.DIGEST, result.digest)
    client.set_terminated(run_id, "FINISHED", end_time=ended or _now_ms())
    return run_id


def _mend(client: MlflowClient, run: Run, result: Result) -> None:
    """Updates a finished run after a new evaluation, a kill, or loss of parts."""
    run_id = run.info.run_id
    log_params(client, run_id, {name: v for name, v in result.params.items() if name not in run.data.params})
    has_metrics = run.data.metrics.keys() >= {name for name, _ in flat_metrics(result.evaluation)}
    is_reported = run.data.tags.get(names.REPORTED) == result.report_digest
    if not (has_metrics and is_reported and _keeps_files(client, run_id, result)):
        _log_report(client, run_id, result)
    if run.info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED")


def _keeps_files(client: MlflowClient, run_id: str, result: Result) -> bool:
    """True if the run has all files of the result."""
    own = {names.SCORES, names.TRAINED_ON, names.LINEAGE_FILE, names.OPERATING_FILE}
    own |= set() if result.similar_cases is None else {names.SIMILAR_CASES}
    return kept_names(client, run_id) >= own and all(
        {path.name for path in paths} <= {Path(name).name for name in kept_names(client, run_id, folder or None)}
        for folder, paths in result.files.items()
    )


def _unfinished(client: MlflowClient, layout: Layout, experiment: str, run_key: str) -> list[Run]:
    """Runs of a run key without a result whose training has ended or failed."""
    here = writer_tags(client, layout).get(names.CHECKOUT)

    def may_train(tags: Mapping[str, str], status: str) -> bool:
        if names.TRAINED_AT in tags:
            return False
        # processes of another checkout may run on another machine
        return is_writing(tags.get(names.WRITER, "")) if tags.get(names.CHECKOUT) == here else status == "RUNNING"

    found = [run for run in _find(client, experiment, names.RUN_KEY, run_key) if names.DIGEST not in run.data.tags]
    return [run for run in found if not may_train(run.data.tags, run.info.status)]


def writer_tags(client: MlflowClient, layout: Layout) -> dict[str, str]:
    """Tags that identify the training process and, on a server, the checkout."""
    of_server = {names.CHECKOUT: checkout_mark(layout)} if on_server(client) else {}
    return {names.WRITER: this_writer()} | of_server


def was_cut_short(client: MlflowClient, layout: Layout, run: Run) -> bool:
    """True if the process of this checkout that wrote a run has died."""
    tags, here = run.data.tags, writer_tags(client, layout).get(names.CHECKOUT)
    return names.WRITER in tags and tags.get(names.CHECKOUT) == here and not is_writing(tags[names.WRITER])


def _find(client: MlflowClient, experiment: str, tag: str, value: str) -> list[Run]:
    """The runs with a tag value, oldest first."""
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'", order_by=["attributes.start_time ASC"]))


def _rebuild(client: MlflowClient, layout: Layout, experiment: str, result: Result) -> str:
    origin = {"medscreen.origin": "rebuilt from the files that DVC versions"}
    run_id = _open(client, layout, experiment, result.detector, result.run_key, origin)
    for row in result.history:
        terms = {name: value for name, value in row.items() if name != "epoch"}
        LiveRun(client, run_id).on_epoch(int(row["epoch"]), terms)
    return run_id


def log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    """Logs any number of parameters; MLflow's client splits them into batches."""
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])


def _log_report(client: MlflowClient, run_id: str, result: Result) -> None:
    now = _now_ms()
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in flat_metrics(result.evaluation)],
        tags=[
            # set again: two trainings may give the same package, as for a baseline without parameters
            RunTag(names.RUN_KEY, result.run_key),
            RunTag(names.DATA, result.data_digest),
            RunTag(names.LINEAGE, lineage_digest(result.lineage)),
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
    log_table(client, run_id, result.predictions.select(names.SCORE_COLUMNS), names.SCORES)
    log_table(client, run_id, pa.table({"digest": result.trained_on}), names.TRAINED_ON)
    if result.similar_cases is not None:
        log_table(client, run_id, result.similar_cases, names.SIMILAR_CASES)
    client.log_text(run_id, json.dumps(result.lineage, indent=1), names.LINEAGE_FILE)
    client.log_text(run_id, json.dumps(result.operating_point, indent=1), names.OPERATING_FILE)
    # last: without this tag the report is logged again
    client.set_tag(run_id, names.REPORTED, result.report_digest)


def log_table(client: MlflowClient, run_id: str, table: pa.Table, name: str) -> None:
    """Logs a table to a run as a Parquet file `name`."""
    with TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / name)
        client.log_artifact(run_id, str(Path(folder) / name))


def flat_metrics(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Names and values of all estimates: test/auroc, test/auroc_low, test/auroc_high; without undefined values."""
    for name, entry in block.items():
        if "value" not in entry:
            yield from flat_metrics(entry, f"{prefix}{name}/")
            continue
        for key, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if entry[key] is not None:
                yield f"{prefix}{name}{suffix}", entry[key]


def experiment_name() -> str:
    """Name of the current DVC experiment; "" in a repro of the workspace."""
    return os.environ.get("DVC_EXP_NAME", "")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
