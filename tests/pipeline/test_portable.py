import sys
from pathlib import Path

from conftest import run
from factories import REPOSITORY


def test_the_registered_model_needs_neither_torch_nor_this_project(finished: Path, tmp_path: Path) -> None:
    script = REPOSITORY / "tests" / "pipeline" / "portable.py"
    done = run(tmp_path, sys.executable, str(script), str(finished))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "portable"
