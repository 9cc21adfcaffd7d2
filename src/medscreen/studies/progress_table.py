"""How a study goes, on the terminal: a table that stays where it is, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from medscreen.runtime.escaping import Screen, say
from medscreen.studies.plot_scales import VALUES, number, shortened, varying
from medscreen.studies.trial_attributes import REASON

Show = Callable[[Sequence[FrozenTrial]], None]
_BEST, _RUNNING = 5, 8
_LONGEST = 18  # letters of a cell
_GAP = 2
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)  # what failed is tried again


@contextmanager
def live_table(name: str, wanted: int) -> Iterator[Show]:
    """A function to call about once a second with all trials of the study `name`, of which `wanted` shall end.

    On a terminal it shows the best five, those that run, counts and the time left; elsewhere it prints a line for each
    trial that has ended since this began.
    """
    console, began, start = Screen(), datetime.now(), time.monotonic()
    if not console.is_terminal:
        yield _lines(began)
        return
    with Live(console=console, auto_refresh=False) as live:

        def show(trials: Sequence[FrozenTrial]) -> None:
            seconds = time.monotonic() - start
            live.update(overview(name, wanted, trials, seconds, console.width), refresh=True)

        yield show


def overview(name: str, wanted: int, trials: Sequence[FrozenTrial], seconds: float, width: int) -> Group:
    """What stands on the terminal after so many `seconds`, at most `width` letters wide."""
    count = Counter(trial.state for trial in trials)
    done = sum(count[state] for state in _DONE)
    words = [f"{count[TrialState.COMPLETE]} completed", f"{count[TrialState.PRUNED]} pruned"]
    words += [f"{count[TrialState.FAIL]} failed", f"{count[TrialState.WAITING]} queued"]
    left = time_left(wanted, trials, datetime.now())
    times = f"{_clock(seconds)} so far" + ("" if left is None else f", about {_clock(left)} left")
    head = Text(f"{name}: {done} of {wanted} trials", style="bold", no_wrap=True, overflow="ellipsis")
    tail = Text(f"{', '.join(words)}\n{times}", no_wrap=True, overflow="ellipsis")
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = sorted(completed, key=lambda trial: (-trial.values[0], trial.number))[:_BEST]
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    parts: list[Any] = [head]
    if best or running:
        parts.append(_table(best, running[:_RUNNING], varying(trials), width))
    if len(running) > _RUNNING:
        parts.append(Text(f"and {len(running) - _RUNNING} more that run"))
    return Group(*parts, tail)


def _table(best: Sequence[FrozenTrial], running: Sequence[FrozenTrial], names: Sequence[str], width: int) -> Table:
    """The best and those that run, with as many parameters as the width takes."""
    shown = [*best, *running]
    columns = [["trial", *(str(trial.number) for trial in best), *(f"{trial.number} runs" for trial in running)]]
    columns.append([VALUES[0], *(f"{trial.values[0]:.4f}" for trial in best), *map(_last, running)])
    if any(len(trial.values) > 1 for trial in best):
        columns.append([VALUES[1], *(f"{trial.values[1]:.3g}" for trial in best), *([""] * len(running))])
    columns.append(["epochs", *(str(len(trial.intermediate_values)) for trial in shown)])
    figures = len(columns)
    searched = [
        [label, *(_cell(trial.params[name]) if name in trial.params else "" for trial in shown)]
        for label, name in zip(_short_names(names), names, strict=True)
    ]
    while searched and sum(map(_width, [*columns, *searched])) > width - len(f"+ {len(names)} more"):
        searched.pop()
    columns += searched
    if len(searched) < len(names):
        columns.append([f"+ {len(names) - len(searched)} more", *([""] * len(shown))])
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for i, (head, *_) in enumerate(columns):
        table.add_column(head, no_wrap=True, justify="right" if 0 < i < figures else "left")
    for i, trial in enumerate(shown, start=1):
        style = "dim" if trial.state == TrialState.RUNNING else None
        table.add_row(*(column[i] for column in columns), style=style)
    return table


def _width(column: Sequence[str]) -> int:
    return max(map(len, column)) + _GAP


def _short_names(names: Sequence[str]) -> list[str]:
    """The last part of each dotted name, more of it where two would be the same."""
    short = []
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        alone = (end for end in ends if not any(f".{other}".endswith(f".{end}") for other in names if other != name))
        short.append(shortened(next(alone, name), _LONGEST))
    return short


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return shortened(str(value), _LONGEST)


def _last(trial: FrozenTrial) -> str:
    return f"{trial.intermediate_values[max(trial.intermediate_values)]:.4f}" if trial.intermediate_values else "-"


def time_left(wanted: int, trials: Sequence[FrozenTrial], now: datetime) -> float | None:
    """Seconds until `wanted` trials have ended: what a trial takes on average, shared by those that run.

    None while none has ended or none runs. It asks how long trials took and not when: a study that is taken up again
    has not done its former trials in the time since.
    """
    took = [trial.duration.total_seconds() for trial in trials if trial.state in _DONE and trial.duration]
    running = [trial for trial in trials if trial.state == TrialState.RUNNING and trial.datetime_start]
    missing = wanted - sum(trial.state in _DONE for trial in trials)
    if missing <= 0:
        return 0.0
    if not took or not running:
        return None
    each = sum(took) / len(took)
    begun = sum(min((now - (trial.datetime_start or now)).total_seconds(), each) for trial in running)
    return max(each * missing - begun, 0.0) / min(len(running), missing)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _lines(began: datetime) -> Show:
    told: set[int] = set()

    def show(trials: Sequence[FrozenTrial]) -> None:
        ended = [trial for trial in trials if trial.datetime_complete and trial.datetime_complete >= began]
        for trial in sorted(ended, key=lambda trial: (trial.datetime_complete or began, trial.number)):
            if trial.number not in told:
                told.add(trial.number)
                say(_line(trial, [other for other in trials if _before(other, trial)]))

    return show


def _before(other: FrozenTrial, trial: FrozenTrial) -> bool:
    """Whether it was completed when `trial` ended."""
    if other.state != TrialState.COMPLETE or other.datetime_complete is None or trial.datetime_complete is None:
        return False
    return other.datetime_complete <= trial.datetime_complete


def _line(trial: FrozenTrial, completed: Sequence[FrozenTrial]) -> str:
    word = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}.get(trial.state, "failed")
    said = f"trial {trial.number} {word}"
    if trial.values:
        said += f": {VALUES[0]} {trial.values[0]:.4f}"
    if trial.duration:
        said += f", {trial.duration.total_seconds():.1f} s"
    if completed:
        best = max(completed, key=lambda other: (other.values[0], -other.number))
        said += f", best so far {best.values[0]:.4f} (trial {best.number})"
    reason = trial.user_attrs.get(REASON)
    return f"{said}: {' '.join(str(reason).split())}" if reason else said
