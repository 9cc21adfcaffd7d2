"""Faults of the system and of MLflow's database as one sentence; the errors are SQLite's and the system's own."""

import base64
import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError, ReadTimeout, RetryError, TooManyRedirects

from factories import one_sentence, unstated
from medscreen.errors import MedscreenError
from medscreen.runtime.system_errors import database_fault, fault, without_secrets
from medscreen.tracking import store
from medscreen.tracking.backups import back_up
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout

FILLING = "insert into t with recursive n(i) as (select 1 union all select i + 1 from n limit 9999) select i from n"


def connected(path: Path, **options: bool) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}", uri=True, timeout=0, **options)


def locked(path: Path) -> None:
    with closing(connected(path)) as other, closing(connected(path)) as mine:
        other.execute("begin exclusive")
        mine.execute("select * from t")


def written(address: str) -> None:
    with closing(sqlite3.connect(address, uri=True)) as connection:
        connection.execute("insert into t values (1)")


def filled(path: Path) -> None:
    with closing(connected(path)) as connection:
        connection.execute("pragma max_page_count = 3")
        connection.execute(FILLING)


def overwritten(path: Path, first: int) -> None:
    with closing(connected(path)) as connection, connection:
        connection.execute(FILLING)
    content = path.read_bytes()
    path.write_bytes(content[:first] + b"\xff" * (len(content) - first))
    with closing(connected(path)) as connection:
        connection.execute("select sum(i) from t").fetchall()


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "locked": (locked, "locked"),
    "read-only": (lambda path: written(f"file:{path}?mode=ro"), "can't be written"),
    "a folder": (lambda path: written(f"file:{path.parent}"), "can't be opened"),
    "no folder": (lambda path: written(f"file:{path.parent / 'none' / 'store'}"), "can't be opened"),
    "full": (filled, "full"),
    "no header": (lambda path: overwritten(path, 0), "is damaged"),
    "a wrong page": (lambda path: overwritten(path, 5000), "is damaged"),
    "other tables": (lambda path: written(f"file:{path.with_name('empty')}"), "is not a database of this MLflow"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_keeps_sqlite_from_a_database_is_told_apart(tmp_path: Path, case: str) -> None:
    path = tmp_path / "store"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table t (i)")
    cause, says = FAULTS[case]
    with pytest.raises(sqlite3.Error) as error:
        cause(path)
    message = database_fault(path, error.value)
    assert not unstated(message, path, says)
    assert ("Move it away" in message) == ("damaged" in says or "not a database" in says)
    assert fault(RuntimeError()) is None
    wrapped = RuntimeError("as SQLAlchemy and MLflow wrap it")
    wrapped.__cause__ = error.value
    assert says in str(fault(wrapped))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with an empty store; tests work on copies."""
    home = tmp_path_factory.mktemp("opened") / "home"
    open_store(Layout(home, home))
    return home


@pytest.fixture
def layout(opened: Path, tmp_path: Path) -> Layout:
    home = Path(shutil.copytree(opened, tmp_path / "home"))
    return Layout(home, home)


def test_a_store_that_another_process_holds_is_locked_and_not_damaged(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(store.sqlite3, "connect", lambda path, **_: connect(path, timeout=0.01))
    database = layout.mlruns / "mlflow.db"
    with closing(connect(database)) as other:
        other.execute("pragma locking_mode = exclusive")
        other.execute("begin exclusive")
        with pytest.raises(MedscreenError, match="is locked") as error:
            open_store(layout)
    assert "Move it away" not in one_sentence(error)
    monkeypatch.undo()
    open_store(layout)


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_store_that_is_none_is_told_and_left_as_it_is(layout: Layout, content: bytes) -> None:
    database = layout.mlruns / "mlflow.db"
    for path in layout.mlruns.glob("mlflow.db*"):
        path.unlink()
    database.write_bytes(content)
    with pytest.raises(MedscreenError, match="Move it away") as error:
        open_store(layout)
    assert str(database) in one_sentence(error)
    assert database.read_bytes() == content
    assert ("is empty" in str(error.value)) == (content == b"")


@pytest.mark.parametrize("content", [b"\xff\xfe/home", b"mlruns", b"/a\0b"])
def test_a_damaged_note_of_the_place_is_one_sentence(layout: Layout, content: bytes) -> None:
    (layout.mlruns / ".location").write_bytes(content)
    with pytest.raises(MedscreenError, match=r"\.location is damaged") as error:
        open_store(layout)
    one_sentence(error)


def test_a_folder_in_the_place_of_a_store_can_not_be_opened(layout: Layout) -> None:
    for path in layout.mlruns.glob("mlflow.db*"):
        path.unlink()
    (layout.mlruns / "mlflow.db").mkdir()
    with pytest.raises(MedscreenError, match="can't be opened") as error:
        open_store(layout)
    one_sentence(error)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "Make room"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "a.csv"), "a.csv: "),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), Path("a.csv")), "a.csv: Read-only file system."),
        (PermissionError(errno.EACCES, "Permission denied", b"a.csv"), "readable and writable"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "Set TMPDIR"),
        (FileExistsError(errno.EEXIST, "File exists", "a"), "a: File exists."),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "a: Is a directory."),
        (OSError("no number"), "The system: no number."),
        (MemoryError(), "The memory is used up"),
    ],
)
def test_a_fault_of_the_system_names_it_and_the_way_out(error: BaseException, says: str) -> None:
    message = str(fault(error))
    assert says in message
    assert message.endswith(".")


def test_a_fault_of_the_code_stays_one() -> None:
    looped = KeyError("x")
    looped.__context__ = ValueError("y")
    looped.__context__.__context__ = looped
    assert fault(looped) is None
    handling = KeyError("x")
    handling.__context__ = OSError(errno.ENOENT, "No such file or directory", "a.csv")
    assert fault(handling) is None


@pytest.mark.parametrize("name", sorted(name for name in dir(sqlite3) if name.startswith("SQLITE_")))
@pytest.mark.parametrize("message", ["no such table: runs", "no such column: x", "UNIQUE constraint failed: x"])
def test_a_store_is_moved_away_only_if_it_is_damaged_or_foreign(name: str, message: str) -> None:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = code = getattr(sqlite3, name)
    damaged = code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    foreign = code & 0xFF == sqlite3.SQLITE_ERROR and message.startswith("no such")
    assert ("Move it away" in database_fault("x", error)) == (damaged or foreign)


def test_an_error_without_a_code_moves_nothing_away() -> None:
    with pytest.raises(sqlite3.ProgrammingError) as error:
        connection = sqlite3.connect(":memory:")
        connection.close()
        connection.execute("select 1")
    assert not unstated(str(fault(error.value)), "Cannot operate on a closed database", "Run the command again")


def test_what_mlflow_answers_is_no_fault_of_its_database(layout: Layout) -> None:
    client = open_store(layout)
    client.create_registered_model("films")
    with pytest.raises(MlflowException) as error:
        client.create_registered_model("films")
    message = str(fault(error.value))
    assert not unstated(message, "MLflow", "Registered Model (name=films) already exists")
    assert "Move it away" not in message


@pytest.mark.parametrize("revision", ["deadbeef", "451aebb31d03"])
def test_a_database_of_another_mlflow_is_backed_up_and_upgraded(layout: Layout, revision: str) -> None:
    with closing(connected(layout.mlruns / "mlflow.db")) as connection, connection:
        connection.execute("update alembic_version set version_num = ?", (revision,))
    with pytest.raises(Exception, match=r"schema|revision") as error:
        open_store(layout).search_experiments()
    message = str(fault(error.value))
    assert not unstated(message, "`medscreen backup`", "`mlflow db upgrade sqlite:///")
    assert back_up(layout, layout.home / "store.tar.gz").runs == 0


def test_an_instruction_is_not_cut() -> None:
    long = "The first sentence. " + "word " * 30 + "`mlflow db upgrade " + "x" * 60 + "` is what to run."
    message = str(fault(MlflowException(long)))
    assert "The first sentence." in message
    assert "mlflow db upgrade" not in message
    assert "..." in str(fault(MlflowException("word " * 100)))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RetryError("too many 500 error responses"), "responds with status 500"),
        (ConnectionError("refused"), "does not respond"),
        (ReadTimeout("late"), "does not respond"),
        (TooManyRedirects("30"), "can't be used"),
    ],
)
def test_only_a_silent_server_does_not_answer(error: Exception, says: str) -> None:
    assert f"The MLflow server {says}" in str(fault(error))


SECRET = st.text(st.characters(exclude_characters="/?#@ ", exclude_categories=["Cs", "Cc", "Z"]), min_size=6)


@given(user=SECRET, password=SECRET, token=SECRET, before=st.text(st.characters(exclude_characters="@:/?"), max_size=9))
def test_secrets_of_an_address_are_in_no_sentence(user: str, password: str, token: str, before: str) -> None:
    address = f"https://{user}:{password}@mlflow.hospital.example/path?token={token}#{token}"
    message = without_secrets(f"{before} API request to {address} failed: {address}")
    assert f"{before} API request to https://mlflow.hospital.example/path failed" in f" {message}"


@given(password=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6))
def test_a_secret_is_in_no_sentence_in_any_form(password: str) -> None:
    pair = base64.b64encode(f"reader:{password}".encode()).decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        for form in (quote(password), quote(password, safe="").lower(), quote_plus(password), pair, pair.rstrip("=")):
            assert without_secrets(f"<{form}>").rstrip(">=") == "<***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("header 'Authorization: Basic cmVhZGVy' and", "header 'Authorization: Basic ***' and"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': 'Bearer ***'}"),
        ("postgresql+psycopg2://u:a b/c@host/db?x=hidden is gone", "postgresql+psycopg2://host/db is gone"),
        ("at http://u:a?b@host/x and http://v:c@host/y", "at http://... and http://host/y"),
        ('no host name "word@host"', 'no host name "host"'),
        ("reader:hidden@host: no address", "host: no address"),
        ("sqlite:////home/me@clinic/mlflow.db", "sqlite:////home/me@clinic/mlflow.db"),
        ("models:/films@champion and fit@cnn", "models:/films@champion and fit@cnn"),
        ("host=h password=hidden user=u", "host=h password=*** user=u"),
    ],
)
def test_what_is_shown_of_a_text_with_secrets(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
