"""MLflow runs of a study, synchronized with its storage: one parent run, and one child run per trial."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from medscreen.tracking import names
from medscreen.tracking.logged_models import keeps_graph, log_model
from medscreen.tracking.runs import log_params
from medscreen.tracking.store import open_experiment, open_store
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout

_REASON, _LOST = "medscreen.reason", "medscreen.lost"
_STUDY_LOST, _TRIAL_LOST = "the study is not in its storage any more", "the trial is not in its study any more"
_IDENTITY, _STORAGE = "medscreen.study_identity", "medscreen.study_storage"
_PARENT, _PARENT_OF, _REPORTED = "mlflow.parentRunId", "medscreen.parent_of", "epoch/tune_auroc"
_QUARTER_MS = 15 * 60 * 1000


@dataclass(frozen=True)
class TrialRecord:
    """Content of a trial's MLflow run; times in milliseconds since 1970.

    `status`: RUNNING, FINISHED, KILLED (pruned) or FAILED. `reported`: epoch -> AUROC on tune. `curves`: one row per
    epoch with `epoch` and the loss terms, available after the trial has ended.
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


@dataclass(frozen=True)
class StudyIdentity:
    """Identity of a study among those of its name, and its storage, in which names are unique."""

    study: str
    identity: str
    storage: str


@dataclass
class _LoggedTrial:
    run_id: str
    status: str
    epochs: int
    started: int
    params: Mapping[str, str]

    def is_of(self, record: TrialRecord) -> bool:
        """True if the run belongs to this trial, and not to a lost one of the same number."""
        # databases store local time: time zones shift the start by multiples of 15 minutes
        return (self.started - record.started) % _QUARTER_MS == 0 and all(
            str(record.params.get(name)) == value for name, value in self.params.items()
        )


class StudyRuns:
    """The MLflow runs of one study, found by its identity or created; updates are idempotent.

    Runs of lost studies of the same name are kept and tagged. `records`: the study's trials; runs of earlier versions
    of medscreen, without an identity, are reused if they match these. `about`: parameters of the parent run.
    `strategy`: tags of the parent run, which may change.
    """

    def __init__(
        self,
        layout: Layout,
        dataset: str,
        detector: str,
        identity: StudyIdentity,
        records: Sequence[TrialRecord],
        about: Mapping[str, Any],
        strategy: Mapping[str, Any],
    ) -> None:
        self._client: MlflowClient = open_store(layout)
        self._detector, self._identity = detector, identity
        self._experiment = open_experiment(self._client, layout, f"{dataset}-studies")
        self.parent = self._found_parent(records) or self._make_parent()
        logged = self._client.get_run(self.parent).data.params  # MLflow parameters are immutable
        log_params(self._client, self.parent, {name: value for name, value in about.items() if name not in logged})
        tags = {f"medscreen.{name}": str(value) for name, value in strategy.items()}
        self._client.log_batch(self.parent, tags=_run_tags(tags))
        children = [run for run in self._children(self.parent) if _LOST not in run.data.tags]
        self._logged_trials = {int(run.data.tags[names.TRIAL]): self._as_logged(run) for run in children}

    def show(self, records: Iterable[TrialRecord]) -> None:
        """Updates the runs of the trials."""
        for record in records:
            logged_trial = self._logged_trials.get(record.number)
            if logged_trial is not None and not logged_trial.is_of(record):
                self._mark_lost(logged_trial.run_id, logged_trial.status, _TRIAL_LOST)
                logged_trial = None
            if logged_trial is None:
                made = _LoggedTrial(self._make_child(record), "RUNNING", 0, record.started, {})
                logged_trial = self._logged_trials[record.number] = made
            if logged_trial.status == record.status != "RUNNING":
                continue
            self._log(logged_trial, record)
            if record.status != logged_trial.status:
                self._client.set_terminated(logged_trial.run_id, record.status, end_time=record.ended)
                logged_trial.status = record.status

    def end(self, metrics: Mapping[str, float], tags: Mapping[str, str], folder: Path) -> None:
        """Logs metrics, tags and the files of `folder` to the parent run and finishes it."""
        self._client.log_batch(
            self.parent,
            [Metric(name, value, _now_ms(), 0) for name, value in metrics.items()],
            tags=_run_tags(tags),
        )
        self._client.log_artifacts(self.parent, str(folder))
        self._client.set_terminated(self.parent, "FINISHED")

    def stop(self) -> None:
        """Ends a running parent run as KILLED; the next search reopens it."""
        if self._client.get_run(self.parent).info.status == "RUNNING":
            self._client.set_terminated(self.parent, "KILLED")

    def lose(self) -> None:
        """Tags the study's runs as lost, since the study is no longer in its storage."""
        self._lose(self._client.get_run(self.parent))

    def log_model(self, record: TrialRecord, graph: Path) -> None:
        """Logs a trial's model, unless it has one."""
        run_id = self._logged_trials[record.number].run_id
        if not keeps_graph(self._client, run_id):
            log_model(self._client, run_id, onnx.load(graph), file_digest(graph))
            # logging a model reopens the run: set the end of the trial again
            self._client.set_terminated(run_id, record.status, end_time=record.ended)

    def _log(self, logged_trial: _LoggedTrial, record: TrialRecord) -> None:
        ended = record.status != "RUNNING"
        new = {epoch: value for epoch, value in record.reported.items() if epoch > logged_trial.epochs}
        logged_trial.epochs = max(record.reported, default=0)
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
        self._client.log_batch(logged_trial.run_id, metrics, params, tags)
        if ended:
            for name, content in record.files.items():
                self._client.log_dict(logged_trial.run_id, dict(content), name)

    def _found_parent(self, records: Sequence[TrialRecord]) -> str | None:
        """Finds and reopens the parent run of this study; tags runs of lost studies of its name."""
        named = f"tags.`{_PARENT_OF}` = '{self._identity.study}'"
        found = list(self._client.search_runs([self._experiment], named, order_by=["attributes.start_time ASC"]))
        ours = [run for run in found if run.data.tags.get(_IDENTITY) == self._identity.identity]
        older = [run for run in found if _IDENTITY not in run.data.tags]
        if not ours:
            ours = [run for run in older if self._shows(run, records)]
        for run in found:
            # studies in another storage may still exist
            here = run in older or run.data.tags.get(_STORAGE) == self._identity.storage
            if here and run not in ours and _LOST not in run.data.tags:
                self._lose(run)
        if not ours:
            return None
        parent, run_id = ours[0], str(ours[0].info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        self._client.log_batch(run_id, tags=_run_tags(self._own_tags()))
        if _LOST in parent.data.tags:  # the study is in its storage again
            for run in [*self._children(run_id), parent]:
                if run.data.tags.get(_LOST) == _STUDY_LOST:
                    self._client.delete_tag(run.info.run_id, _LOST)
        return run_id

    def _shows(self, parent: Run, records: Sequence[TrialRecord]) -> bool:
        """True if all child runs of a parent match the study's trials."""
        children = self._children(parent.info.run_id)
        trials = {record.number: record for record in records}
        return bool(children) and all(
            (record := trials.get(int(run.data.tags[names.TRIAL]))) is not None and self._as_logged(run).is_of(record)
            for run in children
        )

    def _own_tags(self) -> dict[str, str]:
        return {_IDENTITY: self._identity.identity, _STORAGE: self._identity.storage}

    def _lose(self, parent: Run) -> None:
        for run in [*self._children(parent.info.run_id), parent]:
            if _LOST not in run.data.tags:
                self._mark_lost(run.info.run_id, run.info.status, _STUDY_LOST)

    def _mark_lost(self, run_id: str, status: str, what: str) -> None:
        """Tags and ends the run of a trial or study that is no longer in the storage."""
        self._client.set_tag(run_id, _LOST, what)
        if status == "RUNNING":
            self._client.set_terminated(run_id, "KILLED")

    def _make_parent(self) -> str:
        name = self._identity.study
        tags = {names.STUDY: name, _PARENT_OF: name, names.DETECTOR: self._detector, **self._own_tags()}
        return str(self._client.create_run(self._experiment, run_name=name, tags=tags).info.run_id)

    def _children(self, parent: str) -> list[Run]:
        return list(self._client.search_runs([self._experiment], f"tags.`{_PARENT}` = '{parent}'", max_results=50_000))

    def _as_logged(self, run: Run) -> _LoggedTrial:
        epochs = 0
        if run.info.status == "RUNNING":
            history = self._client.get_metric_history(run.info.run_id, _REPORTED)
            epochs = max((metric.step for metric in history), default=0)
        return _LoggedTrial(run.info.run_id, run.info.status, epochs, run.info.start_time, run.data.params)

    def _make_child(self, record: TrialRecord) -> str:
        tags = {
            _PARENT: self.parent,
            names.STUDY: self._identity.study,
            names.TRIAL: str(record.number),
            names.DETECTOR: self._detector,
        }
        name = f"trial {record.number}"
        run = self._client.create_run(self._experiment, start_time=record.started, run_name=name, tags=tags)
        return str(run.info.run_id)


def _run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
