"""Hostile requests to one `medscreen serve`, which outlives them and repeats nothing of them."""

import gzip
import io
import re
import socket
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from mutated_files import mutated, sample_files
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service_process import HEAD, PART, PATIENT, Running, bomb, ct, png, raw

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, when it is first imported
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]
MOST_MEMORY = 2 * 2**30  # bytes that the process of the service may occupy


@pytest.fixture(scope="module", autouse=True)
def outlived(served: Running) -> Iterator[None]:
    """After the tests: the service runs and screens, its log holds nothing of the uploads, its memory is bounded."""
    yield
    assert served.process.poll() is None
    assert PATIENT not in served.log.read_text()
    assert psutil.Process(served.process.pid).memory_info().rss < MOST_MEMORY
    assert httpx.get(f"{served.address}/readyz").status_code == 200
    assert served.post(("a.png", png())).status_code == 200


def keep(answer: httpx.Response) -> int:
    """The status of an answer, which must be no failure and hold no name of a file and no value of a header."""
    assert answer.status_code == 503 or answer.status_code < 500
    assert PATIENT not in answer.text
    assert PATIENT not in str(answer.headers)
    return answer.status_code


@pytest.mark.parametrize("mode", GenerationMode)
def test_requests_made_from_the_openapi_document(served: Running, mode: GenerationMode) -> None:
    for found in schemathesis.openapi.from_url(f"{served.address}/openapi.json").get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.path != "/v1/screen":
            continue  # without parameters and a body, nothing can be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def answers_as_documented(case: schemathesis.Case) -> None:
            # a file of random bytes is as the document allows, and no image
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answers_as_documented()


def test_damaged_files(served: Running, tmp_path: Path) -> None:
    files = sample_files(None)
    names = {"PatientName": PATIENT, "PatientID": PATIENT, "InstitutionName": PATIENT}
    files["patient.dcm"] = ct(tmp_path / "patient.dcm", frames=2, **names).read_bytes()
    rng = np.random.default_rng(18)
    with httpx.Client(timeout=60) as client:
        for number in range(1000):
            name = sorted(files)[number % len(files)]
            parts = [("files", (f"{PATIENT}-{name}", mutated(files[name], rng), PATIENT))]
            params = {"map": number % 3 == 0, "similar": number % 2, "thumbnail": number % 5 == 0}
            assert keep(client.post(f"{served.address}/v1/screen", files=parts, params=params)) in {200, 422}


def zeros(size: int) -> bytes:
    """A zlib stream of so many zeros, a thousandth of their length."""
    return zlib.compress(bytes(size), 9)


def archive(size: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{PATIENT}.png", bytes(size))
    return stream.getvalue()


def png_of(width: int, height: int, scanlines: bytes) -> bytes:
    """A PNG of 8-bit gray whose pixels are a given zlib stream."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    chunks = ((b"IHDR", header), (b"IDAT", scanlines), (b"IEND", b""))
    coded = (
        len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
        for name, content in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def test_bombs(served: Running, tmp_path: Path) -> None:
    """Files whose content is far larger than they are."""
    many = ct(tmp_path / "many.dcm", NumberOfFrames=2**31 - 1, PatientName=PATIENT).read_bytes()
    huge = ct(tmp_path / "huge.dcm", Rows=65535, Columns=65535).read_bytes()
    bombs = {
        "pixels": bomb(),
        "scanlines": png_of(64, 64, zeros(2**30)),
        "flat": png_of(30_000, 30_000, zeros(9 * 10**8)),
        "archive": archive(2**29),
        "frames": many,
        "rows": huge,
        "text": b"\x89PNG\r\n\x1a\n" + b"\x7f\xff\xff\xffzTXt" + zeros(2**28),
    }
    for name, content in bombs.items():
        started = time.monotonic()
        assert keep(served.post((f"{PATIENT}-{name}", content))) in {200, 422}, name
        assert time.monotonic() - started < 30, name
    packed = gzip.compress(PART + png() + b"\r\n--b--\r\n")
    head = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
    assert keep(httpx.post(f"{served.address}/v1/screen", content=packed, headers=head)) == 400


def test_bodies_that_are_cut_or_of_another_type(served: Running) -> None:
    whole = PART.replace(b"a.png", PATIENT.encode()) + png() + b"\r\n--b--\r\n"
    for length in range(0, len(whole) - 2, 40):
        kind = "multipart/form-data; boundary=b"
        answer = httpx.post(f"{served.address}/v1/screen", content=whole[:length], headers={"Content-Type": kind})
        assert keep(answer) == 400
    for kind in ("image/png", "application/dicom", "text/html", "multipart/mixed; boundary=b", PATIENT, ""):
        answer = httpx.post(f"{served.address}/v1/screen", content=whole, headers={"Content-Type": kind})
        assert keep(answer) == 415
    assert keep(served.post(*((f"{PATIENT}{n}", png()) for n in range(1001)))) == 400


def test_slow_and_abandoned_connections(served: Running) -> None:
    """Neither a body that trickles nor a hundred that never end keep the next request waiting."""
    body = PART + png() + b"\r\n--b--\r\n"
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    pieces = [body[start : start + 200] for start in range(0, len(body), 200)]
    status = re.match(rb"HTTP/1.1 (\d+)", raw(served, head, *pieces, pause=0.02))
    assert status is not None
    assert int(status[1]) == 200
    host, port = served.address.removeprefix("http://").split(":")
    for number in range(100):
        with socket.create_connection((host, int(port))) as cut:
            cut.sendall((head + body)[: 7 * number])
    deadline = time.monotonic() + 20
    while (status_code := keep(served.post(("a.png", png())))) == 503:
        assert time.monotonic() < deadline
    assert status_code == 200
