"""Studies whose storage was lost, replaced or damaged: a new study has runs of its own, and no records mix."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.studies.journal import JournalMark, open_journal
from medscreen.studies.mlflow_sync import records_of, runs_of
from medscreen.studies.search import begin
from medscreen.studies.study_identity import IDENTITY, LostStudyError, Presence
from medscreen.studies.study_plan import Plan, plan_study
from medscreen.studies.trial_storage import mark_of, open_storage, reached
from medscreen.tracking.store import open_store
from medscreen.tracking.study_runs import StudyIdentity, StudyRuns
from medscreen.workspace.layout import Layout
from studied import COMMAND, STUDIES
from workspaces import change_params, settings_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"),
]

IDENTITY_TAG, LOST = "medscreen.study_identity", "medscreen.lost"
STORAGES = [None, "sqlite:///studies.db"]


@pytest.fixture
def home(studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = Path(shutil.copytree(studied, tmp_path / "home"))
    monkeypatch.chdir(home)  # sqlite:///studies.db lies there
    open_store(layout_of(home))  # says that it has moved
    return home


def layout_of(home: Path) -> Layout:
    return Layout(home, home)


def plan_of(home: Path) -> Plan:
    return plan_study(layout_of(home), settings_of(home), "hog")


def opened(home: Path, address: str | None = None) -> tuple[optuna.Study, StudyRuns]:
    """The study and its runs as the command has them when it begins."""
    plan, layout = plan_of(home), layout_of(home)
    study, identity = begin(open_storage(address, layout), plan)
    return study, runs_of(layout, plan, study, StudyIdentity(plan.name, identity, mark_of(address, layout)))


def tried(home: Path, study: optuna.Study, runs: StudyRuns, *bins: int, left_running: bool = False) -> None:
    """Trials with so many bins, shown in MLflow; the last one is left running."""
    for number, of_trial in enumerate(bins, 1):
        study.enqueue_trial({"features.cells": 2, "features.bins": of_trial, "distance.neighbors": 3})
        waiting = list(study.get_trials(states=[optuna.trial.TrialState.WAITING]))
        while len(waiting) > 1:  # the hand-set one is tried first
            plan_of(home).searched.suggest(trial := study.ask())
            study.tell(trial, 0.5)
            waiting.pop()
        plan_of(home).searched.suggest(trial := study.ask())
        if not (left_running and number == len(bins)):
            study.tell(trial, of_trial / 10)
    runs.show(records_of(study.get_trials(), plan_of(home).searched))


def shown(home: Path) -> list[Run]:
    client = open_store(layout_of(home))
    experiment = client.get_experiment_by_name("films-studies")
    runs: list[Run] = client.search_runs([experiment.experiment_id], max_results=1000)
    return runs


def parents(home: Path) -> list[Run]:
    return [run for run in shown(home) if "mlflow.parentRunId" not in run.data.tags]


def below(home: Path, parent: str) -> dict[int, Run]:
    """Trial -> its run, those marked as lost left out."""
    runs = [run for run in shown(home) if run.data.tags.get("mlflow.parentRunId") == parent]
    kept = [run for run in runs if LOST not in run.data.tags]
    found = {int(run.data.tags["medscreen.trial"]): run for run in kept}
    assert len(found) == len(kept)
    return found


def assert_agrees(home: Path, study: optuna.Study, parent: str) -> None:
    records = {record.number: record for record in records_of(study.get_trials(), plan_of(home).searched)}
    runs = below(home, parent)
    assert set(runs) == set(records)
    for number, run in runs.items():
        assert run.info.status == records[number].status
        if run.info.status == "FINISHED":
            assert run.data.params == {name: str(value) for name, value in records[number].params.items()}
            assert run.data.metrics["tune/auroc"] == records[number].metrics["tune/auroc"]


def lose(home: Path) -> None:
    shutil.rmtree(home / "studies", ignore_errors=True)
    (home / "studies.db").unlink(missing_ok=True)


@pytest.mark.parametrize("address", STORAGES)
def test_a_study_begun_anew_has_runs_of_its_own(home: Path, address: str | None) -> None:
    study, runs = opened(home, address)
    tried(home, study, runs, 3, 4, 5, left_running=True)
    before = {run.info.run_id: (run.data.params, run.data.metrics) for run in shown(home)}
    lose(home)
    anew, own = opened(home, address)
    tried(home, anew, own, 7, 8)
    assert own.parent != runs.parent
    assert_agrees(home, anew, own.parent)
    lost = [run for run in shown(home) if run.info.run_id in before]
    assert {run.info.run_id: (run.data.params, run.data.metrics) for run in lost} == before
    assert all(LOST in run.data.tags for run in lost)
    assert {run.info.status for run in lost} == {"FINISHED", "KILLED"}  # none for ever RUNNING
    again, same = opened(home, address)
    assert same.parent == own.parent
    assert_agrees(home, again, own.parent)
    assert len(parents(home)) == 2


@pytest.mark.parametrize("address", STORAGES)
def test_a_study_that_was_deleted_and_begun_anew_has_runs_of_its_own(home: Path, address: str | None) -> None:
    study, runs = opened(home, address)
    tried(home, study, runs, 3, 4)
    optuna.delete_study(study_name=study.study_name, storage=open_storage(address, layout_of(home)))
    anew, own = opened(home, address)
    tried(home, anew, own, 5)
    assert own.parent != runs.parent
    assert_agrees(home, anew, own.parent)


def test_a_journal_put_back_from_a_backup_shows_its_own_trials(home: Path) -> None:
    """Its study is the same one; a trial of the same number has other parameters now."""
    study, runs = opened(home)
    tried(home, study, runs, 3)
    shutil.copytree(home / "studies", home / "backup")
    tried(home, study, runs, 4, 5)
    lose(home)
    shutil.copytree(home / "backup", home / "studies")
    again, same = opened(home)
    assert same.parent == runs.parent
    tried(home, again, same, 7, 8, 6)
    assert_agrees(home, again, same.parent)
    assert sum(LOST in run.data.tags for run in shown(home)) == 2


def test_a_study_of_another_storage_is_not_lost(home: Path) -> None:
    study, runs = opened(home)
    tried(home, study, runs, 3)
    other, others = opened(home, "other.journal")
    tried(home, other, others, 4)
    assert others.parent != runs.parent
    again, same = opened(home)
    assert same.parent == runs.parent
    assert_agrees(home, again, runs.parent)
    assert_agrees(home, other, others.parent)
    assert not any(LOST in run.data.tags for run in shown(home))


@pytest.mark.parametrize("address", STORAGES)
def test_a_study_goes_on_in_another_time_zone(home: Path, address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    study, runs = opened(home, address)
    tried(home, study, runs, 3, 4)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Kathmandu")  # 5 h 45 min from Greenwich
        time.tzset()
        again, same = opened(home, address)
        tried(home, again, same, 5)
    time.tzset()
    assert not any(LOST in run.data.tags for run in shown(home))
    assert set(below(home, same.parent)) == {0, 1, 2, 3}


def as_an_earlier_medscreen_left_it(home: Path) -> None:
    """Without an identity, in journal and runs."""
    journal = layout_of(home).studies_journal
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if IDENTITY not in line))
    client = open_store(layout_of(home))
    for run in shown(home):
        for tag in (IDENTITY_TAG, "medscreen.study_storage"):
            if tag in run.data.tags:
                client.delete_tag(run.info.run_id, tag)


def test_a_study_of_an_earlier_medscreen_goes_on_with_its_runs(home: Path) -> None:
    study, runs = opened(home)
    tried(home, study, runs, 3, 4)
    as_an_earlier_medscreen_left_it(home)
    again, same = opened(home)
    assert same.parent == runs.parent
    tried(home, again, same, 5)
    assert_agrees(home, again, same.parent)
    assert len(parents(home)) == 1
    third, still = opened(home)
    assert still.parent == runs.parent
    assert third.user_attrs[IDENTITY] == again.user_attrs[IDENTITY]


def test_runs_of_an_earlier_medscreen_that_show_other_trials_are_not_taken_over(home: Path) -> None:
    study, runs = opened(home)
    tried(home, study, runs, 3, 4)
    as_an_earlier_medscreen_left_it(home)
    kept = (home / "studies").rename(home / "kept")
    anew, own = opened(home)
    tried(home, anew, own, 3, 4)
    assert own.parent != runs.parent
    assert_agrees(home, anew, own.parent)
    lose(home)
    kept.rename(home / "studies")  # what was lost is found again
    again, same = opened(home)
    assert same.parent == runs.parent
    assert_agrees(home, again, same.parent)
    assert {LOST in run.data.tags for run in parents(home) if run.info.run_id == same.parent} == {False}


def test_a_space_in_another_order_is_the_same_study(home: Path) -> None:
    _, runs = opened(home)
    block: dict[str, Any] = json.loads(json.dumps(STUDIES["hog"]))
    space = block["searched"]["gradients"]["space"]
    block["searched"]["gradients"]["space"] = dict(reversed(space.items()))
    change_params(home, studies=STUDIES | {"hog": block})
    assert opened(home)[1].parent == runs.parent


# while it runs


@pytest.mark.parametrize("address", STORAGES)
def test_a_study_that_is_gone_is_noticed(home: Path, address: str | None) -> None:
    study, _ = opened(home, address)
    journal = layout_of(home).studies_journal
    presence = Presence(study, study.user_attrs[IDENTITY], None if address else JournalMark(journal))
    presence.require()
    study.ask()
    presence.require()
    with pytest.raises(LostStudyError):
        replace(presence, identity="another").require()
    optuna.delete_study(study_name=study.study_name, storage=open_storage(address, layout_of(home)))
    with pytest.raises(LostStudyError) as error, presence.required():
        study.get_trials()
    assert "begins a new study" in one_sentence(error)


@pytest.mark.parametrize(
    "gone",
    [
        lambda journal, _: journal.unlink(),
        lambda journal, _: shutil.rmtree(journal.parent),
        lambda journal, other: shutil.copy(other, journal),
        lambda journal, other: other.replace(journal),
        lambda journal, _: journal.write_bytes(b""),
        lambda journal, _: journal.write_bytes(journal.read_bytes()[:200]),
    ],
)
def test_a_journal_that_is_not_the_one_it_was_is_noticed(home: Path, gone: Callable[[Path, Path], object]) -> None:
    other = home / "other.journal"
    optuna.create_study(study_name="other", storage=JournalStorage(JournalFileBackend(str(other))))
    journal = layout_of(home).studies_journal
    study, _ = opened(home)
    presence = Presence(study, study.user_attrs[IDENTITY], JournalMark(journal))
    presence.require()
    gone(journal, other)
    with pytest.raises(LostStudyError):
        presence.require()


def test_half_a_line_that_is_cut_is_no_loss(home: Path) -> None:
    """A worker is killed while it writes, and the one in its place opens the journal."""
    journal = layout_of(home).studies_journal
    opened(home)
    mark = JournalMark(journal)
    assert mark.still_there()
    with journal.open("ab") as file:
        file.write(RECORD[:-9])
    assert mark.still_there()
    open_journal(journal)
    assert mark.still_there()


def start_of_search(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "hog", "--trials", "400", "--workers", "1", *arguments],
        cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_trials(home: Path, address: str | None, command: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    name = plan_of(home).name
    while time.monotonic() < deadline and command.poll() is None:
        time.sleep(0.3)
        storage = open_storage(address, layout_of(home))
        if name in optuna.get_all_study_names(storage):
            trials = optuna.load_study(study_name=name, storage=storage).trials
            if sum(trial.state.is_finished() for trial in trials) >= 2:
                return
    raise AssertionError(command.communicate())


@pytest.mark.parametrize("way", ["deleted in the dashboard", "folder removed", "deleted in a database"])
def test_a_study_that_is_lost_while_it_runs_ends_in_a_sentence(home: Path, way: str) -> None:
    address = STORAGES[1] if way == "deleted in a database" else None
    command = start_of_search(home, *(["--storage", address] if address else []))
    wait_for_trials(home, address, command)
    if way == "folder removed":
        shutil.rmtree(home / "studies")
    else:
        optuna.delete_study(study_name=plan_of(home).name, storage=open_storage(address, layout_of(home)))
    _, wrong = command.communicate(timeout=300)
    assert command.returncode == 2, wrong
    assert "is no longer in its storage" in wrong
    assert len(wrong.strip().splitlines()) == 1
    assert all(run.info.status != "RUNNING" for run in shown(home))
    assert all(LOST in run.data.tags for run in shown(home))
    study, runs = opened(home, address)
    tried(home, study, runs, 7)
    assert_agrees(home, study, runs.parent)
    assert len(parents(home)) == 2


# journals that are none


def journal_with(path: Path, tail: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(study_name="one", storage=JournalStorage(JournalFileBackend(str(path))))
    study.ask()
    with path.open("ab") as file:
        file.write(tail)
    return path


RECORD = b'{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"name":"caf\xc3\xa9"}}\n'


def is_refused(path: Path) -> str:
    before = path.read_bytes()
    with pytest.raises(MedscreenError) as error:
        open_journal(path)
    assert path.read_bytes() == before  # whatever it is, it is somebody's
    return one_sentence(error) if "damaged" not in str(error.value) else str(error.value)


@pytest.mark.parametrize(
    "tail",
    [
        b"\x00" * 40 + b"\n", b"\n", b"garbage\n", b"{}\n", b"[]\n", b"5\n", b'"op_code"\n', b'{"op_code":"0"}\n',
        b'{"level":"info","msg":"another program"}\n', b"\xff\xfe\n", RECORD.replace(b"\xa9", b""), b"{\n" + RECORD,
        b"[" * 100_000 + b"\n", b'{"op_code":99,"worker_id":"w"}\n', b'{"op_code":-1,"worker_id":"w"}\n',
    ],
)  # fmt: skip
def test_a_damaged_line_is_named_and_nothing_is_changed(tmp_path: Path, tail: bytes) -> None:
    path = journal_with(tmp_path / "journal.log", tail)
    whole = path.read_bytes()[: -len(tail)].count(b"\n")
    message = is_refused(path)
    assert f"line {whole + 1} is damaged" in message
    assert "begins a new study" in message
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:whole]))  # head -n
    assert optuna.get_all_study_names(open_journal(path)) == ["one"]


@pytest.mark.parametrize(
    "record",
    [
        b'{"op_code":0,"worker_id":"w"}\n',
        b'{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{}}\n',
        b'{"op_code":0,"worker_id":"w","study_name":"x","directions":[7]}\n',
    ],
)  # fmt: skip
def test_records_that_optuna_cannot_follow_are_refused(tmp_path: Path, record: bytes) -> None:
    assert "is not an Optuna journal" in is_refused(journal_with(tmp_path / "journal.log", record))


@pytest.mark.parametrize(
    "content",
    [b"\n", b"notes of mine\nwithout an end", b"one line", b'{"a": 1}\n', b"\x89PNG\r\n\x1a\n", b"\xef\xbb\xbf"],
)
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert "is not an Optuna journal" in is_refused(path)


def test_a_folder_and_a_device_are_no_journals(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(MedscreenError, match="Name another one with --storage"):
            open_journal(path)
    with pytest.raises(MedscreenError, match="can't be used"):
        open_journal(journal_with(tmp_path / "file") / "below")


@given(tail=st.binary(max_size=60))
@example(tail=RECORD[:-3])
@example(tail=RECORD[:-6])  # in the middle of a letter
@example(tail=b"")
@settings(max_examples=60, deadline=None)
def test_any_tail_is_cut_as_half_a_line_refused_or_read(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    path = journal_with(tmp_path_factory.mktemp("journal") / "journal.log")
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    if b"\n" in tail:
        is_refused(path)
        return
    storage = open_journal(path)
    assert path.read_bytes() == whole
    study = optuna.load_study(study_name="one", storage=storage)
    study.ask()
    assert len(optuna.load_study(study_name="one", storage=open_journal(path)).trials) == 2


def test_a_journal_that_takes_no_more_is_a_sentence(home: Path) -> None:
    journal = str(layout_of(home).studies_journal)
    with pytest.raises(MedscreenError, match="can't be written") as error, reached(None, layout_of(home)):
        raise PermissionError(13, "Permission denied", journal)
    assert "--storage" in one_sentence(error)
    with pytest.raises(PermissionError), reached(None, layout_of(home)):
        raise PermissionError(13, "Permission denied", "elsewhere")
