"""The container file: linted, and its commands run on a read-only root, as a container runs them."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from conftest import BIN, environment
from factories import REPOSITORY
from service_process import png
from workspaces import MODEL

KEY = "k" * 32
DOCKERFILE = REPOSITORY / "Dockerfile"


def words(instruction: str) -> list[str]:
    """The words of an instruction, which the file holds as JSON."""
    found = re.findall(rf"^{instruction} (\[.*\])$", DOCKERFILE.read_text().replace("\\\n", ""), re.MULTILINE)
    return [str(word) for word in json.loads(found[-1])]


def test_the_container_file_is_linted() -> None:
    subprocess.run([BIN / "hadolint", DOCKERFILE], check=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")
def test_the_service_runs_on_a_read_only_root(published: Path, tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap on the path (Debian's package bubblewrap): it stands in for a container here")
    home = Path(shutil.copytree(published, tmp_path / "workspace"))
    text = DOCKERFILE.read_text()
    variables = dict(re.findall(r"(\w+)=(\S+)", text[text.rindex("\nENV ") : text.index("\nUSER ")]))
    key = tmp_path / "key"
    key.write_text(KEY)
    command = [*words("ENTRYPOINT"), *words("CMD"), "--name", MODEL, "--port", "0"]
    command[command.index("/run/secrets/medscreen-key")] = str(key)
    box = ["bwrap", "--unshare-user", "--uid", "10001", "--gid", "10001", "--die-with-parent", "--ro-bind", "/", "/"]
    box += [
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--tmpfs",
        variables["HOME"],
        "--bind",
        str(home),
        str(home),
        "--chdir",
        str(home),
    ]
    for path in (key, REPOSITORY / "src", sys.prefix):  # which may be below /tmp
        box += ["--ro-bind", str(path), str(path)]
    env = environment(home) | variables | {"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY / "src")}
    env.pop("TMPDIR", None)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([*box, *command], env=env, stdout=output, stderr=output)
    try:
        deadline, found = time.monotonic() + 120, None
        while not (found := re.search(r"at http://0.0.0.0:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        address = f"http://127.0.0.1:{found[1]}"
        for attempt in range(3):
            headers = {"Authorization": f"Bearer {KEY}"} if attempt else {}
            files = [("files", ("a.png", png()))]
            answer = httpx.post(f"{address}/v1/screen", params={"map": True}, files=files, headers=headers, timeout=60)
            assert answer.status_code == (200 if attempt else 401), answer.text
        health = [word.replace(":8000/", f":{found[1]}/") for word in words("HEALTHCHECK .* CMD")]
        subprocess.run([*box, *health], env=env, check=True, timeout=60)
    finally:
        process.terminate()
        process.wait(timeout=60)
