"""Progress display of a study: a live table on a terminal, else one line per trial."""

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
from medscreen.studies.importances import varies
from medscreen.studies.trial_attributes import OBJECTIVES, REASON

Show = Callable[[Sequence[FrozenTrial]], None]
_BEST, _RUNNING = 5, 8
_LONGEST = 18  # characters in a cell
_GAP = 2
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)  # failed trials are repeated
_WORDS = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@contextmanager
def live_table(name: str, wanted: int) -> Iterator[Show]:
    """Context with a display function, to be called about once a second with all trials of the study `name`.

    `wanted`: number of trials to finish. On a terminal it shows the best five trials, running ones, counts and the time
    left; elsewhere it prints a line for each trial that has ended since the start.
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
    """Head line, table of trials (at most `width` characters) and tail with counts and times after `seconds`."""
    count = Counter(trial.state for trial in trials)
    done = sum(count[state] for state in _DONE)
    counts = ", ".join(f"{count[state]} {word}" for state, word in _WORDS.items())
    left = time_left(wanted, trials, datetime.now())
    times = f"{_clock(seconds)} so far" + ("" if left is None else f", about {_clock(left)} left")
    head = Text(f"{name}: {done} of {wanted} trials", style="bold", no_wrap=True, overflow="ellipsis")
    tail = Text(f"{counts}, {count[TrialState.WAITING]} queued\n{times}", no_wrap=True, overflow="ellipsis")
    best = sorted(_completed(trials), key=_rank)[:_BEST]
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    parts: list[Any] = [head]
    if best or running:
        names = dict.fromkeys(name for trial in trials for name in trial.params)
        varied = [name for name in names if varies(name, trials)]
        parts.append(_table([*best, *running[:_RUNNING]], varied, width))
    if len(running) > _RUNNING:
        parts.append(Text(f"and {len(running) - _RUNNING} more running"))
    return Group(*parts, tail)


def _table(trials: Sequence[FrozenTrial], names: Sequence[str], width: int) -> Table:
    """One row per trial, with as many parameters as fit the width."""
    columns = [["trial", *(f"{t.number} runs" if t.state == TrialState.RUNNING else str(t.number) for t in trials)]]
    columns.append([OBJECTIVES[0], *map(_auroc, trials)])
    if any(len(trial.values or ()) > 1 for trial in trials):
        columns.append([OBJECTIVES[1], *(f"{trial.values[1]:.3g}" if trial.values else "" for trial in trials)])
    columns.append(["epochs", *(str(len(trial.intermediate_values)) for trial in trials)])
    figures = len(columns)
    for label, name in zip(_short_names(names), names, strict=True):
        column = [label, *(_cell(trial.params[name]) if name in trial.params else "" for trial in trials)]
        more = f"+ {len(names)} more"
        if sum(max(map(len, each)) + _GAP for each in [*columns, column]) > width - len(more):
            break
        columns.append(column)
    if left := len(names) - (len(columns) - figures):
        columns.append([f"+ {left} more", *([""] * len(trials))])
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for i, (head, *_) in enumerate(columns):
        table.add_column(head, no_wrap=True, justify="right" if 0 < i < figures else "left")
    for i, trial in enumerate(trials, start=1):
        table.add_row(*(column[i] for column in columns), style="dim" if trial.state == TrialState.RUNNING else None)
    return table


def _short_names(names: Sequence[str]) -> list[str]:
    """The last part of each dotted name, or more parts if needed to be unique."""
    short = []
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        alone = (end for end in ends if not any(f".{other}".endswith(f".{end}") for other in names if other != name))
        short.append(_cell(next(alone, name)))
    return short


def _cell(value: Any) -> str:
    """Formats a number to three significant digits; shortens the middle of a long text."""
    if isinstance(value, float):
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+")
    text = str(value)
    end = (_LONGEST - 1) // 2
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1 - end]}…{text[-end:]}"


def _auroc(trial: FrozenTrial) -> str:
    """AUROC of a trial; of a running one, the last reported value."""
    if trial.values:
        return f"{trial.values[0]:.4f}"
    return f"{trial.intermediate_values[max(trial.intermediate_values)]:.4f}" if trial.intermediate_values else "-"


def _completed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.COMPLETE]


def _rank(trial: FrozenTrial) -> tuple[float, int]:
    return -trial.values[0], trial.number


def time_left(wanted: int, trials: Sequence[FrozenTrial], now: datetime) -> float | None:
    """Estimated seconds until `wanted` trials have ended, from the mean duration and the number of running trials.

    None if no trial has ended or none is running. Durations of trials are valid for resumed studies, too.
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
    """A function that prints one line per trial that ended since `began`, in order of completion."""
    printed: set[int] = set()

    def show(trials: Sequence[FrozenTrial]) -> None:
        ended = sorted(
            (trial.datetime_complete, trial.number, trial) for trial in trials if trial.datetime_complete is not None
        )
        for end, number, trial in ended:
            if end >= began and number not in printed:
                printed.add(number)
                say(_line(trial, _completed([other for other_end, _, other in ended if other_end <= end])))

    return show


def _line(trial: FrozenTrial, completed: Sequence[FrozenTrial]) -> str:
    line = f"trial {trial.number} {_WORDS[trial.state]}"
    if trial.values:
        line += f": {OBJECTIVES[0]} {trial.values[0]:.4f}"
    if trial.duration:
        line += f", {trial.duration.total_seconds():.1f} s"
    if completed:
        best = min(completed, key=_rank)
        line += f", best so far {best.values[0]:.4f} (trial {best.number})"
    reason = trial.user_attrs.get(REASON)
    return f"{line}: {' '.join(str(reason).split())}" if reason else line
