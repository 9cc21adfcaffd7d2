"""Command study: hyperparameter search with Optuna."""

import copy
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from medscreen.cli.params_file import edited
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.params import Params, load_params
from medscreen.errors import MedscreenError
from medscreen.runtime.child_processes import available_cpus
from medscreen.runtime.escaping import say
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import Layout, find_layout

if TYPE_CHECKING:
    from medscreen.studies.search import Search
    from medscreen.studies.study_plan import Plan
    from medscreen.studies.winner import Candidate, Choice


@click.command()
@click.argument("detector")
@click.option("--trials", type=click.IntRange(min=1), help="Total number of trials, including earlier calls.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one per core or GPU.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds after which no new trial starts.")
@click.option("--storage", help="postgresql://USER:PASSWORD@HOST/DATABASE, for several machines, or a journal file.")
@click.option("--apply", "applied", is_flag=True, help="Write the best settings to params.yaml.")
def study(
    detector: str,
    trials: int | None,
    workers: int | None,
    timeout: float | None,
    storage: str | None,
    applied: bool,
) -> None:
    """Searches hyperparameters of DETECTOR with Optuna.

    DETECTOR is an entry of studies: in params.yaml; the objective is AUROC on tune. After an interruption the same
    command resumes. The best trials and the settings in params.yaml are trained again in full before one is chosen; val
    is evaluated after the choice.

    Example: `medscreen study cnn --trials 30 --apply`
    """
    from medscreen.studies.journal import JournalMark
    from medscreen.studies.mlflow_sync import runs_of
    from medscreen.studies.progress_table import live_table
    from medscreen.studies.search import Search, begin
    from medscreen.studies.study_identity import LostStudyError, Presence
    from medscreen.studies.study_plan import plan_study, share_of_cores
    from medscreen.studies.trial_recovery import place_of
    from medscreen.studies.trial_storage import (
        is_shared,
        journal_of,
        lone,
        mark_of,
        open_storage,
        other_studies,
        reached,
    )
    from medscreen.studies.worker import Job
    from medscreen.studies.worker_pool import WorkerPool
    from medscreen.tracking.study_runs import StudyIdentity

    layout = find_layout()
    params = load_params(layout.params)
    plan = plan_study(layout, params, detector)
    number = workers or _usual_workers(params)
    compute = share_of_cores(params.compute, number, available_cpus())
    kept = open_storage(storage, layout)
    for other in other_studies(kept, detector, plan.name):
        say(f"note: the storage also holds {other}, with other data or another search space; it is not changed.")
    wanted = trials or plan.params.trials
    with lone(layout, plan.name), reached(storage, layout):
        found, identity = begin(kept, plan)
        presence = Presence(found, identity, None if is_shared(kept) else JournalMark(journal_of(storage, layout)))
        runs = runs_of(layout, plan, found, StudyIdentity(plan.name, identity, mark_of(storage, layout)))
        job = Job(layout, storage, plan.name, plan.searched, plan.params, compute, plan.seed)
        try:
            with presence.required():
                with WorkerPool(job, number) as pool:
                    with live_table(plan.name, wanted) as show:
                        search = Search(found, plan, pool, runs, show, place_of(layout), is_shared(kept), presence)
                        search.run(wanted, timeout)
                    choice = _choose(layout, search)
                winner = _finish(layout, search, choice)
        except LostStudyError:
            runs.lose()
            raise
        except KeyboardInterrupt:
            say("Stopped. Completed trials are kept; the same command resumes.", err=True)
            raise click.Abort from None
        finally:
            runs.stop()
    if applied and winner is not None:
        _apply(layout, plan, winner)


def _usual_workers(params: Params) -> int:
    from medscreen.studies.worker_pool import visible_gpus

    cpus = available_cpus()
    return min(cpus, len(visible_gpus())) if params.compute.device == "cuda" else cpus


def _choose(layout: Layout, search: "Search") -> "Choice | None":
    from medscreen.studies.winner import choose

    confirm = search.plan.params.confirm
    say(f"training the best {confirm.best} again in full with seeds {', '.join(map(str, confirm.seeds))}")
    return choose(layout, search.study, search.plan, search.pool, _tell_trained)


def _tell_trained(number: int, of: int, why: str | None) -> None:
    say(f"  trained again {number}/{of}" + (f": failed, {why}; this candidate is dropped" if why else ""))


def _finish(layout: Layout, search: "Search", choice: "Choice | None") -> "Candidate | None":
    """Writes the reports, logs the study to MLflow and prints the result; returns the winner, None without a choice."""
    from medscreen.studies.study_files import write_results
    from medscreen.studies.winner import show_choice, winner_record

    plan = search.plan
    folder = layout.study_report(plan.detector)
    write_results(search.study, folder)
    if choice is None:
        search.runs.end({}, {}, folder)
        raise MedscreenError(f"No trial was completed: {folder / 'trials.csv'} lists the reasons.")
    with replaced(layout.study_winner(plan.detector)) as path:
        path.write_text(json.dumps(winner_record(plan, choice), indent=1))
    show_choice(search, choice, folder)
    _tell(choice)
    return choice.winner


def _tell(choice: "Choice") -> None:
    say("AUROC on tune, mean over the seeds, and in the study:")
    for candidate in choice.candidates:
        before = "" if candidate.trial is None else f"  {candidate.trial.values[0]:.4f}"
        say(f"  {candidate.title:10} {candidate.mean:.4f}{before}")
    say("AUROC on val, evaluated after the choice: " + ", ".join(f"{t} {v:.4f}" for t, v in choice.val.items()))
    say(f"Optimism, tune - val: {choice.optimism:+.4f}")
    say(f"Chosen: {choice.winner.title}")


def _apply(layout: Layout, plan: "Plan", winner: "Candidate") -> None:
    if winner.is_own or winner.trial is None:
        say("params.yaml is unchanged: no trial was better than its settings.")
        return
    part, values = plan.searched.values(winner.trial.params)
    accept = partial(_only_this, plan.detector, winner.entry)
    with edited(layout.params, accept) as content:
        roster = content["detectors"]
        if plan.searched.parts[part].entry is None:
            for key, value in values.items():
                _set(roster[plan.detector], key, value)
        else:
            for searched in content["studies"][plan.detector]["searched"].values():
                if searched["entry"] is None:  # null stood for the roster entry, which changes below
                    searched["entry"] = copy.deepcopy(roster[plan.detector])
            roster[plan.detector] = winner.entry.model_dump(mode="json")
    say(f"params.yaml: detectors.{plan.detector} is now {winner.title} of {plan.name}. Next: dvc repro")


def _only_this(detector: str, entry: DetectorParams, before: Params, after: Params) -> None:
    others = {name: other for name, other in before.detectors.items() if name != detector}
    changed = ", ".join(name for name, other in others.items() if after.detectors[name] != other)
    if changed or after.detectors[detector] != entry:
        raise MedscreenError(
            f"params.yaml: detectors.{detector} shares a block with {changed or 'another entry'} by an anchor "
            "(&, *, <<), so that it can't be changed alone. Write the block out and repeat the command with --apply."
        )


def _set(block: Any, key: str, value: Any) -> None:
    *above, last = (int(part) if part.isdigit() else part for part in key.split("."))
    for part in above:
        block = block[part]
    if block[last] != value:
        block[last] = value
