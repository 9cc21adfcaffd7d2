"""A study in MLflow: one parent run, one child a trial; what the study's storage says, they say after it."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from medscreen.digests import file_digest
from medscreen.layout import Layout
from medscreen.tracking.models import keeps_graph, log_model
from medscreen.tracking.results import STUDY, TRIAL
from medscreen.tracking.runs import DETECTOR, log_params
from medscreen.tracking.store import open_experiment, open_store

_REASON = "medscreen.reason"
_PARENT, _PARENT_OF, _REPORTED = "mlflow.parentRunId", "medscreen.parent_of", "epoch/tune_auroc"
_AT_ONCE = 1000  # metrics that MLflow takes in one batch


@dataclass(frozen=True)
class TrialRecord:
    """A trial as it is to be shown; times in milliseconds since 1970.

    `status`: RUNNING, FINISHED, KILLED (pruned) or FAILED. `reported`: epoch -> AUROC on tune. `curves`: what else is
    known of each epoch when the trial has ended, a row each, its number under `epoch`.
    """

    number: int
    status: str
    started: int
    ended: int | None
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    reported: Mapping[int, float]
    curves: Sequence[Mapping[str, float]]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reason: str = ""


@dataclass
class _Shown:
    run_id: str
    status: str
    epochs: int


class StudyRuns:
    """The runs of one study, found again or made; a run that was shown otherwise is corrected, none is made twice.

    `about`: the parent run's parameters, always the same of one study. `strategy`: tags of it, which may change.
    """

    def __init__(
        self,
        layout: Layout,
        dataset: str,
        detector: str,
        study: str,
        about: Mapping[str, Any],
        strategy: Mapping[str, Any],
    ) -> None:
        self._client: MlflowClient = open_store(layout)
        self._detector, self._study = detector, study
        self._experiment = open_experiment(self._client, layout, f"{dataset}-studies")
        self.parent = self._find_parent() or self._make_parent()
        log_params(self._client, self.parent, about)  # again: equal ones are taken, and a killed command logged none
        tags = [RunTag(f"medscreen.{name}", str(value)) for name, value in strategy.items()]
        self._client.log_batch(self.parent, tags=tags)
        self._shown = {int(run.data.tags[TRIAL]): self._as_shown(run) for run in self._children()}

    def show(self, records: Iterable[TrialRecord]) -> None:
        """Brings the trials' runs up to date."""
        for record in records:
            shown = self._shown.get(record.number)
            if shown is None:
                shown = self._shown[record.number] = _Shown(self._make_child(record), "RUNNING", 0)
            if shown.status == record.status != "RUNNING":
                continue
            self._log(shown, record)
            if record.status != shown.status:
                self._client.set_terminated(shown.run_id, record.status, end_time=record.ended)
                shown.status = record.status

    def end(self, metrics: Mapping[str, float], tags: Mapping[str, str], folder: Path) -> None:
        """Closes the parent run with the study's figures, and the files of a folder."""
        self._client.log_batch(
            self.parent,
            [Metric(name, value, _now_ms(), 0) for name, value in metrics.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        self._client.log_artifacts(self.parent, str(folder))
        self._client.set_terminated(self.parent, "FINISHED")

    def stop(self) -> None:
        """Says of the parent run, unless it has ended, that it was stopped; the next search opens it again."""
        if self._client.get_run(self.parent).info.status == "RUNNING":
            self._client.set_terminated(self.parent, "KILLED")

    def log_model(self, record: TrialRecord, graph: Path) -> None:
        """Logs a trial's model, unless it has one."""
        run_id = self._shown[record.number].run_id
        if not keeps_graph(self._client, run_id):
            log_model(self._client, run_id, onnx.load(graph), file_digest(graph))
            # which has opened the run once more: its end is that of the trial
            self._client.set_terminated(run_id, record.status, end_time=record.ended)

    def _log(self, shown: _Shown, record: TrialRecord) -> None:
        ended = record.status != "RUNNING"
        new = {epoch: value for epoch, value in record.reported.items() if epoch > shown.epochs}
        shown.epochs = max(record.reported, default=0)
        metrics = [Metric(_REPORTED, value, record.started, epoch) for epoch, value in new.items()]
        if ended:
            metrics += [Metric(name, value, record.started, 0) for name, value in record.metrics.items()]
            metrics += [
                Metric(f"epoch/{name}", value, record.started, int(row["epoch"]))
                for row in record.curves
                for name, value in row.items()
                if name != "epoch"
            ]
        tags = [RunTag(_REASON, record.reason)] if record.reason else []
        params = [Param(name, str(value)) for name, value in record.params.items()] if ended else []
        if metrics or tags or params:
            self._client.log_batch(shown.run_id, metrics[:_AT_ONCE], params, tags)
        for start in range(_AT_ONCE, len(metrics), _AT_ONCE):
            self._client.log_batch(shown.run_id, metrics[start : start + _AT_ONCE])
        if ended:
            for name, content in record.files.items():
                self._client.log_dict(shown.run_id, dict(content), name)

    def _find_parent(self) -> str | None:
        found = self._client.search_runs(
            [self._experiment], f"tags.`{_PARENT_OF}` = '{self._study}'", order_by=["attributes.start_time ASC"]
        )
        if not found:
            return None
        self._client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)

    def _make_parent(self) -> str:
        tags = {STUDY: self._study, _PARENT_OF: self._study, DETECTOR: self._detector}
        run = self._client.create_run(self._experiment, run_name=self._study, tags=tags)
        return str(run.info.run_id)

    def _children(self) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while token != "":
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_PARENT}` = '{self.parent}'", max_results=1000, page_token=token
            )
            found += page
            token = page.token or ""
        return found

    def _as_shown(self, run: Run) -> _Shown:
        epochs = 0
        if run.info.status == "RUNNING":
            history = self._client.get_metric_history(run.info.run_id, _REPORTED)
            epochs = max((metric.step for metric in history), default=0)
        return _Shown(run.info.run_id, run.info.status, epochs)

    def _make_child(self, record: TrialRecord) -> str:
        run = self._client.create_run(
            self._experiment,
            start_time=record.started,
            run_name=f"trial {record.number}",
            tags={_PARENT: self.parent, STUDY: self._study, TRIAL: str(record.number), DETECTOR: self._detector},
        )
        return str(run.info.run_id)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
