"""optuna-dashboard for the studies of a checkout or a database."""

from contextlib import suppress
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from medscreen.errors import MedscreenError
from medscreen.runtime.ports import require_free_port
from medscreen.studies.trial_storage import existing_storage
from medscreen.workspace.layout import Layout


class _Server(ThreadingMixIn, WSGIServer):
    """Handles the concurrent requests of a page."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Logs nothing: the page polls every few seconds."""


def serve_dashboard(layout: Layout, port: int, address: str | None) -> None:
    """Serves optuna-dashboard at 127.0.0.1 until Ctrl-C, for the checkout's journal or the storage at `address`.

    Raises MedscreenError if it is not installed, the port is in use, or there is no study.
    """
    if find_spec("optuna_dashboard") is None:
        raise MedscreenError("optuna-dashboard is not installed: pip install 'medscreen[dashboard]'.")
    require_free_port(port, "medscreen dashboard")
    storage = existing_storage(address, layout)
    from optuna_dashboard import wsgi

    with make_server("127.0.0.1", port, wsgi(storage), _Server, _Quiet) as server, suppress(KeyboardInterrupt):
        print(f"Studies at http://127.0.0.1:{port} (Ctrl-C ends it).", flush=True)
        server.serve_forever()
