"""`POST /dicom-web/studies`: STOW-RS with an archive behind the service, and a real Orthanc where it is installed."""

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicom_judges import orthanc
from factories import unstated
from medscreen.errors import MedscreenError
from medscreen.reporting.dicom_answers.instance import encoded
from medscreen.reporting.dicom_answers.secondary_capture import overlay, secondary_capture
from medscreen.reporting.dicom_answers.source import read_source
from medscreen.serving.app import Service, create_app
from medscreen.serving.archive import Archive, ArchiveError
from medscreen.serving.dicom_web import store_instance
from medscreen.serving.instances import related_body
from medscreen.serving.registry_watch import RegistryWatch
from medscreen.serving.uploads import Limits
from medscreen.workspace.layout import Layout
from service_process import problem, service
from test_dicom_answers import MAP, PATIENT, PIXELS, VERSION, found, values
from test_dicom_out import at_home, ct  # noqa: F401  # a fixture
from workspaces import MODEL, film

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, when it is first imported
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]
SECRET = "DOE_JANE_19700101"  # noqa: S105  # stands in headers and must stand nowhere else


class KeepingArchive(Archive):
    """An archive in memory, which refuses instances of the UIDs in `refused`."""

    def __init__(self) -> None:
        super().__init__("http://localhost/dicom-web", 1)
        self.kept: list[bytes] = []
        self.refused: dict[str, int] = {}

    def store(self, instances: Iterable[tuple[str, bytes]]) -> dict[str, int]:
        for uid, content in instances:
            if uid not in self.refused:
                self.kept.append(content)
        return self.refused


@pytest.fixture
def watch(at_home: Layout) -> RegistryWatch:  # noqa: F811
    return RegistryWatch(MODEL, "Production")


def post(
    watch: RegistryWatch,
    archive: Archive | None,
    body: bytes,
    kind: str,
    limits: Limits = Limits(),  # noqa: B008
) -> httpx.Response:
    """The answer of the service in this process."""

    async def posted() -> httpx.Response:
        app = create_app(Service(watch, None, 1, limits, archive))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/dicom-web/studies", content=body, headers={"Content-Type": kind})

    return asyncio.run(posted())


def stow(watch: RegistryWatch, archive: Archive | None, *instances: bytes, **options: Any) -> httpx.Response:
    kind, body = related_body(instances)
    return post(watch, archive, body, kind, **options)


def uids(answer: httpx.Response, tag: str) -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.json().get(tag, {}).get("Value", [])]


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(film(1, 0)).save(stream, "PNG")
    return stream.getvalue()


def test_an_instance_is_stored_unchanged_with_its_answers(watch: RegistryWatch, tmp_path: Path) -> None:
    one = ct(tmp_path / "one.dcm", film(5, 1)).read_bytes()
    two = ct(tmp_path / "two.dcm", film(6, 0), film(7, 1), SOPInstanceUID="1.2.7").read_bytes()
    archive = KeepingArchive()
    answer = stow(watch, archive, one, two)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert uids(answer, "00081199") == [PATIENT["SOPInstanceUID"], "1.2.7"]
    assert set(answer.json()) == {"00081199"}
    assert {one, two} < set(archive.kept)
    answers = [dcmread(io.BytesIO(content)) for content in archive.kept if content not in (one, two)]
    assert sorted(of.Modality for of in answers) == ["OT", "OT", "OT", "SR", "SR"]
    assert {of.StudyInstanceUID for of in answers} == {PATIENT["StudyInstanceUID"]}
    before = [of.SOPInstanceUID for of in answers]
    archive.kept.clear()
    # what Orthanc sends when it sends a whole study: nothing new comes of it
    again = stow(watch, archive, one, two, *map(encoded, answers))
    assert again.status_code == 200
    assert len(uids(again, "00081199")) == 7
    assert {dcmread(io.BytesIO(content)).SOPInstanceUID for content in archive.kept} - set(before) == {
        PATIENT["SOPInstanceUID"], "1.2.7",
    }  # fmt: skip


def test_what_can_not_be_screened_is_not_stored_and_stands_among_the_failures(
    watch: RegistryWatch, tmp_path: Path
) -> None:
    whole = ct(tmp_path / "one.dcm", film(5, 1)).read_bytes()
    raw = ct(tmp_path / "raw.dcm", film(5, 1), SOPInstanceUID="1.2.3", PresentationIntentType="FOR PROCESSING")
    archive = KeepingArchive()
    answer = stow(watch, archive, whole, raw.read_bytes(), png())
    assert answer.status_code == 202
    assert uids(answer, "00081199") == [PATIENT["SOPInstanceUID"]]
    assert uids(answer, "00081198") == ["1.2.3"]
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xC000]
    assert "FOR PROCESSING" in failed["00000902"]["Value"][0]
    (other,) = answer.json()["0008119A"]["Value"]
    assert "not a DICOM file" in other["00000902"]["Value"][0]
    assert len(archive.kept) == 3
    answer = stow(watch, archive, raw.read_bytes(), png())
    assert (answer.status_code, len(archive.kept)) == (409, 3)


def test_what_the_archive_refuses_is_a_failure_with_its_reason(watch: RegistryWatch, tmp_path: Path) -> None:
    archive = KeepingArchive()
    archive.refused = {PATIENT["SOPInstanceUID"]: 0xA700}
    answer = stow(watch, archive, ct(tmp_path / "one.dcm", film(5, 1)).read_bytes())
    assert answer.status_code == 409
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA700]
    assert "archive" in failed["00000902"]["Value"][0]


def test_an_archive_that_is_away_is_a_problem(
    watch: RegistryWatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = Archive("http://127.0.0.1:9/dicom-web", 5)
    answer = stow(watch, nowhere, ct(tmp_path / "one.dcm", film(5, 1)).read_bytes())
    assert "archive" in problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert "can't be reached (ConnectionError)" in capsys.readouterr().out


RELATED = 'multipart/related; type="application/dicom"'


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (415, "multipart/form-data; boundary=b", b"--b--\r\n"),
        (415, "application/dicom", b"x"),
        (415, 'multipart/related; type="application/dicom+json"; boundary=b', b"--b\r\n\r\nx\r\n--b--\r\n"),
        (400, RELATED, b"--b\r\n\r\nx\r\n--b--\r\n"),
        (400, f"{RELATED}; boundary=b", b""),
        (400, f"{RELATED}; boundary=b", b"--b--\r\n"),
        (400, f"{RELATED}; boundary=b", b"--b\r\n\r\nx\r\n"),
        (400, f"{RELATED}; boundary=b", b"no boundary"),
        (400, f"{RELATED}; boundary=b", b"--b\r\n\r\nx\r\n" * 3 + b"--b--\r\n"),
        (413, f"{RELATED}; boundary=b", bytes(5001)),
    ],
)
def test_a_request_that_is_none_is_a_problem(watch: RegistryWatch, status: int, kind: str, body: bytes) -> None:
    assert problem(post(watch, KeepingArchive(), body, kind, Limits(body=5000, files=2)), status)


def test_without_an_archive_there_is_no_route_and_without_time_no_answer(watch: RegistryWatch, tmp_path: Path) -> None:
    one = ct(tmp_path / "one.dcm", film(5, 1)).read_bytes()
    assert problem(stow(watch, None, one), 404)
    assert watch.version is not None
    with pytest.raises(TimeoutError):
        store_instance(watch.version, KeepingArchive(), one, deadline=0)


def test_values_of_headers_are_neither_answered_nor_logged(
    watch: RegistryWatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"PatientName": SECRET, "PatientID": SECRET, "StudyDescription": SECRET, "BodyPartExamined": SECRET[:16]}
    whole = ct(tmp_path / "one.dcm", film(5, 1), **names).read_bytes()
    rng = np.random.default_rng(3)
    statuses = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), 12):
            damaged[place] = rng.integers(256)
        answer = stow(watch, KeepingArchive(), bytes(damaged[: rng.integers(140, len(damaged))]), bytes(damaged))
        statuses.add(answer.status_code)
        assert SECRET[:12] not in answer.text
    assert statuses <= {200, 202, 409}
    assert stow(watch, KeepingArchive(), whole).status_code == 200
    output = capsys.readouterr()
    assert SECRET[:12] not in output.out + output.err


@pytest.fixture
def canned() -> Iterator[tuple[Archive, Callable[[int, bytes], None], list[bytes]]]:
    """An archive that gives the answers it is told to, and the bodies that it was sent."""
    given: list[Any] = [200, b""]
    sent: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(given[0])
            self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", str(len(given[1])))
            self.end_headers()
            self.wfile.write(given[1])

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield (
            Archive(f"http://127.0.0.1:{server.server_port}/dicom-web/", 5),
            lambda status, body: given.__setitem__(slice(None), [status, body]),
            sent,
        )
    finally:
        server.shutdown()
        server.server_close()


def test_only_what_the_archive_names_counts_as_stored(canned: Any) -> None:
    archive, tell, _ = canned
    stored = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.1"]}}]}}
    failed = {"00081155": {"vr": "UI", "Value": ["1.2"]}, "00081197": {"vr": "US", "Value": [0xA900]}}
    tell(202, json.dumps(stored | {"00081198": {"vr": "SQ", "Value": [failed]}}).encode())
    assert archive.store([("1.1", b"x"), ("1.2", b"y"), ("1.3", b"z")]) == {"1.2": 0xA900, "1.3": 0x0110}
    for status, body in (
        (401, b""),
        (500, b"{}"),
        (302, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"00081199": 3}'),
        (200, b"[" * 100_000),
        (200, b"{}" + b" " * 2**25),
    ):
        tell(status, body)
        with pytest.raises(ArchiveError, match="response"):
            archive.store([("1.1", b"x")])


@pytest.mark.parametrize("reason", [b'"abc"', b"[1]", b"Infinity", b"1000000000", b"-3", b"null"])
def test_a_failure_reason_is_one_of_16_bits(canned: Any, reason: bytes) -> None:
    archive, tell, _ = canned
    item = b'{"00081155": {"Value": ["1.1"]}, "00081197": {"Value": [%b]}}' % reason
    tell(202, b'{"00081198": {"Value": [%b]}}' % item)
    assert archive.store([("1.1", b"x")]) == {"1.1": 0x0110}


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_the_archive_never_takes_fails_and_is_not_asked_for_again(canned: Any, status: int) -> None:
    archive, tell, _ = canned
    tell(status, b"")
    assert archive.store([("1.1", b"x")]) == {"1.1": 0x0110}


def test_large_answers_go_to_the_archive_a_part_at_a_time(canned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, tell, sent = canned
    monkeypatch.setattr("medscreen.serving.archive._MOST_AT_ONCE", 100)
    tell(200, b"{}")
    assert len(archive.store((f"1.{n}", bytes(60)) for n in range(5))) == 5
    assert [body.count(b"application/dicom") for body in sent] == [1] * 5


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8042",
        "ftp://host/x",
        "http://",
        "http://[::1",
        "http://host/x?y=1",
        "http://host:99999/x",
        "http://host:abc/x",
        "http://host name/x",
    ],
)
def test_an_address_that_is_none_is_a_sentence(url: str) -> None:
    with pytest.raises(MedscreenError) as error:
        Archive(url, 1)
    assert not unstated(str(error.value), "--dicom-web", url)


def test_a_password_is_no_part_of_the_address() -> None:
    with pytest.raises(MedscreenError) as error:
        Archive("http://user:secret@host/x", 1)
    assert ".netrc" in str(error.value)
    assert "secret" not in str(error.value)


def find(address: str, **query: str) -> list[str]:
    return list(httpx.post(f"{address}/tools/find", json={"Level": "Instance", "Query": query}, timeout=30).json())


def test_orthanc_stores_and_shows_answers_in_the_right_study(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    source = ct(tmp_path / "one.dcm", film(5, 1), PatientName="Müller^Jürgen", SpecificCharacterSet="ISO_IR 100")
    image = found(source)
    capture = secondary_capture(
        read_source(source), image, VERSION, overlay(image, PIXELS, MAP, VERSION, ("log odds", ""))
    )
    with orthanc(tmp_path / "orthanc") as address:
        with service(workspace.workspace, tmp_path / "log", dicom_web=f"{address}/dicom-web") as running:
            kind, body = related_body([source.read_bytes()])
            to = f"{running.address}/dicom-web/studies"
            for _ in range(2):
                answer = httpx.post(to, content=body, headers={"Content-Type": kind}, timeout=60)
                assert (answer.status_code, uids(answer, "00081199")) == (200, [PATIENT["SOPInstanceUID"]])
            assert "ller" not in running.log.read_text()
            # the whole study sent by Orthanc itself, as a client
            server = {"Url": f"{running.address}/dicom-web/"}
            httpx.put(f"{address}/dicom-web/servers/medscreen", json=server, timeout=30).raise_for_status()
            study, *others = httpx.get(f"{address}/studies", timeout=30).json()
            assert not others
            sent = {"Resources": [study], "Synchronous": True}
            answer = httpx.post(f"{address}/dicom-web/servers/medscreen/stow", json=sent, timeout=60)
            assert (answer.status_code, answer.json()["InstancesCount"]) == (200, "2")
        assert Archive(f"{address}/dicom-web", 30).store([(capture.SOPInstanceUID, encoded(capture))]) == {}
        (stated,) = httpx.get(f"{address}/studies?expand", timeout=30).json()
        assert stated["MainDicomTags"]["StudyInstanceUID"] == PATIENT["StudyInstanceUID"]
        assert stated["PatientMainDicomTags"]["PatientName"] == "Müller^Jürgen"
        assert len(stated["Series"]) == 3
        assert httpx.get(f"{address}/statistics", timeout=30).json()["CountInstances"] == 3
        (original,) = find(address, SOPInstanceUID=PATIENT["SOPInstanceUID"])
        assert httpx.get(f"{address}/instances/{original}/file", timeout=30).content == source.read_bytes()
        (report,) = find(address, Modality="SR")
        content = httpx.get(f"{address}/instances/{report}/file", timeout=30).content
        assert values(dcmread(io.BytesIO(content)))["Comment"][0].startswith("RESEARCH USE ONLY")
        (shown,) = find(address, Modality="OT")
        picture = httpx.get(f"{address}/instances/{shown}/preview", timeout=30).content
        with Image.open(io.BytesIO(picture)) as preview:
            assert np.array_equal(np.asarray(preview.convert("RGB")), capture.pixel_array)
