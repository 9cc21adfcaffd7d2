import os
import pty
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from factories import REPOSITORY
from medscreen.studies.progress_table import live_table, overview, time_left

optuna.logging.set_verbosity(optuna.logging.CRITICAL)
NOON = datetime(2026, 1, 1, 12)
FILL = """
import optuna
optuna.logging.set_verbosity(optuna.logging.CRITICAL)
from medscreen.studies.progress_table import live_table

def objective(trial):
    value = trial.suggest_float("training.learning_rate", 1e-4, 1e-2, log=True)
    trial.report(0.5, 0)
    if trial.number == 2:
        trial.set_user_attr("reason", "behind the others")
        raise optuna.TrialPruned
    show(study.get_trials(deepcopy=False))
    return 0.6 + trial.number / 10

study = optuna.create_study(direction="maximize")
with live_table("cnn phantom", 4) as show:
    study.optimize(objective, n_trials=4)
    show(study.get_trials(deepcopy=False))
"""


def trial(number: int, state: TrialState, value: float | None = None, **options: Any) -> FrozenTrial:
    """One that took `seconds` and ended, or began, `ago` seconds before noon."""
    seconds, ago = timedelta(seconds=options.pop("seconds", 10)), timedelta(seconds=options.pop("ago", 0))
    ended = state.is_finished()
    params = options.pop("params", {"training.learning_rate": 10.0 ** -(2 + number % 3)})
    kinds = {float: FloatDistribution(0, 1), str: CategoricalDistribution(["a" * 30, "b" * 30])}
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        values=options.pop("values", None if value is None else [value]),
        datetime_start=None if state == TrialState.WAITING else NOON - ago - (seconds if ended else timedelta()),
        datetime_complete=NOON - ago if ended else None,
        params=params,
        distributions={name: kinds[type(value)] for name, value in params.items()},
        user_attrs={},
        system_attrs={},
        intermediate_values=options.pop("reported", {}),
    )


def drawn(trials: Sequence[FrozenTrial], width: int = 100, wanted: int = 20) -> list[str]:
    console = Console(width=width, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    with console.file:
        console.print(overview("cnn phantom", wanted, trials, 65, width))
        return console.export_text().splitlines()


MIXED = [
    *(trial(n, TrialState.COMPLETE, 0.7 + n / 100, reported={0: 0.1, 1: 0.2}) for n in range(8)),
    trial(8, TrialState.PRUNED, 0.99, reported={0: 0.99}),
    trial(9, TrialState.FAIL),
    trial(10, TrialState.RUNNING, reported={0: 0.41, 1: 0.42, 2: 0.43}),
    trial(11, TrialState.RUNNING),
    trial(12, TrialState.WAITING),
]


def test_the_best_five_stand_above_those_that_run() -> None:
    lines = drawn(MIXED)
    assert lines[0].strip() == "cnn phantom: 9 of 20 trials"
    assert lines[1].split() == ["trial", "tune", "AUROC", "epochs", "learning_rate"]
    assert [line.split()[0] for line in lines[2:9]] == ["7", "6", "5", "4", "3", "10", "11"]
    assert lines[2].split() == ["7", "0.7700", "2", "0.001"]
    assert lines[7].split() == ["10", "runs", "0.4300", "3", "0.001"]
    assert lines[8].split() == ["11", "runs", "-", "0", "0.0001"]
    assert lines[9].strip() == "8 completed, 1 pruned, 1 failed, 1 queued"
    assert lines[10].startswith("0:01:05 so far, about ")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal_and_none_is_cut(width: int) -> None:
    names = [f"augmentation.block_{i}.strength" for i in range(9)]
    params = dict.fromkeys(names, 0.123456)
    trials = [
        trial(n, TrialState.COMPLETE, 0.5, params={name: value + n / 100 for name, value in params.items()})
        for n in range(3)
    ]
    lines = drawn(trials, width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    shown = lines[1].count("strength")
    assert 0 < shown < 9
    assert lines[1].rstrip().endswith(f"+ {9 - shown} more")
    assert drawn(trials, 400)[1].count("strength") == 9


def test_names_are_as_long_as_it_takes_to_tell_them_apart_and_choices_are_shortened() -> None:
    def of(number: int, letter: str) -> FrozenTrial:
        params: dict[str, Any] = {"layers.dropout": number / 10, "head.dropout": number / 9, "network": letter * 30}
        return trial(number, TrialState.COMPLETE, 0.5, params=params | {"head.width": 0.5})

    lines = drawn([of(0, "a"), of(1, "b")], 120)
    assert lines[1].split()[4:] == ["layers.dropout", "head.dropout", "network"]  # the width never varies
    assert lines[2].split()[-1] == "aaaaaaaaa…aaaaaaaa"


def test_a_second_objective_has_a_column() -> None:
    lines = drawn([trial(0, TrialState.COMPLETE, values=[0.9, 1.5]), trial(1, TrialState.RUNNING)])
    assert "ms an image" in lines[1]
    assert lines[2].split()[:4] == ["0", "0.9000", "1.5", "0"]


def test_a_study_of_which_nothing_is_known_has_no_table() -> None:
    assert [line.strip() for line in drawn([])] == [
        "cnn phantom: 0 of 20 trials", "0 completed, 0 pruned, 0 failed, 0 queued", "0:01:05 so far",
    ]  # fmt: skip


def test_of_many_that_run_some_are_counted() -> None:
    lines = drawn([trial(n, TrialState.RUNNING) for n in range(30)])
    assert "and 22 more running" in [line.strip() for line in lines]
    assert len(lines) < 24


def test_time_left_is_shared_by_those_that_run() -> None:
    done = [trial(n, TrialState.COMPLETE, 0.5, seconds=10) for n in range(4)]
    running = [trial(n + 4, TrialState.RUNNING, ago=5) for n in range(2)]
    assert time_left(10, [*done, *running[:1]], NOON) == 6 * 10 - 5
    assert time_left(10, [*done, *running], NOON) == (6 * 10 - 5 - 5) / 2
    assert time_left(10, done, NOON) is None
    assert time_left(10, running, NOON) is None
    assert time_left(4, [*done, *running], NOON) == 0
    # one that takes far longer than the others, or was killed unnoticed, takes nothing from them
    assert time_left(10, [*done, trial(9, TrialState.RUNNING, ago=5000)], NOON) == 5 * 10
    # two that run can't share one that is missing
    assert time_left(5, [*done, *(trial(n + 4, TrialState.RUNNING) for n in range(2))], NOON) == 10


def test_a_study_taken_up_again_has_not_done_its_former_trials_just_now() -> None:
    former = [trial(n, TrialState.COMPLETE, 0.5, seconds=100, ago=90_000) for n in range(50)]
    assert time_left(52, [*former, trial(50, TrialState.RUNNING)], NOON) == 200


def test_elsewhere_each_trial_is_one_line_when_it_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FILL], env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    lines = [line.split(" s, ") for line in done.stdout.splitlines()]
    assert [begin.rsplit(", ", 1)[0] for begin, _ in lines] == [
        "trial 0 completed: tune AUROC 0.6000", "trial 1 completed: tune AUROC 0.7000",
        "trial 2 pruned: tune AUROC 0.5000", "trial 3 completed: tune AUROC 0.9000",
    ]  # fmt: skip
    assert [end for _, end in lines] == [
        "best so far 0.6000 (trial 0)", "best so far 0.7000 (trial 1)",
        "best so far 0.7000 (trial 1): behind the others", "best so far 0.9000 (trial 3)",
    ]  # fmt: skip


def test_trials_of_before_are_not_told_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    study = optuna.create_study(study_name="cnn", storage=storage, direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 3:
            trial.set_user_attr("reason", "ValueError:\nno memory")
            raise ValueError
        return 0.95 if trial.number == 4 else 0.9 - trial.number / 10

    study.optimize(objective, n_trials=3)
    with live_table("cnn", 5) as show:
        show(study.trials)
        study.optimize(objective, n_trials=2, catch=(ValueError,))
        show(study.trials)
        show(study.trials)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("trial 3 failed, ")
    assert lines[0].endswith("best so far 0.9000 (trial 0): ValueError: no memory")
    assert lines[1].startswith("trial 4 completed: tune AUROC 0.9500, ")
    assert lines[1].endswith("best so far 0.9500 (trial 4)")


def test_on_a_terminal_the_table_stays_where_it_is() -> None:
    ours, theirs = pty.openpty()
    env = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    output = bytearray()

    def listen() -> None:
        try:
            while part := os.read(ours, 65536):
                output.extend(part)
        except OSError:  # the other end was closed
            return

    with subprocess.Popen([sys.executable, "-c", FILL], env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        listener = threading.Thread(target=listen)
        listener.start()
        assert process.wait(timeout=120) == 0
        listener.join(timeout=60)
    os.close(ours)
    text = output.decode()
    assert "cnn phantom: 4 of 4 trials" in text
    assert "\x1b[1A" in text  # it goes up to write over what it wrote before
    assert "trial 0 completed" not in text
    assert "Traceback" not in text
