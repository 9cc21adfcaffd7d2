"""Studies that several commands, as several machines would, search on one PostgreSQL."""

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
import psutil
import psycopg2
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from medscreen.studies.study_plan import plan_study
from medscreen.studies.trial_attributes import OWNER, RETRY_OF
from medscreen.studies.trial_recovery import is_at, place_of
from medscreen.studies.trial_storage import open_storage
from medscreen.workspace.layout import Layout
from studied import COMMAND, workers_of
from workspaces import settings_of

WANTED = 12


@pytest.fixture
def database(postgresql: str) -> Iterator[str]:
    """The address of an empty database of its own."""
    plain = postgresql.replace("+psycopg2", "")
    connection = psycopg2.connect(plain)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("drop database if exists studies with (force)")
        cursor.execute("create database studies")
    connection.close()
    yield plain.rpartition("/")[0] + "/studies"


def opened(database: str) -> RDBStorage:
    storage = open_storage(database, Layout(Path(), Path()))
    assert isinstance(storage, RDBStorage)
    return storage


def test_two_commands_share_a_study_and_one_goes_on_when_the_other_is_killed(
    database: str, studied: Path, tmp_path: Path
) -> None:
    first = Path(shutil.copytree(studied, tmp_path / "first"))
    second = Path(shutil.copytree(first, tmp_path / "second"))
    command = [*COMMAND, "hog", "--trials", str(WANTED), "--workers", "1", "--storage", database]
    name = plan_study(Layout(first, first), settings_of(first), "hog").name
    places = [place_of(Layout(home, home)) for home in (first, second)]
    running = [
        subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for home in (first, second)
    ]
    storage = opened(database)
    wait_until(lambda: trials_at(storage, name, places[0], TrialState.COMPLETE))
    with suspended(psutil.Process(running[0].pid)):  # which hands out no more, so that enough is left for the second
        wait_until(lambda: trials_at(storage, name, places[1], TrialState.COMPLETE))
        wait_until(lambda: killed_at_work(running[1], lambda: trials_at(storage, name, places[1], TrialState.RUNNING)))
    message, wrong = running[0].communicate(timeout=600)
    running[1].communicate(timeout=60)
    assert running[0].returncode == 0, message + wrong
    trials = optuna.load_study(study_name=name, storage=storage).trials
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == WANTED
    assert states[TrialState.RUNNING] == 0
    assert all(trials_at(storage, name, place, TrialState.COMPLETE) for place in places)
    (lost,) = (trial for trial in trials if trial.state == TrialState.FAIL)
    (again,) = (trial for trial in trials if RETRY_OF in trial.user_attrs)
    assert again.user_attrs[RETRY_OF] == lost.number
    assert lost.params.items() <= again.params.items()  # it may have ended before it had asked for any


def trials_at(storage: RDBStorage, name: str, place: str, state: TrialState) -> list[FrozenTrial]:
    """The study's trials of that state that a process of that checkout has, or had."""
    if name not in optuna.get_all_study_names(storage):
        return []
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(states=[state])
    return [trial for trial in trials if is_at(place, trial)]


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def killed_at_work(command: subprocess.Popen[str], is_at_work: Callable[[], object]) -> bool:
    """Kills the command and its worker, if that is at a trial."""
    (worker,) = workers_of(psutil.Process(command.pid))
    with suspended(worker):
        if at_work := bool(is_at_work()):
            worker.kill()
            command.kill()
    return at_work


def test_a_machine_that_is_gone_is_noticed_by_its_heartbeat(database: str) -> None:
    storage = opened(database)
    assert storage.heartbeat_interval and storage.heartbeat_interval > 0
    study = optuna.create_study(storage=storage, study_name="one", direction="maximize")
    with pytest.warns(UserWarning, match="Heartbeat"):  # which beats in Study.optimize alone
        trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr(OWNER, "elsewhere/1-1")
    storage.record_heartbeat(trial._trial_id)
    storage.heartbeat_interval, storage.grace_period = 1, 1
    time.sleep(2.5)
    study.optimize(lambda now: now.suggest_float("x", 0, 1), n_trials=1)
    lost, again = study.trials
    assert (lost.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert again.params == lost.params
    assert again.user_attrs == {RETRY_OF: 0}
