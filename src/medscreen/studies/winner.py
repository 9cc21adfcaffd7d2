"""Choice of the winner: the best trials and the hand-set entry are trained again, in full, with other seeds."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from medscreen.config.detectors.roster import DetectorParams
from medscreen.data.images import ImageSet, curated_images
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.studies.mlflow_sync import record_of
from medscreen.studies.search import Search
from medscreen.studies.study_plan import Plan
from medscreen.studies.trial_attributes import HAND_SET
from medscreen.studies.trial_recovery import is_at
from medscreen.studies.trial_scoring import auroc_on
from medscreen.studies.worker import Again
from medscreen.studies.worker_pool import DIED, WorkerPool
from medscreen.workspace.code_digest import code_digest, stage_code
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout


@dataclass(frozen=True)
class Candidate:
    """An entry that was trained again: its trial, None for the hand-set one, and AUROC on tune with each seed.

    `is_own`: it is what the roster has.
    """

    trial: FrozenTrial | None
    entry: DetectorParams
    graphs: Mapping[int, Path]
    tune: Sequence[float]
    is_own: bool

    @property
    def title(self) -> str:
        """Its name in messages and reports."""
        number = "" if self.trial is None else f"trial {self.trial.number}"
        return "hand-set" if not number else f"{number}, applied" if self.is_own else number

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.tune))


@dataclass(frozen=True)
class Choice:
    """The candidates, the best first; AUROC on `val`, the mean over the seeds, of the chosen and the hand-set one.

    `val` was looked at after the choice.
    """

    candidates: Sequence[Candidate]
    val: Mapping[str, float]

    @property
    def winner(self) -> Candidate:
        """The one with the best mean on tune; of equals the hand-set one."""
        return self.candidates[0]

    @property
    def optimism(self) -> float:
        """The winner's mean AUROC on tune, by which it was chosen, minus its mean on val."""
        return self.winner.mean - self.val[self.winner.title]


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials of different parameters, the best AUROC first; of two objectives those on the front."""
    trials = study.best_trials if len(study.directions) > 1 else study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    found: list[FrozenTrial] = []
    for trial in sorted(complete, key=lambda trial: (-trial.values[0], trial.number)):
        if all(trial.params != other.params for other in found):
            found.append(trial)
    return found


def choose(
    layout: Layout,
    study: optuna.Study,
    plan: Plan,
    pool: WorkerPool,
    on_trained: Callable[[int, int, str | None], None],
) -> Choice | None:
    """Trains the best trials and the hand-set entry again, those already trained left out, and chooses by tune.

    `on_trained` gets the number of trainings done, their total, and why one failed: that candidate drops out. None
    where no trial has come to its end. Raises MedscreenError where none can be trained again.
    """
    found = [(trial, plan.searched.entry(trial.params)) for trial in best_trials(study)]
    if not found:
        return None
    own = next((trial for trial, entry in found if entry == plan.own and HAND_SET not in trial.user_attrs), None)
    entries: list[tuple[FrozenTrial | None, DetectorParams]] = [] if plan.own is None else [(own, plan.own)]
    entries += [(trial, entry) for trial, entry in found if entry != plan.own][: plan.params.confirm.best]
    graphs = [{seed: _graph(layout, plan, entry, seed) for seed in plan.params.confirm.seeds} for _, entry in entries]
    pairs = list(zip(entries, graphs, strict=True))
    tasks = [Again(entry, seed, path) for (_, entry), paths in pairs for seed, path in paths.items()]
    failed = _train(pool, [task for task in tasks if not task.graph.is_file()], on_trained)
    tune = curated_images(layout, "tune")
    candidates = [
        Candidate(trial, entry, paths, [_auroc(path, tune) for path in paths.values()], entry == plan.own)
        for (trial, entry), paths in pairs
        if failed.isdisjoint(paths.values())
    ]
    if not candidates:
        raise MedscreenError("None of the best trials could be trained again, in full: the reasons stand above.")
    candidates.sort(key=lambda candidate: -candidate.mean)  # stable: the hand-set one stands first among equals
    val = curated_images(layout, "val")
    compared = {c.title: c for c in candidates if c is candidates[0] or c.is_own}
    return Choice(
        candidates,
        {title: float(np.mean([_auroc(p, val) for p in c.graphs.values()])) for title, c in compared.items()},
    )


def _train(pool: WorkerPool, tasks: list[Again], on_trained: Callable[[int, int, str | None], None]) -> set[Path]:
    """Does all tasks; returns the graphs that are missing since their training failed, or its process died twice."""
    waiting, done, died, failed = list(reversed(tasks)), 0, set[Path](), set[Path]()
    pool.start(len(tasks))
    while done < len(tasks):
        while waiting and pool.idle:
            pool.give(waiting.pop())
        for task, why in pool.ended(1.0):
            if not isinstance(task, Again):
                continue
            if why and why.startswith(DIED) and task.graph not in died:
                died.add(task.graph)
                waiting.append(task)
                continue
            if why:
                failed.add(task.graph)
            done += 1
            on_trained(done, len(tasks), why)
    return failed


def _graph(layout: Layout, plan: Plan, entry: DetectorParams, seed: int) -> Path:
    """The file of a training's graph: equal settings, data and code give the same path."""
    about = {
        "entry": entry.model_dump(),
        "seed": seed,
        "data": plan.data,
        "code": code_digest(stage_code(layout.workspace, "fit", entry.kinds)),
    }
    return layout.scratch / "studies" / f"{digest_of(json.dumps(about, sort_keys=True))}.onnx"


def _auroc(graph: Path, images: ImageSet) -> float:
    return auroc_on(PackagedDetector(graph, 1).score(images.pixels).astype(np.float64), images)


def winner_record(plan: Plan, choice: Choice) -> dict[str, Any]:
    """The content of reports/studies/<detector>/winner.json."""
    winner = choice.winner
    return {
        "study": plan.name,
        "trial": None if winner.trial is None else winner.trial.number,
        "entry": winner.entry.model_dump(mode="json"),
        "seeds": list(plan.params.confirm.seeds),
        "tune_auroc_in_the_study": None if winner.trial is None else winner.trial.values[0],
        "tune_auroc": {candidate.title: list(candidate.tune) for candidate in choice.candidates},
        "val_auroc": dict(choice.val),
        "optimism": choice.optimism,
    }


def show_choice(search: Search, choice: Choice, folder: Path) -> None:
    """Shows the choice and the files of a folder on the study's parent run; the best trials' runs get their models."""
    runs, plan = search.runs, search.plan
    for candidate in choice.candidates:
        if candidate.trial is None or (search.shared and not is_at(search.place, candidate.trial)):
            continue
        runs.log_model(record_of(candidate.trial, plan.searched), candidate.graphs[plan.params.confirm.seeds[0]])
    winner = choice.winner
    metrics = {"tune/auroc": winner.mean, "val/auroc": choice.val[winner.title], "optimism": choice.optimism}
    runs.end(metrics, {"medscreen.winner": winner.title}, folder)
