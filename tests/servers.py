"""Servers that tests start on loopback: PostgreSQL, and MLflow on it with an artefact store."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_PASSWORD = "only on loopback"  # noqa: S105


@dataclass(frozen=True)
class MlflowServer:
    """An MLflow server: where it answers, the database behind it, and the folder of its artefacts."""

    address: str
    database: str
    artifacts: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str], url: str, cwd: Path, env: dict[str, str], page: str = "health") -> Iterator[None]:
    """A process that answers at `url`/`page`; ended with its children."""
    with tempfile.TemporaryFile() as message:
        server = subprocess.Popen(command, cwd=cwd, env=env, stdout=message, stderr=message, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while not answers(f"{url}/{page}"):
                message.seek(0)
                assert server.poll() is None, message.read().decode()
                assert time.monotonic() < deadline, message.read().decode()
                time.sleep(0.3)
            yield
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of an empty database, as SQLAlchemy writes it; skips where PostgreSQL is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        assert not os.environ.get("MEDSCREEN_REQUIRE_POSTGRESQL"), "PostgreSQL is required here and there is none"
        pytest.skip("no PostgreSQL below /usr/lib/postgresql: install postgresql to run this test")
    programs = installed[-1].parent
    # root may not run it, and nobody else may look into the folders that pytest makes
    owner = "postgres" if os.geteuid() == 0 else None
    # not in TMPDIR: a command that ran in this process may have made it a folder that root alone can enter
    folder, port = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp")), free_port()
    if owner:
        shutil.chown(folder, owner, owner)

    def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(programs / program), *arguments]
        with (folder.parent / f"{folder.name}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=folder, user=owner, group=owner, stdout=log, stderr=log)

    def ask(sql: str, database: str = "postgres") -> bool:
        where = ["-h", str(folder), "-p", str(port), "-U", "postgres", "-d", database]
        return start("psql", "-q", *where, "-c", sql).wait() == 0

    log = folder.parent / f"{folder.name}.log"
    data = str(folder / "data")
    auth = ["--auth-local=trust", "--auth-host=scram-sha-256"]
    assert start("initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--no-sync", *auth).wait() == 0, log.read_text()
    where = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    server = start("postgres", "-D", data, *where)
    try:
        deadline = time.monotonic() + 60
        while not ask("select 1"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        assert ask(f"create role mlflow login createdb password '{_PASSWORD}'"), log.read_text()
        assert ask("create database mlflow owner mlflow"), log.read_text()
        yield f"postgresql+psycopg2://mlflow:{_PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/mlflow"
    finally:
        server.send_signal(signal.SIGINT)  # it ends its sessions, and then itself
        server.wait(timeout=30)
        shutil.rmtree(folder)
        log.unlink()


@pytest.fixture(scope="session")
def mlflow_server(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server with no run in it; tests share it, and tell their things apart by experiment and checkout."""
    folder = tmp_path_factory.mktemp("mlflow")
    address = f"http://127.0.0.1:{(port := free_port())}"
    where = ["--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    store = ["--backend-store-uri", postgresql, "--artifacts-destination", str(folder / "artifacts")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    env |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with serving([sys.executable, "-m", "mlflow", "server", *store, *where], address, folder, env):
        yield MlflowServer(address, postgresql, folder / "artifacts")
