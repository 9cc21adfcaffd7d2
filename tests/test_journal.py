"""Journals of Optuna that lost a line or hold a changed one: Optuna itself would pass over what it can't follow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.studies.journal import open_journal


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Two studies, one of them deleted, and trials of both."""
    path = tmp_path / "studies.journal"
    storage = JournalStorage(JournalFileBackend(str(path)))
    for name in ("first", "second"):
        study = optuna.create_study(storage=storage, study_name=name)
        study.set_user_attr("of", name)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    optuna.delete_study(study_name="first", storage=storage)
    study = optuna.create_study(storage=storage, study_name="first")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    return path


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewritten(path: Path, kept: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in kept))


def test_a_whole_journal_is_read(journal: Path) -> None:
    study = optuna.load_study(study_name="first", storage=open_journal(journal))
    assert len(study.trials) == 1


@pytest.mark.parametrize(
    ("operation", "change", "line"),
    [
        (0, lambda _: None, 1),  # without it the first record is of a study that was never made
        (5, lambda record: record | {"trial_id": 77}, 0),
        (6, lambda record: record | {"trial_id": -1}, 0),
        (6, lambda record: record | {"trial_id": "0"}, 0),
        (4, lambda record: record | {"study_id": 9}, 0),
        (2, lambda record: {key: value for key, value in record.items() if key != "study_id"}, 0),
        (6, lambda record: record | {"op_code": 99}, 0),
        (6, lambda record: record | {"op_code": -1}, 0),
    ],
)
def test_the_line_that_does_not_follow_is_named(
    journal: Path, operation: int, change: Callable[[dict[str, Any]], dict[str, Any] | None], line: int
) -> None:
    kept = records(journal)
    place = next(number for number, record in enumerate(kept) if record["op_code"] == operation)
    changed = change(kept[place])
    rewritten(journal, [*kept[:place], *([changed] if changed else []), *kept[place + 1 :]])
    before = journal.read_bytes()
    with pytest.raises(MedscreenError) as error:
        open_journal(journal)
    message = one_sentence(error)
    assert f"line {line or place + 1} is damaged" in message
    assert ("head -n" in message) == ((line or place + 1) > 1)
    assert journal.read_bytes() == before


def test_a_second_study_of_one_name_makes_none(journal: Path) -> None:
    """Two processes that begin a study at one moment both write it down."""
    kept = records(journal)
    rewritten(journal, [kept[0], *kept])
    open_journal(journal)
    rewritten(journal, [kept[0], *kept, kept[-1] | {"trial_id": 99}])
    with pytest.raises(MedscreenError, match="is damaged"):
        open_journal(journal)
