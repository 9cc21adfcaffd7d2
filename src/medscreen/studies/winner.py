"""Choice of a study's winner: the best trials and the hand-set entry are retrained in full with several seeds."""

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
    """A retrained entry; `trial`: None for the hand-set entry; `graphs`, `tune`: graph and AUROC on tune for each seed.

    `is_own`: it is the roster's entry.
    """

    trial: FrozenTrial | None
    entry: DetectorParams
    graphs: Mapping[int, Path]
    tune: Sequence[float]
    is_own: bool

    @property
    def title(self) -> str:
        """Name of the candidate in messages and reports."""
        number = "" if self.trial is None else f"trial {self.trial.number}"
        return "hand-set" if not number else f"{number}, applied" if self.is_own else number

    @property
    def mean(self) -> float:
        """Mean AUROC on tune over the seeds."""
        return float(np.mean(self.tune))


@dataclass(frozen=True)
class Choice:
    """The candidates, best first; `val`: mean AUROC on `val` over the seeds, for the winner and the hand-set entry.

    `val` is evaluated after the choice.
    """

    candidates: Sequence[Candidate]
    val: Mapping[str, float]

    @property
    def winner(self) -> Candidate:
        """The candidate with the highest mean AUROC on tune; in a tie the hand-set entry."""
        return self.candidates[0]

    @property
    def optimism(self) -> float:
        """Optimism of the selection: the winner's mean AUROC on tune minus its mean on val."""
        return self.winner.mean - self.val[self.winner.title]


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Completed trials with distinct parameters by falling AUROC; for two objectives, those on the Pareto front."""
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
    """Retrains the best trials and the hand-set entry, except finished trainings, and chooses by AUROC on tune.

    `on_trained` is called with the number of finished trainings, their total, and the reason of a failure, which drops
    the candidate. None without a completed trial. Raises MedscreenError if every candidate has a failed training.
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
        raise MedscreenError("None of the best trials could be retrained; the reasons are printed above.")
    candidates.sort(key=lambda candidate: -candidate.mean)  # stable: the hand-set entry is first in a tie
    val = curated_images(layout, "val")
    compared = {c.title: c for c in candidates if c is candidates[0] or c.is_own}
    return Choice(
        candidates,
        {title: float(np.mean([_auroc(p, val) for p in c.graphs.values()])) for title, c in compared.items()},
    )


def _train(pool: WorkerPool, tasks: list[Again], on_trained: Callable[[int, int, str | None], None]) -> set[Path]:
    """Runs all tasks; returns the graphs of trainings that failed or whose process died twice."""
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
    """Path of a training's graph, determined by settings, data and code."""
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
    """Logs choice and files of `folder` to the study's parent run, and models to the runs of the best trials."""
    runs, plan = search.runs, search.plan
    for candidate in choice.candidates:
        if candidate.trial is None or (search.shared and not is_at(search.place, candidate.trial)):
            continue
        runs.log_model(record_of(candidate.trial, plan.searched), candidate.graphs[plan.params.confirm.seeds[0]])
    winner = choice.winner
    metrics = {"tune/auroc": winner.mean, "val/auroc": choice.val[winner.title], "optimism": choice.optimism}
    runs.end(metrics, {"medscreen.winner": winner.title}, folder)
