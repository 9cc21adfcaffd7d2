"""The promotion log: every decision on a registered model, as runs of a separate MLflow experiment.

MLflow's registry has no history. Runs are shared with the store, visible in MLflow's UI and written in one transaction.
The log is append-only except for the state of a decision.
"""

import getpass
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from medscreen.errors import MedscreenError
from medscreen.registry.stages import BusyError, align, move, one_at_a_time
from medscreen.registry.versions import version_in_stage, versions_of
from medscreen.reporting.pages.markdown import inert
from medscreen.runtime.escaping import visible
from medscreen.tracking import names
from medscreen.tracking.run_state import find_run, is_deleted, kept_json
from medscreen.tracking.store import open_experiment
from medscreen.workspace.layout import Layout

_ENTRY, _STATE, _REPORT = "medscreen.entry", "medscreen.state", "decision.json"
_PROPOSED, _DECIDED, _DONE, _WITHDRAWN = "proposed", "decided", "carried out", "withdrawn"
# a parameter, which MLflow never changes: of two concurrent decisions after the same one, only the first is written
_NEXT = "medscreen.next_decision"
# MLflow truncates tags at 8000 characters, which would make an entry unreadable
_NAME_LENGTH, _REASON_LENGTH, _TAG_LENGTH = 120, 3000, 8000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One decision: `action` is publish, promote, rollback or experiment.

    `version` moves to `stage` and `replaced` leaves it; all three are empty if nothing moved. `forced`: the gate had
    refused it. `reason`: the gate's or the user's. The log fills in the rest: `number` counts the decisions, `newest`
    is the latest version at that time, `digest` that of `version` (0 and "" in entries of older releases).
    """

    number: int = 0
    at: str = ""
    by: str = ""
    action: str
    title: str
    reason: str
    version: int | None = None
    stage: str = ""
    replaced: int | None = None
    forced: bool = False
    newest: int = 0
    digest: str = ""


class OvertakenError(MedscreenError):
    """Another client has moved a version since the decision was begun."""


@contextmanager
def deciding(client: MlflowClient, layout: Layout, model: str, wait: bool = False) -> "Iterator[DecisionLog]":
    """Context with a model's settled log, under a lock on its stages for processes of this checkout.

    If another process holds the lock, waits (`wait`) or raises BusyError.
    """
    with one_at_a_time(layout, model, wait):
        log = DecisionLog(client, layout, model)
        log.settle()
        yield log


class DecisionLog:
    """The decisions on one registered model, newest first."""

    def __init__(self, client: MlflowClient, layout: Layout, model: str) -> None:
        self._client, self._model = client, model
        self._experiment = open_experiment(client, layout, f"{model} decisions")
        self._settled = math.inf  # the number of the last decision when `settle` was called

    def entries(self) -> list[tuple[Entry, Run]]:
        """All decisions with their runs."""
        runs = self._client.search_runs([self._experiment], max_results=50_000)
        followers = {value for run in runs for name, value in run.data.params.items() if name.startswith(_NEXT)}
        found = [
            (entry, run)
            for run in runs
            # a proposal of a killed process counts as decided if it became the next decision
            if (entry := _entry(run)) is not None
            and (_state(run) in {_DECIDED, _DONE} or (_state(run) == _PROPOSED and run.info.run_id in followers))
        ]
        return sorted(found, key=lambda pair: -pair[0].number)

    def moves(self) -> list[Entry]:
        """All decisions that moved a version."""
        return [entry for entry, _ in self.entries() if entry.version is not None]

    def choice_of(self, number: int) -> tuple[Entry, int] | None:
        """The manual decision that put this version into Production and its time (ms); None if a repro did."""
        for entry, run in self.entries():
            if entry.stage == "Production" and entry.version == number:
                return None if entry.action == "publish" else (entry, int(run.info.start_time))
        return None

    def report(self, run: Run) -> dict[str, Any]:
        """The report behind a decision; empty if it was lost or never written."""
        return kept_json(self._client, run.info.run_id, _REPORT)

    def record(self, entry: Entry, report: Mapping[str, Any]) -> None:
        """Logs a decision, then carries it out; after a kill, `settle` completes it.

        Raises OvertakenError if another client of the store has moved a version since `settle`, since the decision was
        based on the former state.
        """
        while True:
            entries = self.entries()
            for other, _ in entries:
                if other.number > self._settled and None not in (entry.version, other.version):
                    raise OvertakenError(
                        f"{self._model}: {other.by} was faster: {other.title}. Nothing was changed here. Check "
                        "`medscreen models`, and run the command again if needed."
                    )
            numbered = self._numbered(entry, entries[0][0].number + 1 if entries else 1)
            tags = {
                _ENTRY: json.dumps(asdict(numbered), ensure_ascii=False),
                _STATE: _PROPOSED,
                "mlflow.note.content": inert(numbered.reason)[:_TAG_LENGTH],  # MLflow shows it as Markdown
            }
            run_id = self._client.create_run(self._experiment, run_name=numbered.title, tags=tags).info.run_id
            self._client.log_text(run_id, json.dumps(report, indent=1), _REPORT)
            if self._is_next(run_id, entries[0][1].info.run_id if entries else self._first()):
                break
            self._end(run_id, _WITHDRAWN)
        self._client.set_tag(run_id, _STATE, _DECIDED)
        self._carry_out(numbered, run_id)

    def _numbered(self, entry: Entry, number: int) -> Entry:
        versions = {version.number: version for version in versions_of(self._client, self._model)}
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # in a container, a user id may have no name
            user = f"user {os.getuid()}"
        return replace(
            entry,
            # escaped before truncation: JSON then at most doubles their length
            reason=visible(" ".join(entry.reason.split()))[:_REASON_LENGTH],
            title=visible(entry.title)[:_NAME_LENGTH],
            number=number,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=visible(user)[:_NAME_LENGTH],
            newest=max(versions, default=0),
            digest=versions[entry.version].digest if entry.version in versions else "",
        )

    def _first(self) -> str | None:
        """Id of the run whose parameter names the first decision: that of the oldest version that has a run."""
        for version in reversed(versions_of(self._client, self._model)):
            run = find_run(self._client, version.run_id)
            if run is not None and not is_deleted(run):
                return version.run_id
        return None

    def _is_next(self, run_id: str, former: str | None) -> bool:
        """Logs this run as the decision after `former`; False if another run is logged there."""
        attempt = 0
        while former is not None:
            name = f"{_NEXT}.{attempt}"
            try:
                self._client.log_param(former, name, run_id)
                return True
            except MlflowException:
                follower = self._client.get_run(former).data.params.get(name)
                if follower is None:  # the parameter was rejected for another reason
                    raise
            other = find_run(self._client, follower)
            if other is not None and not is_deleted(other) and _state(other) != _WITHDRAWN:
                return bool(follower == run_id)
            attempt += 1  # the decision that followed was deleted
        return True

    def settle(self) -> None:
        """Carries out pending decisions of killed processes and sets the aliases by the stages."""
        entries = self.entries()
        self._settled = entries[0][0].number if entries else 0
        for place, (entry, run) in enumerate(entries):
            if _state(run) != _DONE:
                # only the last decision is carried out
                self._end(run.info.run_id, _DONE) if place else self._carry_out(entry, run.info.run_id)
        known = {run.info.run_id for _, run in entries}
        for run in self._client.search_runs([self._experiment], f"tags.`{_STATE}` = '{_PROPOSED}'"):
            proposed = _entry(run)
            # a proposal with a later number may still become the next decision
            is_late = proposed is None or proposed.number <= self._settled
            if is_late and run.info.run_id not in known:
                self._end(run.info.run_id, _WITHDRAWN)
        self._align()

    def _carry_out(self, entry: Entry, run_id: str) -> None:
        if entry.version is not None:
            self._mark(entry)
            self._move(entry.stage)
            self._align()
        self._end(run_id, _DONE)

    def _end(self, run_id: str, state: str) -> None:
        """Ends a decision's run; sets the state last, so that `settle` repeats it after a kill."""
        self._client.set_terminated(run_id, "FINISHED" if state == _DONE else "KILLED")
        self._client.set_tag(run_id, _STATE, state)

    def _move(self, stage: str) -> None:
        """Moves the version of the last decision on a stage there; repeats if another decision is logged meanwhile."""
        numbers = {version.number for version in versions_of(self._client, self._model)}
        moved: int | None = None
        while (last := next((m.version for m in self.moves() if m.stage == stage), None)) != moved:
            now = version_in_stage(self._client, self._model, stage)
            if last in numbers and (now is None or now.number != last):
                move(self._client, self._model, last, stage)
            moved = last

    def _align(self) -> None:
        last = {move.stage: move for move in reversed(self.moves())}
        production = last.get("Production")
        moved = {stage: entry.version for stage, entry in last.items()}
        align(self._client, self._model, moved, production.replaced if production else None)

    def _mark(self, entry: Entry) -> None:
        """Tags both versions with the decision, and a rolled-back version so that no repro promotes it."""
        decision = f"{entry.title} by {entry.by} on {entry.at[:10]}: {entry.reason}"[:_REASON_LENGTH]
        tags = {version.number: version.tags for version in versions_of(self._client, self._model)}
        for number in {entry.version, entry.replaced} & tags.keys():
            self._client.set_model_version_tag(self._model, str(number), names.DECISION, decision)
        if entry.action == "rollback" and entry.replaced in tags:
            why = f"version {entry.replaced} was rolled back on {entry.at[:10]}: {entry.reason}"
            self._client.set_model_version_tag(self._model, str(entry.replaced), names.ROLLED_BACK, why)
        elif entry.stage == "Production" and entry.version in tags and names.ROLLED_BACK in tags[entry.version]:
            self._client.delete_model_version_tag(self._model, str(entry.version), names.ROLLED_BACK)


def _entry(run: Run) -> Entry | None:
    """The decision in a run's tag, None for other runs."""
    known = {field.name for field in fields(Entry)}
    try:
        content = json.loads(run.data.tags.get(_ENTRY, ""))
        return Entry(**{name: value for name, value in content.items() if name in known})
    except (ValueError, TypeError, AttributeError):
        return None


def _state(run: Run) -> str:
    return str(run.data.tags.get(_STATE, ""))


def settle_all(client: MlflowClient, layout: Layout, models: Iterable[str]) -> None:
    """Completes pending decisions of these registered models, except those locked by another process."""
    for model in models:
        with suppress(BusyError), deciding(client, layout, model):
            pass
