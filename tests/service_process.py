"""`medscreen serve` as a process of its own, and what its clients send."""

import io
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from conftest import BIN, environment
from factories import REPOSITORY, dicom
from workspaces import MODEL, SIZE

WITH_LIMITS = (
    "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    "from medscreen.serving.server import serve; from medscreen.serving.uploads import Limits; "
    f"serve({MODEL!r}, 'Production', ('127.0.0.1', 0), None, Limits({{}}))"
)
PATIENT = "DOE_JANE_19700101"[:16]  # stands in names of files and in headers, and must stand nowhere else


@dataclass(frozen=True)
class Running:
    """A service: its process, where it answers, and its output so far."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def post(self, *files: tuple[str, bytes], **options: Any) -> httpx.Response:
        parts = [("files", (name, content, "application/octet-stream")) for name, content in files]
        return httpx.post(f"{self.address}/v1/screen", files=parts, timeout=60, **options)


@contextmanager
def service(home: Path, log: Path, limits: str = "", key: Path | None = None, dicom_web: str = "") -> Iterator[Running]:
    env = environment(home) | {"PYTHONPATH": str(REPOSITORY / "src"), "TMPDIR": str(log.parent)}
    command = [str(BIN / "medscreen"), "serve", "--name", MODEL, "--port", "0"]
    command += ["--api-key-file", str(key)] if key else []
    command += ["--dicom-web", dicom_web] if dicom_web else []
    if limits:
        command = [sys.executable, "-c", WITH_LIMITS.format(limits)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=home, env=env, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while not (found := [part for part in log.read_text().split() if part.startswith("http://")]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield Running(process, found[0], log)
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, log.read_text()


def noise(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 256, (size, size)).astype(np.uint8)


def png(seed: int = 1, size: int = SIZE, codec: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(noise(seed, size)).save(stream, codec)
    return stream.getvalue()


def ct(path: Path, frames: int = 1, **elements: Any) -> Path:
    stored = np.stack([noise(seed) for seed in range(frames)]).astype(np.uint16) * 6
    window = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 80}
    return dicom(path, stored if frames > 1 else stored[0], **window, **elements)


def problem(answer: httpx.Response, status: int) -> str:
    """The sentence of a problem document, of which everything is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status
    assert document["detail"].endswith(".")
    assert PATIENT not in answer.text
    return str(document["detail"])


def bomb() -> bytes:
    """A small PNG whose header promises 10^10 pixels."""
    content = bytearray(png())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    return bytes(content)


def raw(running: Running, *parts: bytes, pause: float = 0.0) -> bytes:
    """The answer to bytes sent as they are, with a pause between the parts."""
    host, port = running.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        return connection.recv(65536)


HEAD = b"POST /v1/screen HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
