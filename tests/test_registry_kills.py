"""Killed anywhere in a promotion or a rollback, and two at once: never two in Production, never none."""

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from medscreen.errors import MedscreenError
from medscreen.registry.decision_log import DecisionLog, settle_all
from medscreen.registry.promotion import promote_version, roll_back
from medscreen.registry.stages import BusyError
from medscreen.registry.versions import find_version, versions_of
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]

HALF, WHOLE, POINTS = 2, 3, 15
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["test_registry_kills"])


def promotion(layout: Layout) -> None:
    client, params = open_store(layout), settings_of(layout.workspace)
    half = find_version(client, MODEL, str(HALF))
    promote_version(client, layout, half, "Production", params, "a test")


def rollback(layout: Layout) -> None:
    roll_back(open_store(layout), layout, MODEL, "a test")


def interrupted(home: Path, command: Callable[[Layout], None], point: int, count: Any) -> None:
    """Runs the command and ends at the n-th statement, commit or opened file, as a power cut would."""

    def reached(*_: Any, **__: Any) -> None:
        count.value += 1
        if count.value == point:
            os.kill(os.getpid(), signal.SIGKILL)

    layout = Layout(home, home)
    open_store(layout)
    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, moment, reached)
    sys.addaudithook(lambda name, args: reached() if name == "open" and "mlruns" in str(args[0]) else None)
    command(layout)


def run_until(home: Path, command: Callable[[Layout], None], point: int) -> int:
    """How many moments it came to; `point` 0 lets it end."""
    count = PROCESSES.Value("i", 0)
    process = PROCESSES.Process(target=interrupted, args=(home, command, point, count))
    process.start()
    process.join(120)
    assert process.exitcode == (-signal.SIGKILL if point else 0)
    return int(count.value)


def in_production(layout: Layout) -> list[int]:
    return [version.number for version in versions_of(open_store(layout), MODEL) if version.stage == "Production"]


@pytest.fixture(scope="module")
def before(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A workspace that is ready for the command of that name."""
    ready: dict[str, Path] = {"promotion": published}
    home = Path(shutil.copytree(published, tmp_path_factory.mktemp("ready") / "rollback"))
    process = PROCESSES.Process(target=promotion, args=(Layout(home, home),))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    ready["rollback"] = home
    return ready.__getitem__


@pytest.mark.parametrize(("command", "former", "new"), [(promotion, WHOLE, HALF), (rollback, HALF, WHOLE)])
def test_killed_at_fifteen_points_the_next_command_finds_one_version_in_production(
    before: Callable[[str], Path], tmp_path: Path, command: Callable[[Layout], None], former: int, new: int
) -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(before(command.__name__), tmp_path / name))

    moments = run_until(copy("whole"), command, 0)
    assert moments > POINTS
    ends = set()
    for number in range(POINTS):
        point = 1 + number * (moments - 1) // (POINTS - 1)
        home = copy(f"killed-{point}")
        assert run_until(home, command, point) == point
        layout = Layout(home, home)
        held = in_production(layout)
        assert len(held) == 1, point
        client = open_store(layout)
        settle_all(client, layout, [MODEL])
        log = DecisionLog(client, layout, MODEL)
        assert all(run.info.status == "FINISHED" for _, run in log.entries()), point
        settled = in_production(layout)
        assert settled in ([former], [new]), point
        ends.add(settled[0])
        assert log.moves()[0].version == settled[0]
        aliases = client.get_registered_model(MODEL).aliases
        assert int(aliases["production"]) == settled[0], point
        if settled == [former]:  # it was killed before anything was decided: it can be done again
            command(layout)
        assert in_production(layout) == [new], point
        assert len({entry.number for entry, _ in log.entries()}) == len(log.entries())
    assert ends == {former, new}


def hold(home: Path, started: Any, go_on: Any) -> None:
    """A promotion that stands still where it would move the version."""
    from medscreen.registry import decision_log as decisions

    real = decisions.move

    def slow(*arguments: Any) -> None:
        started.set()
        go_on.wait(120)
        real(*arguments)

    decisions.move = slow
    promotion(Layout(home, home))


def test_of_two_promotions_at_once_one_wins_and_one_says_so(published: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(published, tmp_path / "two"))
    started, go_on = PROCESSES.Event(), PROCESSES.Event()
    first = PROCESSES.Process(target=hold, args=(home, started, go_on))
    first.start()
    assert started.wait(120)
    layout = Layout(home, home)
    for command in (promotion, rollback):
        with pytest.raises(BusyError, match="films-detector: another promotion or rollback is running"):
            command(layout)
    go_on.set()
    first.join(120)
    assert first.exitcode == 0
    assert in_production(layout) == [HALF]
    with pytest.raises(MedscreenError, match="is in Production already"):
        promotion(layout)


def test_whoever_waits_decides_on_what_the_other_left(published: Path, tmp_path: Path) -> None:
    """A repro waits for a promotion and then knows of it."""
    home = Path(shutil.copytree(published, tmp_path / "waits"))
    started, go_on = PROCESSES.Event(), PROCESSES.Event()
    first = PROCESSES.Process(target=hold, args=(home, started, go_on))
    first.start()
    assert started.wait(120)
    second = PROCESSES.Process(target=repro, args=(home,))
    second.start()
    go_on.set()
    first.join(120)
    second.join(120)
    layout = Layout(home, home)
    (last, _), (before, _) = DecisionLog(open_store(layout), layout, MODEL).entries()[:2]
    assert (before.action, before.version, before.replaced) == ("promote", HALF, WHOLE)
    assert (last.action, last.version) == ("publish", None)
    assert "put version 2 into Production" in last.reason
    assert in_production(layout) == [HALF]


def repro(home: Path) -> None:
    from medscreen.pipeline.publish import publish

    publish(Layout(home, home), settings_of(home))
