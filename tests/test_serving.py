"""`medscreen serve` as a process of its own, and what clients of every kind get from it."""

import asyncio
import io
import json
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from browsers import new_tab
from factories import unstated
from html_pages import Tags
from medscreen.cli import commands
from medscreen.data.images import curated_images
from medscreen.errors import MedscreenError
from medscreen.packaging.screened_files import screened
from medscreen.registry.run_record import Record
from medscreen.registry.versions import version_in_stage
from medscreen.serving import registry_watch
from medscreen.serving.app import Service, create_app
from medscreen.serving.registry_watch import RegistryWatch
from medscreen.serving.server import listen, read_key
from medscreen.serving.uploads import Limits
from medscreen.tracking.server import as_default
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from service_process import HEAD, PART, PATIENT, Running, bomb, ct, noise, png, problem, raw, service
from tiff_files import Form, tiff
from workspaces import MODEL, SIZE

pytestmark = [
    pytest.mark.slow,
    # MLflow's own, when it is first imported
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]


def test_service_and_predict_agree(
    served: Running, home: Path, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(home)
    (tmp_path / "a.png").write_bytes(png(1, 40))
    (tmp_path / "b.jpg").write_bytes(png(2, 40, "JPEG"))
    (tmp_path / "c.tif").write_bytes(tiff([(noise(seed)[..., None], Form()) for seed in range(3)]))
    ct(tmp_path / "d.dcm", frames=4, PresentationIntentType="FOR PROCESSING")
    paths = sorted(tmp_path.glob("?.*"))
    arguments = ["predict", *map(str, paths), "--name", MODEL, "--json", "--for-processing"]
    done = CliRunner().invoke(commands, arguments)
    rows = json.loads(done.stdout)
    files = [(path.name, path.read_bytes()) for path in paths]
    refused = served.post(*files).json()["files"][3]
    assert (refused["images"], len(refused["unreadable"])) == ([], 4)
    assert "FOR PROCESSING" in refused["unreadable"][0]["detail"]
    answer = served.post(*files, params={"for_processing": True}).json()
    images = [image for file in answer["files"] for image in file["images"]]
    assert [len(file["images"]) for file in answer["files"]] == [1, 1, 3, 4]
    for row, image in zip(rows, images, strict=True):
        if row["in_domain"] is False:
            row |= {"probability": None, "abnormal": None, "deferred": None}
        for name in ("score", "p_value", "probability"):
            assert image[name] == (row[name] and pytest.approx(row[name], rel=1e-5, abs=1e-5))
        for name in ("frame", "abnormal", "deferred", "in_domain", "for_processing"):
            assert image[name] == row[name]
        assert image["decision"] == row["called"]
        assert bool(row["header_mismatch"]) == image["header_mismatch"]
    assert [file["left_out"] for file in answer["files"]] == [0, 0, 0, 0]
    version = version_in_stage(open_store(Layout(home, home)), MODEL, "Production")
    assert version is not None
    of = {"name": MODEL, "version": version.number, "stage": "Production", "detector": "whole"}
    assert answer["model"] == of | {"digest": version.digest}
    val = Record(open_store(Layout(home, home)), Layout(home, home), version).outcomes("val")
    assert val is not None
    healthy = val.scores[val.labels == 0]
    for image in images:
        assert image["percentile"] == pytest.approx(100 * (healthy < image["score"]).mean())


@pytest.mark.filterwarnings("ignore:.*stage:FutureWarning")
def test_pipeline_predict_service_and_pyfunc_agree(
    served: Running, home: Path, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(home)
    layout = Layout(home, home)
    client = open_store(layout)
    version = version_in_stage(client, MODEL, "Production")
    assert version is not None
    of_pipeline = Record(client, layout, version).outcomes("val")
    assert of_pipeline is not None
    pixels = np.asarray(curated_images(layout, "val").pixels)[:40]
    paths = [tmp_path / f"{number:02}.png" for number in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    rows = json.loads(CliRunner().invoke(commands, ["predict", *map(str, paths), "--name", MODEL, "--json"]).stdout)
    files = served.post(*((path.name, path.read_bytes()) for path in paths)).json()["files"]
    with as_default(client):
        by_pyfunc = mlflow.pyfunc.load_model(f"models:/{MODEL}/Production").predict(pixels[:, None])
    for name in ("score", "p_value", "probability"):
        of_service = [file["images"][0][name] for file in files]
        np.testing.assert_allclose(of_service, by_pyfunc[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose([row[name] for row in rows], by_pyfunc[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_pyfunc["score"], of_pipeline.scores[:40], rtol=1e-5, atol=1e-5)


def test_what_is_requested_comes_as_pictures_or_with_the_reason_why_not(served: Running) -> None:
    (file,) = served.post(("a.png", png(1, 64)), params={"map": True, "similar": 2, "thumbnail": True}).json()["files"]
    (image,) = file["images"]
    with Image.open(io.BytesIO(b64decode(image["thumbnail"]))) as thumbnail:
        assert thumbnail.format == "PNG"
        assert thumbnail.mode == "L"
    assert image["map_note"]  # films have no masks: either the map is not shown, or not compared with lesions
    assert image["similar"] is None
    assert "no feature vector" in image["similar_note"]
    (file,) = served.post(("a.png", png(1))).json()["files"]
    assert {file["images"][0][name] for name in ("map", "similar", "thumbnail")} == {None}


def test_images_left_out_are_counted_and_broken_ones_named_beside_the_others(served: Running) -> None:
    first, *others = (Image.fromarray(noise(seed)) for seed in range(4))
    stream = io.BytesIO()
    first.save(stream, "GIF", save_all=True, append_images=others)
    blank = tiff([(part[..., None], Form()) for part in (noise(1), np.full((SIZE, SIZE), 9, np.uint8))])
    answer = served.post((f"{PATIENT}.png", b"no image"), ("b.gif", stream.getvalue()), ("c.tif", blank))
    assert answer.status_code == 200
    broken, animation, pages = answer.json()["files"]
    assert (broken["images"], broken["unreadable"][0]["frame"]) == ([], None)
    assert "unsupported file type" in broken["unreadable"][0]["detail"]
    assert animation["left_out"] == 3
    assert [image["frame"] for image in pages["images"]] == [0]
    assert pages["unreadable"][0]["frame"] == 1
    assert "same gray value" in pages["unreadable"][0]["detail"]


HOSTILE = {
    "empty": b"",
    "text": b"no image",
    "page": b"<!doctype html><script>alert(1)</script>",
    "archive": b"PK\x03\x04" + bytes(500),
    "bomb": bomb(),
    "truncated": png(1, 64)[:300],
    "flat": b"BM" + bytes(200),
    "preamble": bytes(128) + b"DICM" + b"\xff" * 300,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_image_is_a_problem_with_a_reason(served: Running, content: bytes) -> None:
    assert problem(served.post((f"../{PATIENT}.png", content)), 422)


def test_a_value_of_a_header_is_neither_answered_nor_logged(served: Running, tmp_path: Path) -> None:
    names = {"PatientName": PATIENT, "PatientID": PATIENT, "StudyDescription": PATIENT, "BodyPartExamined": PATIENT}
    whole = ct(tmp_path / "whole.dcm", **names).read_bytes()
    answer = served.post((f"{PATIENT}.dcm", whole), headers={"X-Request-ID": PATIENT}, params={"map": True})
    assert answer.status_code == 200
    assert PATIENT not in answer.text
    assert PATIENT not in str(answer.headers)
    rng = np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), 12):
            damaged[place] = rng.integers(256)
        answer = served.post((f"{PATIENT}.dcm", bytes(damaged[: rng.integers(140, len(damaged))])))
        assert answer.status_code in {200, 422}, answer.text
        assert PATIENT not in answer.text
    httpx.get(f"{served.address}/{PATIENT}?{PATIENT}={PATIENT}", headers={"User-Agent": PATIENT})
    served.post(("a.png", png()), params={"map": PATIENT})
    assert PATIENT not in served.log.read_text()


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (415, {"content": b"x", "headers": {"Content-Type": "application/json"}}),
        (415, {"content": png()}),
        (400, {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        (400, {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}),
        (400, {"content": b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b; charset=idna"}}),
        (400, {"files": [("other", ("a.png", png()))]}),
        (400, {"files": [("files", ("a.png", png())), ("other", ("b.png", png()))]}),
        (400, {"data": {"files": "text"}, "files": [("files", ("a.png", png()))]}),
        (422, {"files": [("files", ("a.png", png()))], "params": {"similar": 51}}),
        (422, {"files": [("files", ("a.png", png()))], "params": {"map": PATIENT}}),
        (400, {"files": [("files", (f"{n}.png", b"x")) for n in range(1001)]}),
    ],
)
def test_a_request_that_is_none_is_a_problem(served: Running, status: int, request_: dict[str, Any]) -> None:
    assert problem(httpx.post(f"{served.address}/v1/screen", timeout=60, **request_), status)


def test_other_routes_and_methods_are_problems(served: Running) -> None:
    assert "/docs" in problem(httpx.get(f"{served.address}/{PATIENT}"), 404)
    assert problem(httpx.get(f"{served.address}/v1/screen"), 405)


def test_a_thousand_files_are_screened(served: Running) -> None:
    answer = served.post(*((f"{n}.png", png(n % 7)) for n in range(1000)))
    assert [file["file"] for file in answer.json()["files"]] == [*range(1000)]


def test_a_body_beyond_the_bound_is_refused_whether_it_states_its_length_or_not(home: Path, tmp_path: Path) -> None:
    with service(home, tmp_path / "log", limits="body=5000, seconds=2, requests=1") as running:
        assert "screening threads: 2" in running.log.read_text()
        assert b" 413 " in raw(running, HEAD + b"Content-Length: 5001\r\n\r\n").splitlines()[0]
        chunk = PART + bytes(6000)
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(chunk), chunk)
        assert b" 413 " in raw(running, chunked).splitlines()[0]
        assert "5,000 bytes" in problem(running.post(("a.png", bytes(5001))), 413)
        slow = raw(running, HEAD + b"Content-Length: 4000\r\n\r\n" + PART)
        assert b" 408 " in slow.splitlines()[0]
        busy: list[httpx.Response] = []
        later = threading.Timer(0.7, lambda: busy.append(running.post(("a.png", png()))))
        later.start()
        raw(running, HEAD + b"Content-Length: 4000\r\n\r\n" + PART)
        later.join()
        assert "in progress" in problem(busy[0], 503)
        assert int(busy[0].headers["Retry-After"]) > 0
        host, port = running.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as cut:
            cut.sendall(HEAD + b"Content-Length: 4000\r\n\r\n" + PART)
        time.sleep(0.5)
        assert running.post(("a.png", png())).status_code == 200


def test_screening_ends_at_its_time(home: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.tile(np.arange(250, dtype=np.uint8), (5000, 20))).save(stream, "PNG")
    large = stream.getvalue()  # few bytes, and long to decode
    with service(home, tmp_path / "log", limits="seconds=3") as running:
        started = time.monotonic()
        answer = running.post(*((f"{n}.png", large) for n in range(500)))
        assert time.monotonic() - started < 20
        assert "send fewer files" in problem(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
        assert running.post(("a.png", png())).status_code == 200


def test_no_upload_is_left_and_torch_is_never_loaded(served: Running, home: Path) -> None:
    before = sorted(path for path in home.parent.rglob("*") if path.is_file())
    assert served.post(("a.png", png(1, 3000)), params={"map": True, "thumbnail": True}).status_code == 200
    assert sorted(path for path in home.parent.rglob("*") if path.is_file()) == before
    process = Path("/proc") / str(served.process.pid)
    assert not [link for link in (process / "fd").iterdir() if "upload" in str(link.readlink())]
    assert "libtorch" not in (process / "maps").read_text()


def test_routes_for_operators(served: Running) -> None:
    served.post(("a.png", png()))
    assert httpx.get(f"{served.address}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{served.address}/readyz").json() == {"status": "ready"}
    model = httpx.get(f"{served.address}/v1/model").json()
    assert (model["name"], model["detector"], model["image_size"]) == (MODEL, "whole", SIZE)
    assert model["registry_check_failed"] is False
    metrics = httpx.get(f"{served.address}/metrics").text
    assert f"medscreen_served_version {float(model['version'])}" in metrics
    assert 'medscreen_requests_total{route="/v1/screen",status="200"}' in metrics
    assert "medscreen_images_total{decision=" in metrics


def test_the_documentation_loads_nothing(served: Running) -> None:
    document = httpx.get(f"{served.address}/openapi.json").json()
    text = httpx.get(f"{served.address}/docs").text
    page = Tags(text)
    assert not [tags for tags in page.tags if tags[0] in {"script", "link", "iframe"} or "src" in tags[1]]
    assert "default-src 'none'" in text
    for path in document["paths"]:
        assert path in page.text
    for field in document["components"]["schemas"]["ImageResult"]["properties"]:
        assert field in page.text


def test_a_key_guards_everything_but_health_and_documentation(home: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 32 + "\n")
    with service(home, tmp_path / "log", key=key) as running:
        for sent in (b"", b"Bearer other", b"Bearer \xfc", b"Basic x"):
            answer = running.post(("a.png", png()), headers={"Authorization": sent})
            assert "Authorization: Bearer" in problem(answer, 401)
        assert problem(httpx.get(f"{running.address}/v1/model"), 401)
        assert problem(httpx.get(f"{running.address}/metrics"), 401)
        for route in ("healthz", "readyz", "docs", "openapi.json"):
            assert httpx.get(f"{running.address}/{route}").status_code == 200
        good = {"Authorization": f"Bearer {'k' * 32}"}
        assert running.post(("a.png", png()), headers=good).status_code == 200
        assert "k" * 32 not in running.log.read_text()


def test_an_address_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(MedscreenError) as error:
        listen("0.0.0.0", 0, has_key=False)  # noqa: S104
    assert not unstated(str(error.value), "0.0.0.0", "--api-key-file", "127.0.0.1")  # noqa: S104
    with listen("127.0.0.1", 0, has_key=False) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MedscreenError) as error:
            listen("127.0.0.1", port, has_key=False)
        assert not unstated(str(error.value), port, "--port", "--host")
    for content in ("", "short", "two words of a key in a file"):
        (tmp_path / "key").write_text(content)
        with pytest.raises(MedscreenError) as error:
            read_key(tmp_path / "key")
        assert not unstated(str(error.value), tmp_path / "key", "openssl rand -hex 32")
    with pytest.raises(MedscreenError, match="missing"):
        read_key(tmp_path / "missing")


def version_of(running: Running) -> int:
    return int(running.post(("a.png", png())).json()["model"]["version"])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.3)


@pytest.mark.filterwarnings("ignore:.*stage:FutureWarning")
def test_promotion_and_rollback_under_load_fail_no_request(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    answers: list[tuple[int, int, Any]] = []
    ended = threading.Event()
    # requests of seconds, one after the other: a change of version comes in the middle of one
    uploads = {4: [png(seed) for seed in range(4)], 200: [png(seed % 5, 500) for seed in range(200)]}

    def ask(running: Running, number: int) -> None:
        with httpx.Client() as client:
            while not ended.is_set():
                parts = [("files", ("a.png", content)) for content in uploads[number]]
                answer = client.post(f"{running.address}/v1/screen", files=parts, timeout=60)
                model = answer.json().get("model", {})
                scores = [file["images"][0]["score"] for file in answer.json().get("files", [])]
                answers.append((number, answer.status_code, (model.get("version"), *scores)))

    with service(workspace.workspace, tmp_path / "log") as running:
        clients = [threading.Thread(target=ask, args=(running, number)) for number in (4, 4, 200)]
        for client in clients:
            client.start()
        try:
            first = version_of(running)
            done = CliRunner().invoke(commands, ["promote", "2", "--force", "--reason", "a test"])
            assert done.exit_code == 0, done.output
            wait_for(lambda: version_of(running) == 2)
            done = CliRunner().invoke(commands, ["rollback", "--reason", "a test"])
            assert done.exit_code == 0, done.output
            wait_for(lambda: version_of(running) == first)
        finally:
            ended.set()
            for client in clients:
                client.join()
        # a store that can't be read leaves what is served as it is
        database = workspace.mlruns / "mlflow.db"
        whole, damaged = tmp_path / "whole.db", tmp_path / "damaged.db"
        damaged.write_bytes(b"no database" * 1000)
        # by other processes: closing the file in this one would end the locks of its own connections (POSIX)
        subprocess.run(["cp", database, whole], check=True)
        subprocess.run(["cp", damaged, database], check=True)
        wait_for(lambda: bool(httpx.get(f"{running.address}/v1/model").json()["registry_check_failed"]))
        assert version_of(running) == first
        subprocess.run(["cp", whole, database], check=True)
        wait_for(lambda: not httpx.get(f"{running.address}/v1/model").json()["registry_check_failed"])
        open_store(workspace).transition_model_version_stage(MODEL, str(first), "Archived")
        wait_for(lambda: httpx.get(f"{running.address}/readyz").status_code == 503)
        answer = running.post(("a.png", png()))
        assert not unstated(problem(answer, 503), MODEL, "Production")
        assert answer.headers["Retry-After"]
    assert {status for _, status, _ in answers} == {200}
    for number in uploads:
        found = {found for of, _, found in answers if of == number}
        # the scores of an answer are those of the version that it names
        assert sorted(version for version, *_ in found) == sorted([first, 2])


def ask(watch: RegistryWatch, method: str, path: str, **options: Any) -> httpx.Response:
    """An answer of the service in this process."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(Service(watch, None, 1, Limits())), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)

    return asyncio.run(asked())


def answer_of(watch: RegistryWatch, content: bytes = b"", **params: Any) -> dict[str, Any]:
    """The service's answer for one image."""
    answer = ask(watch, "POST", "/v1/screen", files=[("files", ("a.png", content or png()))], params=params)
    assert answer.status_code == 200, answer.text
    (file,) = answer.json()["files"]
    return dict(file["images"][0])


@pytest.fixture
def watch(workspace: Layout, loaded_registry: Callable[[Path], None]) -> RegistryWatch:
    loaded_registry(workspace.workspace)
    return RegistryWatch(MODEL, "Production")


def test_a_log_that_can_not_be_written_ends_neither_the_watch_nor_a_request(
    watch: RegistryWatch, workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("click.echo", broken)
    monkeypatch.setattr(registry_watch, "EVERY_S", 0.05)
    database = workspace.mlruns / "mlflow.db"
    content = database.read_bytes()
    database.write_bytes(b"no database" * 1000)
    watch.start()
    wait_for(lambda: bool(watch.problem))
    answer_of(watch)
    database.write_bytes(content)
    wait_for(lambda: not watch.problem)


def test_a_service_whose_checks_fail_for_a_minute_is_not_ready(
    watch: RegistryWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    assert ask(watch, "GET", "/readyz").status_code == 200
    monkeypatch.setattr("time.time", lambda: now + 70)
    assert "registry" in problem(ask(watch, "GET", "/readyz"), 503)


def artifact(workspace: Layout, name: str) -> Path:
    """A file of the run of the version in Production."""
    version = version_in_stage(open_store(workspace), MODEL, "Production")
    assert version is not None
    (path,) = workspace.mlruns.rglob(f"{version.run_id}/artifacts/{name}")
    return path


@pytest.mark.parametrize("content", [None, b"", b"PAR1 damaged PAR1"], ids=["lost", "empty", "damaged"])
def test_a_version_is_served_without_what_its_run_has_lost(
    watch: RegistryWatch, workspace: Layout, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    cases = artifact(workspace, "scores.parquet").with_name("similar_cases.parquet")
    for path in (artifact(workspace, "explain.onnx"), artifact(workspace, "scores.parquet"), cases):
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
    capsys.readouterr()
    image = answer_of(RegistryWatch(MODEL, "Production"), map=True, similar=1)
    assert (image["map"], image["similar"], image["percentile"]) == (None, None, None)
    assert not unstated(image["map_note"], "explain.onnx", MODEL, "dvc repro publish")
    assert "index" in image["similar_note"]
    assert image["score"] == answer_of(watch)["score"]
    assert ask(RegistryWatch(MODEL, "Production"), "GET", "/v1/model").json()["validation"] is None
    assert not unstated(capsys.readouterr().out, "scores.parquet", MODEL)


def test_damaged_scores_are_one_sentence_that_names_the_file(workspace: Layout) -> None:
    path = artifact(workspace, "scores.parquet")
    path.write_bytes(b"PAR1 damaged PAR1")
    client = open_store(workspace)
    version = version_in_stage(client, MODEL, "Production")
    assert version is not None
    with pytest.raises(MedscreenError) as error:
        Record(client, workspace, version).outcomes("val")
    assert not unstated(str(error.value), "scores.parquet", version.run_id, "dvc repro --force publish")


def test_versions_made_from_one_another_or_from_a_deleted_one_have_no_map(
    workspace: Layout, watch: RegistryWatch
) -> None:
    client = open_store(workspace)
    version = version_in_stage(client, MODEL, "Production")
    assert version is not None
    number, tag = str(version.number), "medscreen.operating_point_of"
    for of, words in ((number, "one another"), ("99", "no version '99'")):
        client.set_model_version_tag(MODEL, number, tag, f"version {of}")
        image = answer_of(RegistryWatch(MODEL, "Production"), map=True)
        assert image["map"] is None
        assert not unstated(image["map_note"], MODEL, words)


def test_a_map_that_is_shown_comes_as_a_picture(workspace: Layout, watch: RegistryWatch) -> None:
    proof = artifact(workspace, "explanations.json")
    proof.write_text(json.dumps({"shown": True, "reason": ""}))
    image = answer_of(RegistryWatch(MODEL, "Production"), png(1, 64), map=True)
    with Image.open(io.BytesIO(b64decode(image["map"]))) as drawn:
        assert drawn.format == "PNG"
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 100
    assert (np.ptp(pixels, axis=2) > 40).mean() > 0.05  # the map's colors over the gray image
    assert "not compared with lesions" in image["map_note"]


def test_a_store_that_is_replaced_on_disk_is_followed_and_none_is_created(workspace: Layout, tmp_path: Path) -> None:
    with service(workspace.workspace, tmp_path / "log") as running:
        first = version_of(running)
        former = workspace.mlruns.rename(tmp_path / "former")
        wait_for(lambda: bool(httpx.get(f"{running.address}/v1/model").json()["registry_check_failed"]))
        assert "mlflow.db: not found" in running.log.read_text()
        assert version_of(running) == first != 2
        assert not workspace.mlruns.exists()
        new = Path(shutil.copytree(former, tmp_path / "new"))
        with closing(sqlite3.connect(new / "mlflow.db")) as database, database:
            moved = (
                "update model_versions set current_stage = case version when 2 then 'Production' else 'Archived' end"
            )
            database.execute(moved)
        new.rename(workspace.mlruns)
        wait_for(lambda: version_of(running) == 2)


def test_a_body_that_is_cut_is_refused(watch: RegistryWatch) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    whole = PART + png() + b"\r\n" + PART + png(2) + b"\r\n--b--\r\n"
    assert ask(watch, "POST", "/v1/screen", content=whole, headers=head).status_code == 200
    assert ask(watch, "POST", "/v1/screen", content=whole[:-2], headers=head).status_code == 200
    for length in range(len(PART) + len(png()) + 2, len(whole) - 4, 7):
        problem(ask(watch, "POST", "/v1/screen", content=whole[:length], headers=head), 400)


def test_a_redirection_repeats_nothing_of_a_request(watch: RegistryWatch) -> None:
    answer = ask(watch, "GET", f"/v1/model/?{PATIENT}", headers={"Host": "localhost"})
    assert "/docs" in problem(answer, 404)
    assert "location" not in answer.headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.0.1.1", "[::1]:8000"])
def test_a_loopback_host_needs_no_key(watch: RegistryWatch, host: str) -> None:
    assert ask(watch, "GET", "/v1/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil", "[::", "192.168.0.1"])
def test_another_host_is_refused_where_there_is_no_key(watch: RegistryWatch, host: str) -> None:
    for route in ("/v1/model", "/metrics"):
        assert "API key" in problem(ask(watch, "GET", route, headers={"Host": host}), 421)
    answer = ask(watch, "POST", "/v1/screen", headers={"Host": host}, files=[("files", ("a.png", png()))])
    assert "API key" in problem(answer, 421)


@pytest.mark.parametrize("in_domain", [True, False, None])
def test_outside_the_domain_there_is_no_decision(
    watch: RegistryWatch, monkeypatch: pytest.MonkeyPatch, in_domain: bool | None
) -> None:
    def other(*given: Any) -> Any:
        return [replace(row, in_domain=in_domain) for row in screened(*given)]

    monkeypatch.setattr("medscreen.serving.screening.screened", other)
    image = answer_of(watch)
    values = [image[name] for name in ("probability", "abnormal", "deferred")]
    assert [value is None for value in values] == [in_domain is False] * 3
    assert image["score"] is not None


def test_the_page_draws_a_score_among_those_of_its_own_version_alone(home: Path, tmp_path: Path, browser: str) -> None:
    with service(home, tmp_path / "log") as running, new_tab(browser) as tab:
        model = httpx.get(f"{running.address}/v1/model").json()
        film = {"name": "a.png", "mimeType": "image/png", "buffer": png(1, 64)}
        left: list[int] = []
        tab.route("**/v1/model", lambda route: route.fulfill(json=model | {"version": model["version"] + left.pop(0)}))
        # by how much the version of /v1/model differs at each load, and the number of histograms then
        for differences, charts in (([0], 1), ([1, 0], 1), ([1, 1], 0)):
            left[:] = differences
            tab.goto(running.address)
            tab.locator("#model", has_text="version").wait_for()
            tab.set_input_files("#files", [film])
            tab.locator("article h3", has_text="Similar").wait_for()
            assert (tab.locator("article svg").count(), left) == (charts, [])
