"""Commands where something around them is odd: no traceback, and where they fail one sentence."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from conftest import environment
from factories import FOLDERS, REPOSITORY, new_checkout
from medscreen.runtime import startup
from medscreen.runtime.startup import use_own_temporary_folder
from medscreen.workspace.atomic_outputs import this_writer
from medscreen.workspace.layout import Layout
from workspaces import change_params, film

# what MLflow says of its own type hints when it first logs a model
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")

LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from medscreen.cli import main
main()
"""
MEDSCREEN = [sys.executable, "-c", "from medscreen.cli import main; main()"]
PUBLISH = [sys.executable, "-m", "medscreen.pipeline.publish"]
PREDICT = [*MEDSCREEN, "predict", "größe.png"]


def ran(home: Path, command: list[str], **changes: str) -> tuple[int, str, str]:
    env = environment(home) | {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"} | changes
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, timeout=300, check=False)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert "Traceback" not in out + err, err
    return done.returncode, out, err


@pytest.fixture
def home(workspace: Layout) -> Path:
    Image.fromarray(film(1, 0)).save(workspace.home / "größe.png")
    return workspace.home


# each process that imports MLflow costs seconds: every environment once, with one command or the other
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (PUBLISH, {"PYTHONWARNINGS": "error"}),
        (PREDICT, {"PYTHONWARNINGS": "error::DeprecationWarning,error::UserWarning", "NO_COLOR": "1"}),
        ([MEDSCREEN[0], "-W", "error", *MEDSCREEN[1:], "models"], {"COLUMNS": "1"}),
        (PREDICT, {"PYTHONIOENCODING": "ascii", "TMPDIR": "/nonexistent", "LC_ALL": "C", "PYTHONUTF8": "0"}),
        ([*MEDSCREEN, "models", "--log"], {"HOME": "/nonexistent", "TMPDIR": "/proc", "COLUMNS": "x"}),
        ([*MEDSCREEN, "threshold", "1", "--policy", "youden"], {"PYTHONOPTIMIZE": "2", "HOME": "/proc"}),
    ],
)
def test_an_odd_environment_is_no_matter(home: Path, command: list[str], changes: dict[str, str]) -> None:
    status, out, err = ran(home, command, **changes)
    assert status == 0, err
    assert out


@pytest.mark.parametrize(
    ("limit", "command"),
    [(0, ["models"]), (20_000, ["threshold", "1", "--policy", "youden"]), (20_000, ["backup"]), (0, ["use", "films"])],
)
def test_a_full_disk_is_one_sentence(home: Path, command: list[str], limit: int) -> None:
    change_params(home, dataset="other", datasets={"films": FOLDERS, "other": FOLDERS})
    before = (home / "params.yaml").read_bytes()
    status, _, err = ran(home, [sys.executable, "-c", LIMITED, str(limit), *command])
    assert status == 2
    message = err.splitlines()[-1]
    assert message.startswith("medscreen: ")
    assert message.endswith(".")
    assert (home / "params.yaml").read_bytes() == before


@pytest.fixture
def reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    monkeypatch.setenv("TMPDIR", "")


def without_room(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage
    full = usage(layout.home)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path) if Path(path) == layout.home else full)


def without_any(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)


@pytest.mark.parametrize("spoil", [without_room, without_any])
def test_without_room_in_tmpdir_the_checkout_holds_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reset: None, spoil: Callable[[Layout, pytest.MonkeyPatch], None]
) -> None:
    layout = Layout(tmp_path, tmp_path)
    spoil(layout, monkeypatch)
    use_own_temporary_folder(layout)
    monkeypatch.undo()
    (folder,) = (layout.scratch / "tmp").iterdir()
    assert folder.name.startswith(f"medscreen-{this_writer()}-")


def test_temporary_folders_of_ended_processes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reset: None) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    boot, day_ago = this_writer().rpartition("-")[2], time.time() - 90_000
    gone = [f"medscreen-999999-1-{boot}-abc", "medscreen-7-7-ffffffff-abc"]
    kept = [f"medscreen-{this_writer()}-abc", "medscreen-7-8-ffffffff-abc", "medscreen-notes", "other"]
    for name in (*gone, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in gone[1:]:
        os.utime(tmp_path / name, (day_ago, day_ago))
    use_own_temporary_folder(Layout(tmp_path, tmp_path))
    own = Path(tempfile.gettempdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, own.name])
    use_own_temporary_folder(Layout(tmp_path, tmp_path))  # a command within a command
    assert Path(tempfile.gettempdir()) == own
    assert own.parent == tmp_path


def test_a_killed_command_leaves_a_folder_that_the_next_one_removes(tmp_path: Path) -> None:
    new_checkout(tmp_path)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    program = (
        "import os, signal, tempfile; from medscreen.workspace.layout import find_layout; "
        "from medscreen.runtime.startup import use_own_temporary_folder as use; "
        "use(find_layout()); tempfile.mkdtemp(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert ran(tmp_path, [sys.executable, "-c", program], TMPDIR=str(temporary))[0] == -9
    assert len(list(temporary.rglob("*"))) == 2
    assert ran(tmp_path, [*MEDSCREEN, "use"], TMPDIR=str(temporary))[0] == 0
    assert list(temporary.iterdir()) == []


def test_warnings_stay_errors_where_no_interpreter_was_told_so() -> None:
    """pytest, and other people's code that imports medscreen, keep the filters that they have set."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        startup.prepare_process()
        with pytest.raises(UserWarning):
            warnings.warn("still an error", stacklevel=1)
