"""Throughput, latency and memory of `medscreen serve`, compared with ONNX Runtime and `mlflow models serve`.

python benchmarks/serving.py --name phantom-detector [--minutes 5] [--rounds 3], in a checkout with a version in
Production. A second process on the same cores generates the load: random gray PNG files of the detector's size. The
server of MLflow receives the same images as decoded arrays in JSON. The three take turns.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from onnxruntime import InferenceSession
from PIL import Image

from medscreen.packaging.packaged_detector import PackagedDetector, open_session
from medscreen.registry.stage_package import package_in_stage
from medscreen.runtime.child_processes import available_cpus

_CLIENTS = 4


def images(size: int, number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(2, 256, (size, size)).astype(np.uint8) for _ in range(number)]


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def multipart(files: list[bytes]) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in files) + b"--b--\r\n"


def bodies(kind: str, size: int, files: int) -> tuple[str, str, list[bytes]]:
    """Path, content type and request bodies with `files` images each."""
    pixels = images(size, 8 * files)
    groups = [pixels[start : start + files] for start in range(0, len(pixels), files)]
    if kind == "medscreen":
        made = [multipart([png(image) for image in group]) for group in groups]
        return "/v1/screen", "multipart/form-data; boundary=b", made
    made = [json.dumps({"inputs": np.stack(group)[:, None].tolist()}).encode() for group in groups]
    return "/invocations", "application/json", made


def load(address: str, kind: str, size: int, files: int, seconds: float, rate: float) -> dict[str, Any]:
    """Request rate and latencies (s) of a closed loop of clients; with `rate`, of an open loop at that many a second.

    At a rate, the latency of a request starts when it is due, even if no client is free then.
    """
    path, content_type, made = bodies(kind, size, files)
    host, number = address.removeprefix("http://"), count()
    started, local = time.perf_counter() + 0.2, threading.local()
    taken: list[float] = []

    def request(due: float | None) -> None:
        if not hasattr(local, "connection"):
            local.connection = HTTPConnection(host, timeout=60)
        begun = time.perf_counter() if due is None else due
        time.sleep(max(0.0, begun - time.perf_counter()))
        local.connection.request("POST", path, made[next(number) % len(made)], {"Content-Type": content_type})
        answer = local.connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        taken.append(time.perf_counter() - begun)

    def follow() -> None:
        while time.perf_counter() < started + seconds:
            request(None)

    with ThreadPoolExecutor(_CLIENTS) as clients:
        if rate:
            jobs = [clients.submit(request, started + i / rate) for i in range(int(seconds * rate))]
        else:
            jobs = [clients.submit(follow) for _ in range(_CLIENTS)]
    for job in jobs:
        job.result()
    return {"rate": len(taken) / (time.perf_counter() - started), "seconds": taken}


def measured(address: str, kind: str, size: int, files: int, seconds: float = 10, rate: float = 0) -> dict[str, Any]:
    """Request rate and latencies under load from a second process."""
    arguments = [address, kind, str(size), str(files), str(seconds), str(rate)]
    done = subprocess.run([sys.executable, __file__, "--load", *arguments], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


@contextmanager
def server(command: list[str], pattern: str, log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Runs a server; yields address and process once its output matches `pattern`, whose group is the address."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            while not (found := re.search(pattern, log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
            yield found[1], psutil.Process(process.pid)
        finally:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.terminate()


def alone(graph: Path, size: int, seconds: float = 10) -> float:
    """Images per second of ONNX Runtime on decoded arrays: one session and thread per core, one image per call."""
    pixels, cores = images(size, 64), available_cpus()
    sessions = [open_session(graph, 1) for _ in range(cores)]
    until = time.perf_counter() + seconds

    def run(session: InferenceSession) -> int:
        done = 0
        while time.perf_counter() < until:
            session.run(None, {"pixels": pixels[done % len(pixels)][None, None]})
            done += 1
        return done

    with ThreadPoolExecutor(cores) as threads:
        return sum(threads.map(run, sessions)) / seconds


def main() -> int:
    """Prints throughput, latencies at 80 % of the maximum throughput, and memory at start and end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="phantom-detector")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        address, kind, *numbers = options.load
        size, files, seconds, rate = map(float, numbers)
        print(json.dumps(load(address, kind, int(size), int(files), seconds, rate)))
        return 0
    package = package_in_stage(options.name, "Production")
    graph, size = package.graph, PackagedDetector(package.graph).image_size
    own = ["medscreen", "serve", "--name", options.name, "--port", "0"]
    uri = f"models:/{options.name}/Production"
    other = ["mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "--port", "5999"]
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path('mlruns/mlflow.db').resolve()}"
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        logs = Path(scratch)
        for _ in range(options.rounds):
            row = {"ONNX Runtime alone": alone(graph, size)}
            with server(own, r"at (http://\S+) ", logs / "own") as (address, process):
                measured(address, "medscreen", size, 16, 2)
                row["medscreen, 16 files per request"] = 16 * measured(address, "medscreen", size, 16)["rate"]
                row["medscreen, 1 file per request"] = measured(address, "medscreen", size, 1)["rate"]
            with server(other, r"running on (http://\S+)", logs / "other") as (address, process):
                measured(address, "mlflow", size, 1, 2)
                row["mlflow models serve, 1 array per request"] = measured(address, "mlflow", size, 1)["rate"]
            rounds.append(row)
        for name in rounds[0]:
            print(f"{name}: {median(row[name] for row in rounds):.0f} images/s")
        rate = 0.8 * median(row["medscreen, 16 files per request"] for row in rounds) / 16
        with server(own, r"at (http://\S+) ", logs / "own") as (address, process):
            measured(address, "medscreen", size, 16, 20, rate)
            before = process.memory_info().rss
            taken = measured(address, "medscreen", size, 16, 60 * options.minutes, rate)["seconds"]
            after = process.memory_info().rss
    half, most = np.percentile(taken, [50, 99])
    print(
        f"at {rate:.1f} requests/s of 16 files: p50 {1000 * half:.0f} ms, p99 {1000 * most:.0f} ms ({most / half:.1f})"
    )
    print(f"memory {before / 2**20:.0f} MiB, after {options.minutes:g} minutes {after / 2**20:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
