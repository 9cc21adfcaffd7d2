"""The store on a server, as far as that needs none; tests/pipeline/test_servers.py has a real one."""

import os
import socket
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.runtime.system_errors import fault, without_password
from medscreen.tracking import server
from medscreen.tracking.store import open_store, serve_ui
from medscreen.workspace.layout import Layout
from servers import free_port

STORE = "the checkout's store"


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


def set_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # so that they are put back: medscreen sets them


def refusal(monkeypatch: pytest.MonkeyPatch, layout: Layout, address: str) -> str:
    """What `open_store` says, having made nothing."""
    set_address(monkeypatch, address)
    with pytest.raises(MedscreenError) as error:
        open_store(layout)
    one_sentence(error)
    assert not layout.mlruns.exists()
    return str(error.value)


@pytest.mark.parametrize(
    "address", ["file:///srv/mlruns", "sqlite:////srv/mlflow.db", "databricks", "/srv/mlruns", "127.0.0.1:5000"]
)
def test_an_address_of_another_kind_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout, address: str) -> None:
    message = refusal(monkeypatch, layout, address)
    assert f"MLFLOW_TRACKING_URI={address} is not an http or https address" in message
    assert f"Unset it to use {STORE}" in message


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    message = refusal(monkeypatch, layout, address)
    assert f"{address}: the MLflow server can't be used (no response within 8 s)" in message
    assert f"unset it to use {STORE}" in message


def test_a_server_that_is_silent_is_said(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    monkeypatch.setattr(server, "_WAIT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        message = refusal(monkeypatch, layout, f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert "(no response within 1 s)" in message


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, b"<html>hello</html>"), "(<html>hello</html>)"),
        ((404, b""), "(not an MLflow server)"),
        ((500, b"boom"), "(status 500)"),
        ((503, b""), "(status 503)"),
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
    assert "(TLS fails" in refusal(monkeypatch, layout, stranger.replace("http:", "https:"))


def test_a_password_in_the_address_is_not_printed(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    where = f"127.0.0.1:{free_port()}"
    message = refusal(monkeypatch, layout, f"http://reader:se@cret@{where}")
    assert f"http://{where}: " in message
    assert "cret" not in message
    assert "cret" not in refusal(monkeypatch, layout, "postgresql://reader:secret@127.0.0.1/mlflow")


USERS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)
PASSWORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6)


@given(user=USERS, password=PASSWORDS)
def test_user_and_password_leave_the_address_for_mlflows_own_variables(user: str, password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        set_address(patch, f"https://{user}:{quote(password, safe='')}@mlflow.hospital.example:5000/team")
        assert server.server_address("sqlite:///own") == "https://mlflow.hospital.example:5000/team"
        assert os.environ["MLFLOW_TRACKING_URI"] == "https://mlflow.hospital.example:5000/team"
        assert os.environ["MLFLOW_TRACKING_USERNAME"] == user
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == password
        assert server.server_address("sqlite:///own") == "https://mlflow.hospital.example:5000/team"


@pytest.mark.parametrize(
    "address",
    [
        "https://mlflow.hospital.example/?token=hidden",
        "https://mlflow.hospital.example#hidden",
        "https://reader:hid/den@mlflow.hospital.example",
        "https://reader:hid?den@mlflow.hospital.example",
        "https://reader:hid#den@mlflow.hospital.example",
        "https://reader:1/hidden@mlflow.hospital.example",
        "https://reader:hidden@",
        "https://reader:hidden@:5000",
        "https://reader:hidden@host:port",
        "https://[reader:hidden@host",
        "postgresql://host/mlflow?user=reader&password=hidden",
        "reader:hidden@mlflow.hospital.example",
    ],
)
def test_an_address_that_can_not_be_used_is_refused_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, layout: Layout, address: str
) -> None:
    message = refusal(monkeypatch, layout, address)
    assert "MLFLOW_TRACKING_URI" in message
    assert not any(part in message for part in ("hid", "den", "reader"))


@given(user=USERS, password=PASSWORDS)
def test_no_address_is_printed_with_its_password(user: str, password: str) -> None:
    for scheme in ("http", "https", "postgresql", "file"):
        shown = without_password(f"{scheme}://{user}:{password}@host/path?token={password}")
        assert shown in {f"{scheme}://host/path", f"{scheme}://..."}


def test_a_server_that_goes_away_tells_no_password(
    monkeypatch: pytest.MonkeyPatch, layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_Stranger, "answer", (200, b"{}"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with HTTPServer(("127.0.0.1", 0), _Stranger) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        set_address(monkeypatch, f"http://reader:hidden@127.0.0.1:{http.server_port}")
        client = open_store(layout)
        http.shutdown()
        thread.join()
    with pytest.raises(MlflowException) as error:
        client.create_run("0")
    assert "hidden" not in "".join(traceback.format_exception(error.value)) + caplog.text + client.tracking_uri
    message = str(fault(error.value))
    assert message.startswith("The MLflow server does not respond (")
    assert "\n" not in message


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
    with pytest.raises(MedscreenError, match="no response within"):
        serve_ui(layout, 5000)


def test_the_address_of_the_own_store_is_no_server(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that has called mlflow.set_tracking_uri, as the README says, goes on with medscreen."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{layout.mlruns / 'mlflow.db'}")
    assert not server.on_server(open_store(layout))
