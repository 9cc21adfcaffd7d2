"""The promotion log: every decision on a registered model, kept as runs of an MLflow experiment of its own.

MLflow's registry keeps no history. Runs are shared where the store is, can be looked at in the UI, and one is written
in one transaction. Nothing here is ever removed or rewritten but for the word that a move was carried out.
"""

import getpass
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from medscreen.layout import Layout
from medscreen.pages.markdown import inert
from medscreen.registry.stages import BusyError, align, in_stage, move, one_at_a_time, quiet
from medscreen.registry.versions import DECISION, ROLLED_BACK
from medscreen.tracking.store import open_experiment

_ENTRY, _STATE, _REPORT = "medscreen.entry", "medscreen.state", "decision.json"
_DECIDED, _DONE = "decided", "carried out"
# MLflow cuts a tag at 8000 characters, and an entry that is cut can't be read
_NAME_LENGTH, _REASON_LENGTH = 120, 3000


@dataclass(frozen=True)
class Entry:
    """One decision: `number` counts them, `action` is publish, promote or rollback.

    `version` goes to `stage` and `replaced` leaves it; all three are empty where nothing moved. `forced`: the gate had
    refused it. `reason` is the gate's, or the person's.
    """

    number: int
    at: str
    by: str
    action: str
    title: str
    reason: str
    version: int | None = None
    stage: str = ""
    replaced: int | None = None
    forced: bool = False


class DecisionLog:
    """The decisions on one registered model, the newest first."""

    def __init__(self, client: MlflowClient, layout: Layout, model: str) -> None:
        self._client, self._model = client, model
        self._experiment = open_experiment(client, layout, f"{model} decisions")

    def entries(self) -> list[tuple[Entry, Run]]:
        """Every decision with the run that keeps it."""
        runs = self._client.search_runs([self._experiment], max_results=50_000)
        found = [(Entry(**json.loads(run.data.tags[_ENTRY])), run) for run in runs if _ENTRY in run.data.tags]
        return sorted(found, key=lambda pair: -pair[0].number)

    def moves(self) -> list[Entry]:
        """Every decision that moved a version."""
        return [entry for entry, _ in self.entries() if entry.version is not None]

    def choice_of(self, number: int) -> tuple[Entry, int] | None:
        """The decision of a person that put this version into Production, and its time (ms); None if a repro did."""
        for entry, run in self.entries():
            if entry.stage == "Production" and entry.version == number:
                return None if entry.action == "publish" else (entry, int(run.info.start_time))
        return None

    def report(self, run: Run) -> dict[str, Any]:
        """The numbers behind a decision; empty where the writer was killed before it could keep them."""
        if not any(item.path == _REPORT for item in self._client.list_artifacts(run.info.run_id)):
            return {}
        content: dict[str, Any] = json.loads(
            Path(self._client.download_artifacts(run.info.run_id, _REPORT)).read_text()
        )
        return content

    def record(self, entry: Entry, report: Mapping[str, Any]) -> None:
        """Writes a decision down and then carries it out: what a kill leaves undone, `settle` does."""
        numbered = replace(
            entry,
            reason=" ".join(entry.reason.split())[:_REASON_LENGTH],
            number=max((known.number for known, _ in self.entries()), default=0) + 1,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=_user(),
        )
        tags = {
            _ENTRY: json.dumps(asdict(numbered), ensure_ascii=False),
            _STATE: _DECIDED,
            "mlflow.note.content": inert(numbered.reason),  # MLflow shows it as Markdown
        }
        run = self._client.create_run(self._experiment, run_name=numbered.title[:_NAME_LENGTH], tags=tags)
        self._client.log_text(run.info.run_id, json.dumps(report, indent=1), _REPORT)
        self._carry_out(numbered, run.info.run_id)

    def settle(self) -> None:
        """Carries out what a killed process had decided, and makes the aliases agree with the stages."""
        entries = self.entries()
        for entry, run in entries[:1]:
            if run.data.tags.get(_STATE) != _DONE:
                self._carry_out(entry, run.info.run_id)
        self._align()

    def _carry_out(self, entry: Entry, run_id: str) -> None:
        if entry.version is not None:
            self._mark(entry)
            held = in_stage(self._client, self._model, entry.stage)
            if held is None or int(held.version) != entry.version:
                move(self._client, self._model, entry.version, entry.stage)
            self._align()
        self._client.set_terminated(run_id, "FINISHED")
        self._client.set_tag(run_id, _STATE, _DONE)

    def _align(self) -> None:
        moves = self.moves()
        last = {stage: next((m for m in moves if m.stage == stage), None) for stage in ("Staging", "Production")}
        production = last["Production"]
        align(
            self._client,
            self._model,
            {stage: entry.version for stage, entry in last.items() if entry},
            production.replaced if production else None,
        )

    def _mark(self, entry: Entry) -> None:
        """Both versions say what became of them; one that is rolled back also that no repro is to promote it."""
        said = f"{entry.title} by {entry.by} on {entry.at[:10]}: {entry.reason}"
        for number in {entry.version, entry.replaced} - {None}:
            self._client.set_model_version_tag(self._model, str(number), DECISION, said[:_REASON_LENGTH])
        if entry.action == "rollback" and entry.replaced is not None:
            why = f"version {entry.replaced} was rolled back on {entry.at[:10]}: {entry.reason}"
            self._client.set_model_version_tag(self._model, str(entry.replaced), ROLLED_BACK, why)
        elif entry.stage == "Production" and ROLLED_BACK in self._tags(entry.version):
            self._client.delete_model_version_tag(self._model, str(entry.version), ROLLED_BACK)

    def _tags(self, version: int | None) -> Mapping[str, str]:
        with quiet():
            tags: Mapping[str, str] = self._client.get_model_version(self._model, str(version)).tags
        return tags


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"user {os.getuid()}"


def settle_all(client: MlflowClient, layout: Layout, models: Iterable[str]) -> None:
    """Repairs what a kill has left of these registered models, but for those that another process is changing now."""
    for model in models:
        with suppress(BusyError), one_at_a_time(layout, model, wait=False):
            DecisionLog(client, layout, model).settle()
