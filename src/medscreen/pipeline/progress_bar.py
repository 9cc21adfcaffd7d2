"""Progress of a stage: a bar on a terminal, five plain lines otherwise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medscreen.runtime.escaping import Screen, say

Advance = Callable[[str], None]
_PLAIN_LINES = 5


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Yields a function to call after each of `total` steps, with a short status text such as the loss."""
    console = Screen()
    if console.is_terminal:
        columns = (
            TextColumn(what, markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[word]}", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total, word="")
            yield lambda word: bar.update(task, advance=1, word=word)
    else:
        done = 0

        def advance(word: str) -> None:
            nonlocal done
            done += 1
            if done * _PLAIN_LINES // total > (done - 1) * _PLAIN_LINES // total:
                say(f"{what} {done}/{total} {word}".rstrip())

        yield advance
