"""The store on a server, as far as that needs none; tests/pipeline/test_servers.py has a real one."""

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.layout import Layout
from medscreen.tracking import open_store, serve_ui, server
from servers import free_port

STORE = "the checkout's own store"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, tmp_path)


class _Stranger(BaseHTTPRequestHandler):
    """Says `answer` to everything."""

    answer: tuple[int, bytes] = (200, b"<html>hello</html>")

    def do_POST(self) -> None:
        status, body = self.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Stranger) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def refusal(monkeypatch: pytest.MonkeyPatch, layout: Layout, address: str) -> str:
    """What `open_store` says, having made nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(MedscreenError) as error:
        open_store(layout)
    one_sentence(error)
    assert not layout.mlruns.exists()
    return str(error.value)


@pytest.mark.parametrize(
    "address", ["file:///srv/mlruns", "sqlite:////srv/mlflow.db", "databricks", "/srv/mlruns", "127.0.0.1:5000"]
)
def test_an_address_of_another_kind_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout, address: str) -> None:
    said = refusal(monkeypatch, layout, address)
    assert f"MLFLOW_TRACKING_URI={address} is no http or https address" in said
    assert f"unset it to use {STORE}" in said


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    said = refusal(monkeypatch, layout, address)
    assert f"at {address} (nothing answers within 8 s)" in said
    assert f"unset it to use {STORE}" in said


def test_a_server_that_is_silent_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setattr(server, "_WAIT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        said = refusal(monkeypatch, layout, f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert "(nothing answers within 1 s)" in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, b"<html>hello</html>"), "(<html>hello</html>)"),
        ((404, b""), "(another kind of server)"),
        ((403, b"Invalid Host header"), "(Invalid Host header)"),
        ((401, b"You are not authenticated.\nSet MLFLOW_TRACKING_USERNAME."), "(You are not authenticated. Set"),
    ],
)
def test_what_else_a_server_answers_is_said(
    monkeypatch: pytest.MonkeyPatch, layout: Layout, stranger: str, answer: tuple[int, bytes], says: str
) -> None:
    monkeypatch.setattr(_Stranger, "answer", answer)
    assert says in refusal(monkeypatch, layout, stranger)


def test_a_server_without_tls_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout, stranger: str) -> None:
    assert "(TLS fails there" in refusal(monkeypatch, layout, stranger.replace("http:", "https:"))


def test_a_password_in_the_address_is_not_printed(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    where = f"127.0.0.1:{free_port()}"
    said = refusal(monkeypatch, layout, f"http://reader:se@cret@{where}")
    assert f"at http://{where} (" in said
    assert "cret" not in said
    assert "cret" not in refusal(monkeypatch, layout, "postgresql://reader:secret@127.0.0.1/mlflow")


def test_mlflows_own_patience_comes_back(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    refusal(monkeypatch, layout, f"http://127.0.0.1:{free_port()}")
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_an_empty_variable_means_the_own_store(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert open_store(layout).tracking_uri == f"sqlite:///{layout.mlruns / 'mlflow.db'}"


def test_the_ui_of_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MedscreenError, match="nothing answers"):
        serve_ui(layout, 5000)


def test_the_address_of_the_own_store_is_no_server(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that has called mlflow.set_tracking_uri, as the README says, goes on with medscreen."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{layout.mlruns / 'mlflow.db'}")
    assert not server.on_server(open_store(layout))
