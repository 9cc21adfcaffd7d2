"""Studies that several commands, as several machines would, search on one PostgreSQL."""

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import psutil
import psycopg2
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from medscreen.layout import Layout
from medscreen.studies.attributes import OWNER, RETRY_OF
from medscreen.studies.plan import plan_study
from medscreen.studies.storage import open_storage
from studied import COMMAND, new_studied, workers_of
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


def test_two_commands_share_a_study_and_one_goes_on_when_the_other_is_killed(database: str, tmp_path: Path) -> None:
    first = new_studied(tmp_path / "first")
    second = Path(shutil.copytree(first, tmp_path / "second"))
    command = [*COMMAND, "hog", "--trials", str(WANTED), "--workers", "1", "--storage", database]
    name = plan_study(Layout(first, first), settings_of(first), "hog").name
    running = [
        subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for home in (first, second)
    ]
    storage = opened(database)
    deadline = time.monotonic() + 300
    while not both_at_work(storage, name) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in (*workers_of(psutil.Process(running[1].pid)), running[1]):
        process.kill()
    said, wrong = running[0].communicate(timeout=600)
    running[1].communicate(timeout=60)
    assert running[0].returncode == 0, said + wrong
    trials = optuna.load_study(study_name=name, storage=storage).trials
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == WANTED
    assert states[TrialState.RUNNING] == 0
    assert len({trial.user_attrs.get(OWNER) for trial in trials if trial.state == TrialState.COMPLETE}) == 2
    lost = [trial.number for trial in trials if trial.state == TrialState.FAIL]
    assert sorted(trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs) == lost


def both_at_work(storage: RDBStorage, name: str) -> bool:
    """Whether each of two processes has ended a trial, and another one runs."""
    if name not in optuna.get_all_study_names(storage):
        return False
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return len({trial.user_attrs.get(OWNER) for trial in trials if trial.state == TrialState.COMPLETE}) == 2


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
