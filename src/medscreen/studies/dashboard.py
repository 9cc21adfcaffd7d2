"""optuna-dashboard on the studies of a checkout or of a database."""

from contextlib import suppress
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from medscreen.errors import MedscreenError
from medscreen.layout import Layout
from medscreen.ports import require_free_port


class _Server(ThreadingMixIn, WSGIServer):
    """The page asks for several things at once."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A page that looks every few seconds would fill the terminal."""


def serve_dashboard(layout: Layout, port: int, url: str | None) -> None:
    """Serves optuna-dashboard at 127.0.0.1 until Ctrl-C, on the checkout's journal or on the database at `url`.

    Raises MedscreenError where it is not installed, where the port is taken, and where there is no study to show.
    """
    if find_spec("optuna_dashboard") is None:
        raise MedscreenError("optuna-dashboard is not installed: pip install 'medscreen[dashboard]'.")
    require_free_port(port, "medscreen dashboard")
    storage = _database(url) if url else _journal(layout)
    from optuna_dashboard import wsgi

    with make_server("127.0.0.1", port, wsgi(storage), _Server, _Quiet) as server, suppress(KeyboardInterrupt):
        print(f"Studies at http://127.0.0.1:{port} (Ctrl-C ends it).", flush=True)
        server.serve_forever()


def _journal(layout: Layout) -> BaseStorage:
    path = layout.studies_journal
    # the backend would make the file
    if not path.is_file():
        raise MedscreenError(_no_study(str(path)))
    return _with_studies(JournalStorage(JournalFileBackend(str(path))), str(path))


def _database(url: str) -> BaseStorage:
    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError as error:
        raise MedscreenError("--storage is not the address of a database: postgresql+psycopg2://...") from error
    try:
        # who looks changes nothing: no tables where there are none
        storage = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
        return _with_studies(storage, shown)
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        raise MedscreenError(
            f"No studies can be read at {shown}: does it answer, and has a study begun there?"
        ) from error


def _with_studies(storage: BaseStorage, shown: str) -> BaseStorage:
    if not optuna.get_all_study_names(storage):
        raise MedscreenError(_no_study(shown))
    return storage


def _no_study(shown: str) -> str:
    return f"There is no study in {shown} yet: `medscreen study DETECTOR` begins one."
