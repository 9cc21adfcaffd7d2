import gc
import importlib.util
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from factories import PARAMS_YAML, new_checkout, one_sentence
from medscreen.cli import commands
from medscreen.config.params import load_params
from medscreen.data.sources.kaggle import ON_KAGGLE, fetch_from_kaggle
from medscreen.errors import MedscreenError

library = pytest.mark.skipif(
    importlib.util.find_spec("kaggle") is None, reason="Kaggle's library is not installed: medscreen[kaggle]"
)
# the library leaves its sockets to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
ANY = ["rsna-2023-abdominal-trauma", "bone-fracture"]


class Kaggle(BaseHTTPRequestHandler):
    """Sends every request to its store, as Kaggle does, and answers there with `body`; or with another `status`."""

    body, status = b"", 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        stored = self.path.endswith("/archive.zip")
        self.send_response(self.status if stored or self.status != 200 else 302)
        if self.status == 200 and not stored:
            self.send_header("Location", "/archive.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST  # noqa: N815  # as http.server wants it

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Kaggle]]:
    """A server at which Kaggle's own library looks for Kaggle."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "planted-key")
    from kagglesdk import kaggle_env

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Kaggle,), {}))
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, address)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.RequestHandlerClass
    server.shutdown()
    server.server_close()
    thread.join()
    gc.collect()


def archive(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as written:
        for name, data in members.items():
            written.writestr(name.replace("__", "/"), data)
    return content.getvalue()


def refusal(name: str, root: Path) -> str:
    with pytest.raises(MedscreenError) as error:
        fetch_from_kaggle(ON_KAGGLE[name], root)
    message = one_sentence(error)
    assert "planted-key" not in message
    assert not root.exists() or any(root.iterdir())
    return message


@library
@pytest.mark.parametrize("name", ANY)
def test_what_kaggle_sends_fills_the_folder_without_its_wrapping(
    kaggle: type[Kaggle], tmp_path: Path, name: str
) -> None:
    kaggle.body = archive(all__all__train__1=b"one", all__all__val__2=b"two")
    assert fetch_from_kaggle(ON_KAGGLE[name], tmp_path / "there" / "set") == 2
    assert (tmp_path / "there" / "set" / "train" / "1").read_bytes() == b"one"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["set"]
    with pytest.raises(MedscreenError, match="exists already"):
        fetch_from_kaggle(ON_KAGGLE[name], tmp_path / "there" / "set")


@library
@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_kaggle_is_a_sentence(kaggle: type[Kaggle], tmp_path: Path, name: str, status: int) -> None:
    kaggle.status = status
    message = refusal(name, tmp_path / "set")
    assert f"status {status}" in message
    assert "accept its rules" in message


@library
def test_an_archive_that_leads_out_leaves_nothing(kaggle: type[Kaggle], tmp_path: Path) -> None:
    kaggle.body = archive(**{"a.txt": b"1", "..__..__x": b"2"})
    assert "leads out" in refusal("bone-fracture", tmp_path / "deep" / "set")
    assert not (tmp_path / "x").exists()


@library
def test_what_is_no_archive_is_a_sentence(kaggle: type[Kaggle], tmp_path: Path) -> None:
    kaggle.body = b"<html>sign in</html>"
    assert "delete it and fetch again" in refusal("bone-fracture", tmp_path / "set")


@library
def test_no_network_is_a_sentence(kaggle: type[Kaggle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, "http://127.0.0.1:9")
    assert "can't be reached" in refusal("bone-fracture", tmp_path / "set")


def fetched(home: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """What `medscreen fetch` says in a process of its own, without credentials; Kaggle's import has effects."""
    program = f"import sys\n{before}\nfrom medscreen.cli import main\nmain()"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE_")}
    kept |= {"HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-c", program, "fetch", "bone-fracture"],
        check=False, capture_output=True, text=True, cwd=new_checkout(home), env=kept, timeout=120,
    )  # fmt: skip


@library
def test_no_credentials_are_a_sentence(tmp_path: Path) -> None:
    done = fetched(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("medscreen: Kaggle's library finds no credentials")
    assert len(done.stderr.splitlines()) == 1


def test_no_library_is_a_sentence(tmp_path: Path) -> None:
    done = fetched(tmp_path, "sys.modules['kaggle'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'medscreen[kaggle]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_can_be_fetched_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(new_checkout(tmp_path))
    assert set(ANY) == ON_KAGGLE.keys() <= load_params(PARAMS_YAML).datasets.keys()
    listed = CliRunner().invoke(commands, ["fetch"])
    assert listed.output.splitlines() == [f"{name}: {there.page}" for name, there in ON_KAGGLE.items()]
    unknown = CliRunner().invoke(commands, ["fetch", "cats"])
    assert isinstance(unknown.exception, MedscreenError)
    assert "bone-fracture" in str(unknown.exception)
