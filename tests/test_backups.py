"""Backups of a real store: runs, an artefact and a registered detector, the mean brightness of an image."""

import gzip
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from filelock import FileLock

from conftest import environment
from factories import REPOSITORY, new_checkout, one_sentence
from medscreen import load_detector
from medscreen.cli import main
from medscreen.errors import MedscreenError
from medscreen.operating.decision_nodes import package
from medscreen.operating.operating_point import OperatingPoint
from medscreen.operating.probability_calibration import LogisticCurve
from medscreen.packaging.packaged_detector import packaged_digest
from medscreen.registry.registration import register_run
from medscreen.registry.stages import move
from medscreen.tracking.backups import Backup, back_up, restore
from medscreen.tracking.logged_models import log_model
from medscreen.tracking.names import DIGEST
from medscreen.tracking.store import open_experiment, open_store
from medscreen.tracking.store_swap import STUDIES, settle
from medscreen.workspace.layout import Layout
from workspaces import mean_of_quarters

# what MLflow says of its own type hints when it first logs a model
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")

MODEL, SIZE = "phantom-detector", 16
Members = dict[str, bytes]


def of(home: Path) -> Layout:
    return Layout(home, home)


def add_run(home: Path, name: str) -> str:
    """A run with an artefact that holds its name."""
    client = open_store(of(home))
    run = client.create_run(open_experiment(client, of(home), "phantom"), run_name=name)
    client.log_text(run.info.run_id, name, "note.txt")
    return str(run.info.run_id)


def brightness() -> Any:
    """A packaged detector that calls images abnormal whose mean brightness is half of white or more."""
    point = OperatingPoint("youden", 0.5, 0.5, 0.5, (0.1, 0.2, 0.3), "platt", LogisticCurve(10.0, -5.0))
    about = {"detector": "mean", "image_size": SIZE, "decision_boundary": None}
    return package(mean_of_quarters((1, 1, 1, 1)), point, about)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose store has the run `first`; tests work on copies."""
    home = tmp_path_factory.mktemp("small") / "project"
    new_checkout(home)
    (home / "mlruns").mkdir()
    for name in ("README.md", ".gitignore"):  # they come with git
        (home / "mlruns" / name).write_text("of the commit")
    add_run(home, "first")
    (home / "mlruns" / "notes.txt").write_text("kept beside the store\n")
    return home


@pytest.fixture(scope="module")
def registered(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose store has a version in Production, too."""
    home = Path(shutil.copytree(small, tmp_path_factory.mktemp("registered") / "project"))
    run_id = add_run(home, "mean")
    client = open_store(of(home))
    graph = home.parent / "model.onnx"
    onnx.save(brightness(), graph)
    digest = packaged_digest(graph)
    log_model(client, run_id, brightness(), digest)
    for tag, value in ((DIGEST, digest), ("medscreen.detector", "mean")):
        client.set_tag(run_id, tag, value)
    move(client, MODEL, register_run(client, of(home), MODEL, run_id, {}, graph).number, "Production")
    return home


@pytest.fixture(scope="module")
def saved(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the small store."""
    return back_up(of(small), tmp_path_factory.mktemp("saved") / "store.tar.gz").path


@pytest.fixture(scope="module")
def closed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that no process has open, whose store has the runs `first` and `second`."""
    home = Path(shutil.copytree(small, tmp_path_factory.mktemp("closed") / "checkout"))
    program = "import sys; from pathlib import Path; import test_backups as t; t.add_run(Path(sys.argv[1]), 'second')"
    python(program, home)
    shutil.rmtree(home / ".medscreen")
    return home


@pytest.fixture
def home(closed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(closed, tmp_path / "checkout"))


def python(program: str, *arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, check=True, env=with_tests(), capture_output=True, text=True, timeout=300, **options)


def with_tests() -> dict[str, str]:
    folders = [str(REPOSITORY / "tests"), str(REPOSITORY / "src")]
    return environment(REPOSITORY / "tests") | {"PYTHONPATH": os.pathsep.join(folders)}


def run_names(mlruns: Path) -> list[str]:
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as connection:
        return sorted(name for (name,) in connection.execute("select name from runs"))


def notes(mlruns: Path) -> list[str]:
    return sorted(path.read_text() for path in mlruns.rglob("note.txt"))


def former(home: Path) -> list[Path]:
    return sorted(home.glob("mlruns-before-restore-*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def is_whole(mlruns: Path, names: list[str]) -> bool:
    return run_names(mlruns) == notes(mlruns) == names and (mlruns / "notes.txt").is_file()


def members_of(archive: Path) -> Members:
    with tarfile.open(archive) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]


def packed(target: Path, members: Members, *others: tarfile.TarInfo) -> Path:
    """An archive of these members, after which come others that hold nothing, and a manifest that fits."""
    manifest = json.loads(members.pop("backup.json"))
    manifest["files"] = {name: blake2b(data, digest_size=16).hexdigest() for name, data in members.items()}
    manifest["files"] |= {other.name: blake2b(digest_size=16).hexdigest() for other in others}
    with tarfile.open(target, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for other in others:
            archive.addfile(other)
        member, data = tarfile.TarInfo("backup.json"), json.dumps(manifest).encode()
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return target


def test_a_registered_detector_loads_where_the_backup_was_restored(
    registered: Path, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    made = back_up(of(registered), tmp_path / "store.tar.gz")
    there = tmp_path / "another place"
    there.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(registered / name, there / name)
    assert restore(of(there), made.path) is None
    moved = registered.rename(registered.with_name("away"))  # so that nothing is read from there
    try:
        loaded_registry(there)
        bright, dark = (np.full((1, SIZE, SIZE), value, np.uint8) for value in (200, 50))
        detector = load_detector(MODEL)
        assert detector.screen(np.concatenate([bright, dark])).abnormal.tolist() == [True, False]
    finally:
        moved.rename(registered)
    assert is_whole(there / "mlruns", ["first", "mean"])
    assert former(there) == []


def test_a_backup_counts_what_is_in_it(registered: Path, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "store.tar.gz"
    made = back_up(of(registered), target)
    members = members_of(target)
    assert made == Backup(target, target.stat().st_size, len(members) - 1, runs=2, versions=1)
    manifest = json.loads(members.pop("backup.json"))
    assert (manifest["format"], manifest["number_of_files"]) == (2, len(members))
    assert manifest["files"] == {name: blake2b(data, digest_size=16).hexdigest() for name, data in members.items()}
    assert {"mlruns/mlflow.db", "mlruns/.location", "mlruns/notes.txt"} < set(members)
    assert {"mlruns/README.md", "mlruns/.gitignore"}.isdisjoint(members)
    assert [path.name for path in target.parent.iterdir()] == ["store.tar.gz"]
    assert not (registered / ".medscreen" / "backup.db").exists()
    with tarfile.open(target) as archive:
        assert {(member.uname, member.uid) for member in archive} == {("", 0)}


def test_the_former_store_is_kept_and_what_git_brings_stays(home: Path, saved: Path) -> None:
    (home / "mlruns" / "README.md").write_text("of this checkout")
    before = contents(home / "mlruns")
    kept = restore(of(home), saved)
    assert [kept] == former(home)
    assert kept is not None
    assert contents(kept).items() >= before.items()
    assert is_whole(kept, ["first", "second"])
    open_store(of(home))
    assert is_whole(home / "mlruns", ["first"])
    assert (home / "mlruns" / "README.md").read_text() == "of this checkout"
    assert sorted(path.name for path in home.iterdir()) == sorted(
        [".medscreen", "dvc.yaml", "mlruns", kept.name, "params.yaml"]
    )


def test_a_damaged_store_is_replaced_and_kept(home: Path, saved: Path) -> None:
    database = home / "mlruns" / "mlflow.db"
    database.write_bytes(b"no database" * 1000)
    kept = restore(of(home), saved)
    assert kept is not None
    assert (kept / "mlflow.db").read_bytes() == b"no database" * 1000
    assert is_whole(home / "mlruns", ["first"])


WRITER = """
import sys
from pathlib import Path
from medscreen.workspace.layout import Layout
from medscreen.tracking.store import open_store
from medscreen.tracking.store import open_experiment
home = Path(sys.argv[1])
client = open_store(Layout(home, home))
experiment = open_experiment(client, Layout(home, home), "written")
for number in range(10_000):
    if (home / "stop").exists():
        break
    run = client.create_run(experiment, run_name=f"run {number}")
    client.log_text(run.info.run_id, f"run {number}", "note.txt")
    client.set_tag(run.info.run_id, "noted", str(number))
    print(number, flush=True)
"""


def test_a_training_logs_on_while_its_store_is_backed_up(home: Path, tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE, text=True, env=with_tests()
    )
    assert writer.stdout is not None
    for _ in range(5):
        assert writer.stdout.readline()
    assert (home / "mlruns" / "mlflow.db-wal").stat().st_size > 0
    made = back_up(of(home), tmp_path / "store.tar.gz")
    after = int(writer.stdout.readline())
    (home / "stop").touch()
    rest, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0
    there = tmp_path / "there"
    restore(of(there), made.path)
    client = open_store(of(there))
    found = client.search_runs([client.get_experiment_by_name("written").experiment_id])
    noted = {int(run.data.tags["noted"]) for run in found if "noted" in run.data.tags}
    assert set(range(5)) <= noted
    assert len(noted) < max([after, *map(int, rest.split())]) + 1  # it was still logging
    assert made.runs == len(found) + 2
    for run in found:
        if "noted" in run.data.tags:
            path = client.download_artifacts(run.info.run_id, "note.txt", str(tmp_path))
            assert Path(path).read_text() == run.info.run_name


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from medscreen.workspace.layout import Layout
from medscreen.tracking.backups import restore

home, archive = map(Path, sys.argv[1:])
OPERATIONS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.utime", "sqlite3.connect"}
left = 0

def count(event, arguments):
    global left
    writes = event == "open" and str(arguments[0]).startswith(str(home)) and "w" in (arguments[1] or "")
    if left and (writes or event in OPERATIONS):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
for number in range(1, 500):
    copy = home.with_name(f"killed-{number}")
    shutil.copytree(home, copy)
    child = os.fork()
    if not child:
        home, left = copy, number
        restore(Layout(copy, copy), archive)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        print(number)
        break
"""


@pytest.fixture(scope="module")
def killed(closed: Path, saved: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Checkouts in which a restore was killed before its first file operation, its second, and so on."""
    home = Path(shutil.copytree(closed, tmp_path_factory.mktemp("killed") / "checkout"))
    number = int(python(KILLED, home, saved).stdout)
    assert is_whole(home.with_name(f"killed-{number}") / "mlruns", ["first"])  # that one came to its end
    return [home.with_name(f"killed-{i}") for i in range(1, number)]


def test_after_a_kill_the_store_opens_as_the_former_or_the_restored(killed: list[Path], tmp_path: Path) -> None:
    restored = []
    for home in killed:
        copy = Path(shutil.copytree(home, tmp_path / home.name))
        open_store(of(copy))
        is_restored = is_whole(copy / "mlruns", ["first"])
        restored.append(is_restored)
        assert is_restored or is_whole(copy / "mlruns", ["first", "second"]), home.name
        assert [is_whole(kept, ["first", "second"]) for kept in former(copy)] == [True] * is_restored, home.name
        assert not list(copy.glob(".mlruns-before-restore-*"))
    assert restored == sorted(restored)
    assert sum(restored) >= 1  # killed between the second and the third renaming
    assert not all((home / "mlruns").exists() for home in killed)  # and between the first and the second


def test_after_a_kill_the_next_restore_succeeds_and_clears_up(killed: list[Path], saved: Path, tmp_path: Path) -> None:
    for home in killed:
        copy = Path(shutil.copytree(home, tmp_path / home.name))
        restore(of(copy), saved)
        assert is_whole(copy / "mlruns", ["first"]), home.name
        assert sum(is_whole(kept, ["first", "second"]) for kept in former(copy)) == 1, home.name
        expected = [".medscreen", "dvc.yaml", "mlruns", *(kept.name for kept in former(copy)), "params.yaml"]
        assert sorted(path.name for path in copy.iterdir()) == sorted(expected), home.name


def test_what_was_put_where_a_killed_exchange_left_nothing_is_kept(home: Path) -> None:
    (home / "mlruns").rename(home / ".mlruns-before-restore-20260101T000000.000000Z")
    (home / "mlruns").mkdir()
    (home / "mlruns" / "README.md").write_text("from git")
    (home / "mlruns" / "note of mine").write_text("kept")
    settle(of(home))
    assert is_whole(home / "mlruns", ["first", "second"])
    (kept,) = former(home)
    assert (kept / "note of mine").read_text() == "kept"


def journal(home: Path, content: str) -> Path:
    path = of(home).studies_journal
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def test_studies_come_with_the_store_and_the_former_ones_are_kept(home: Path, tmp_path: Path) -> None:
    lock = journal(home, "trials\n").with_name("journal.log.lock")
    lock.symlink_to(lock.with_name("journal.log"))  # as Optuna locks it
    later = Path(shutil.copytree(home, tmp_path / "later", symlinks=True))
    journal(later, "later trials\n")
    target = tmp_path / "store.tar.gz"
    back_up(of(home), target)
    assert members_of(target)["studies/journal.log"] == b"trials\n"
    kept = restore(of(later), target)
    assert kept is not None
    assert is_whole(kept, ["first", "second"])
    assert (kept / "studies" / "journal.log").read_text() == "later trials\n"
    there = tmp_path / "there"
    assert restore(of(there), target) is None
    for restored in (later, there):
        assert of(restored).studies_journal.read_text() == "trials\n"
        assert is_whole(restored / "mlruns", ["first", "second"])
        assert not (restored / "mlruns" / STUDIES).exists()
    shutil.rmtree(there / "mlruns")
    kept = restore(of(there), target)
    assert kept is not None
    assert [path.name for path in kept.iterdir()] == ["studies"]


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_kill_among_the_renamings_of_studies_is_settled(tmp_path: Path, moved: int) -> None:
    kept = tmp_path / ".mlruns-before-restore-20260101T000000.000000Z"
    waiting = tmp_path / "mlruns" / STUDIES
    for folder in (kept, waiting, tmp_path / "studies"):
        folder.mkdir(parents=True)
        (folder / "journal.log").write_text(folder.name)
    (tmp_path / "mlruns" / "mlflow.db").touch()
    if moved > 0:
        (tmp_path / "studies").rename(kept / "studies")
    if moved > 1:
        waiting.rename(tmp_path / "studies")
    assert settle(of(tmp_path)) == kept.with_name(kept.name.removeprefix("."))
    assert (tmp_path / "studies" / "journal.log").read_text() == STUDIES
    assert (former(tmp_path)[0] / "studies" / "journal.log").read_text() == "studies"
    assert not waiting.exists()


@pytest.mark.parametrize("has_store", [True, False])
def test_where_the_backup_has_no_studies_there_are_none_and_the_later_ones_are_kept(
    home: Path, saved: Path, has_store: bool
) -> None:
    path = journal(home, "trials\n")
    if not has_store:
        shutil.rmtree(home / "mlruns")
    kept = restore(of(home), saved)
    assert kept is not None
    assert (kept / "studies" / "journal.log").read_text() == "trials\n"
    assert not path.parent.exists()
    assert not (home / "mlruns" / STUDIES).exists()


def test_a_backup_of_a_form_without_studies_leaves_them_as_they_are(home: Path, saved: Path) -> None:
    path = journal(home, "trials\n")
    members = members_of(saved)
    restore(of(home), written(home.with_name("a.tar.gz"), members | {"backup.json": changed(members, format=1)}))
    assert path.read_text() == "trials\n"


def test_studies_are_not_restored_while_one_runs(home: Path, saved: Path) -> None:
    locks = home / ".medscreen" / "locks"
    locks.mkdir(parents=True)
    with FileLock(locks / "study-cnn-phantom.lock"), pytest.raises(MedscreenError, match="is in use") as error:
        restore(of(home), saved)
    assert "end `medscreen study` first" in one_sentence(error)
    assert former(home) == []
    assert restore(of(home), saved) is not None


def test_killed_backups_do_not_pile_up(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    program = """
import os, signal, sys
from pathlib import Path
from medscreen.workspace.layout import Layout
from medscreen.tracking import backup_archive as archive, backups
archive._add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
home, target = map(Path, sys.argv[1:])
backups.back_up(Layout(home, home), target)
"""
    for hour in (1, 2):
        with pytest.raises(subprocess.CalledProcessError):
            python(program, home, folder / f"mlruns-{hour}.tar.gz")
        (partial,) = folder.iterdir()
        assert partial.name.startswith(f".mlruns-{hour}.tar.gz.partial-")
    back_up(of(home), folder / "mlruns-3.tar.gz")
    assert [path.name for path in folder.iterdir()] == ["mlruns-3.tar.gz"]


def test_a_backup_whose_database_is_none_is_refused(home: Path, saved: Path) -> None:
    archive = home.with_name("archive.tar.gz")
    packed(archive, members_of(saved) | {"mlruns/mlflow.db": b"no database"})
    refused(home, archive, "holds no MLflow store")


def test_a_store_in_use_is_left_alone(home: Path, saved: Path) -> None:
    before = contents(home / "mlruns")
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as training:
        assert training.execute("select count(*) from runs").fetchone() == (2,)
        with pytest.raises(MedscreenError, match="is in use") as error:
            restore(of(home), saved)
    one_sentence(error)
    assert contents(home / "mlruns").items() >= before.items()
    assert former(home) == []
    assert not (home / "mlruns-restoring").exists()
    assert restore(of(home), saved) is not None


def test_one_backup_or_restore_at_a_time(home: Path, saved: Path, tmp_path: Path) -> None:
    (home / ".medscreen").mkdir(exist_ok=True)
    with FileLock(home / ".medscreen" / "backup.lock"):
        for act in (lambda: back_up(of(home), tmp_path / "new.tar.gz"), lambda: restore(of(home), saved)):
            with pytest.raises(MedscreenError, match="is running") as error:
                act()
            one_sentence(error)
    assert is_whole(home / "mlruns", ["first", "second"])


def overwritten(home: Path, first: int, last: int) -> None:
    """Some bytes of the database are something else."""
    database = home / "mlruns" / "mlflow.db"
    content = database.read_bytes()
    database.write_bytes(content[:first] + b"\xff" * (last - first) + content[last:])


@pytest.mark.parametrize(
    ("target", "change", "says"),
    [
        ("new.tar.gz", lambda home: shutil.rmtree(home / "mlruns"), "holds no store to back up"),
        ("new.tar.gz", lambda home: overwritten(home, 0, 100), "is damaged"),
        ("new.tar.gz", lambda home: overwritten(home, 300_000, 400_000), "is damaged"),
        ("new.tar.gz", lambda home: (home / "mlruns" / "link").symlink_to(home / "params.yaml"), "link is a link"),
        ("params.yaml", lambda _: None, "exists already"),
        ("mlruns", lambda _: None, "exists already"),
        ("mlruns/artifacts/new.tar.gz", lambda _: None, "lies in the store"),
        ("params.yaml/new.tar.gz", lambda _: None, "can't be written"),
        ("/proc/new.tar.gz", lambda _: None, "can't be written"),
    ],
)
def test_what_can_not_be_backed_up_is_one_sentence(
    home: Path, target: str, change: Callable[[Path], Any], says: str
) -> None:
    change(home)
    before = contents(home)
    with pytest.raises(MedscreenError, match=says) as error:
        back_up(of(home), home / target)
    one_sentence(error)
    after = contents(home)
    rewritten = {"mlruns/mlflow.db", "mlruns/.location"}  # this store was copied: it says now where it is
    assert {name: after[name] for name in before if name not in rewritten} == {
        name: data for name, data in before.items() if name not in rewritten
    }
    assert [name for name in after if "backup.db" in name or "partial" in name or name.endswith(".gz")] == []


LIMITED = """
import resource, sys
from pathlib import Path
from medscreen.errors import MedscreenError
from medscreen.workspace.layout import Layout
from medscreen.tracking.store import open_store
from medscreen.tracking.backups import back_up, restore
what, home, file, limit = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
layout = Layout(home, home)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    {"back up": back_up, "restore": restore}[what](layout, file)
except MedscreenError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("limit", "says"), [(4_000_000, "no room here.tar.gz can't be written"), (300_000, "backup.db")]
)
def test_a_full_disk_is_one_sentence_and_leaves_no_half_backup(
    home: Path, tmp_path: Path, limit: int, says: str
) -> None:
    noise = np.random.default_rng(1).bytes(6_000_000)
    (home / "mlruns" / "artifacts" / "noise").write_bytes(noise)
    target = tmp_path / "backups" / "no room here.tar.gz"
    (output,) = python(LIMITED, "back up", home, target, limit).stdout.splitlines()
    assert says in output
    assert not target.parent.exists() or list(target.parent.iterdir()) == []
    assert not (home / ".medscreen" / "backup.db").exists()
    assert back_up(of(home), target).size > len(noise)


def test_a_full_disk_leaves_the_store_as_it_was(home: Path, saved: Path) -> None:
    before = contents(home / "mlruns")
    output = python(LIMITED, "restore", home, saved, 300_000).stdout
    assert "can't be restored (File too large)" in output
    assert output.count("\n") == 1
    assert contents(home / "mlruns") == before
    assert [path.name for path in home.iterdir() if "restor" in path.name] == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "https://mlflow.hospital.example"])
def test_the_store_of_a_server_is_not_ours_to_save(
    home: Path, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for act in (lambda: back_up(of(home), tmp_path / "new.tar.gz"), lambda: restore(of(home), saved)):
        with pytest.raises(MedscreenError, match=address) as error:
            act()
        assert "MLFLOW_TRACKING_URI" in one_sentence(error)
    assert former(home) == []


def member(name: str, kind: bytes = tarfile.REGTYPE, leads_to: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, leads_to
    return made


def changed(members: Members, **changes: Any) -> bytes:
    return json.dumps(json.loads(members["backup.json"]) | changes).encode()


def written(target: Path, members: Members) -> Path:
    """An archive of exactly these members."""
    with tarfile.open(target, "w:gz") as archive:
        for name, data in members.items():
            made = tarfile.TarInfo(name)
            made.size = len(data)
            archive.addfile(made, io.BytesIO(data))
    return target


REFUSED: dict[str, tuple[Callable[[Path, Members], Any], str]] = {
    "no file": (lambda path, _: path.mkdir(), "is not a file"),
    "empty": (lambda path, _: path.write_bytes(b""), "is not a backup"),
    "text": (lambda path, _: path.write_text("runs and versions\n"), "is not a backup"),
    "gzip of text": (lambda path, _: path.write_bytes(gzip.compress(b"runs and versions\n" * 100)), "is not a backup"),
    "another tar": (lambda path, _: written(path, {"etc/passwd": b"root"}), "holds 'etc/passwd'"),
    "above": (lambda path, m: packed(path, m, member("../evil")), r"holds '\.\./evil'"),
    "above from within": (lambda path, m: packed(path, m, member("mlruns/../../evil")), "evil"),
    "absolute": (lambda path, m: packed(path, m, member("/tmp/evil")), "holds '/tmp/evil'"),  # noqa: S108
    "symlink": (lambda path, m: packed(path, m, member("mlruns/evil", tarfile.SYMTYPE, "/etc")), "evil"),
    "hard link": (lambda path, m: packed(path, m, member("mlruns/evil", tarfile.LNKTYPE, "mlruns/mlflow.db")), "evil"),
    "device": (lambda path, m: packed(path, m, member("mlruns/evil", tarfile.CHRTYPE)), "evil"),
    "pipe": (lambda path, m: packed(path, m, member("mlruns/evil", tarfile.FIFOTYPE)), "evil"),
    "twice": (lambda path, m: packed(path, m, member("mlruns/mlflow.db")), "holds 'mlruns/mlflow.db'"),
    "no manifest": (lambda path, m: written(path, {n: d for n, d in m.items() if n != "backup.json"}), "backup.json"),
    "bad manifest": (lambda path, m: written(path, m | {"backup.json": b"{}"}), "backup.json is missing or damaged"),
    "newer": (lambda path, m: written(path, m | {"backup.json": changed(m, format=3, medscreen="9.1")}), r"9\.1"),
    "other content": (lambda path, m: written(path, m | {"mlruns/.location": b"/"}), r"mlruns/\.location differs"),
    "one file less": (
        lambda path, m: written(path, {n: d for n, d in m.items() if "note.txt" not in n}),
        r"note\.txt differs",
    ),
    "one file more": (lambda path, m: written(path, {"mlruns/more": b"", **m}), "mlruns/more differs"),
    "no database": (
        lambda path, m: packed(path, {n: d for n, d in m.items() if n != "mlruns/mlflow.db"}),
        r"mlruns/mlflow\.db differs",
    ),
}


def refused(home: Path, archive: Path, says: str) -> None:
    before = contents(home)
    with pytest.raises(MedscreenError, match=says) as error:
        restore(of(home), archive)
    assert str(archive) in one_sentence(error)
    assert {name: data for name, data in contents(home).items() if "backup.lock" not in name} == before
    assert sorted(path.name for path in home.parent.iterdir()) == sorted({home.name, archive.name})


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_whole_backup_is_one_sentence_and_changes_nothing(home: Path, saved: Path, case: str) -> None:
    archive = home.with_name("archive.tar.gz")
    make, says = REFUSED[case]
    make(archive, members_of(saved))
    refused(home, archive, says)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_backup_that_is_cut_short_is_refused(home: Path, saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    archive = home.with_name("archive.tar.gz")
    archive.write_bytes(whole[: int(share * len(whole))])
    refused(home, archive, "is incomplete")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.8, 0.99, 1.0])
def test_a_backup_with_one_wrong_byte_is_refused(home: Path, saved: Path, share: float) -> None:
    content = bytearray(saved.read_bytes())
    content[int(share * (len(content) - 1))] ^= 0x55
    archive = home.with_name("archive.tar.gz")
    archive.write_bytes(content)
    refused(home, archive, "is not a backup|is damaged|is incomplete|holds|unpacks|not a complete backup")


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], loaded_registry: Callable[[Path], None]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `medscreen` in a checkout: exit status, stdout, stderr."""

    def run(home: Path, *arguments: str) -> tuple[int, str, str]:
        loaded_registry(home)
        monkeypatch.setattr(sys, "argv", ["medscreen", *arguments])
        try:
            main()
            status = 0
        except SystemExit as left:
            status = int(left.code or 0)
        return status, *capsys.readouterr()

    return run


def test_the_commands_say_what_they_did(registered: Path, home: Path, command: Any) -> None:
    status, out, _ = command(registered, "backup")
    (archive,) = registered.glob("mlruns-*.tar.gz")
    files, size = len(members_of(archive)) - 1, archive.stat().st_size / 1e6
    assert status == 0
    assert out == f"{archive.name}: runs 2, registered versions 1, files {files}, {size:.1f} MB.\n"
    shutil.move(archive, home)
    status, out, _ = command(home, "restore", archive.name)
    (kept,) = former(home)
    assert status == 0
    assert out.splitlines() == [f"The former store is kept as {kept}.", f"In Production: {MODEL} version 1 (mean)."]


def test_a_store_without_a_version_in_production_says_so(home: Path, saved: Path, command: Any) -> None:
    status, out, _ = command(home, "restore", str(saved))
    assert status == 0
    assert out.splitlines()[-1] == "Nothing is in Production."


@pytest.mark.parametrize(
    "arguments", [["backup", "params.yaml"], ["restore", "params.yaml"], ["restore", "nowhere.tar.gz"]]
)
def test_a_mistake_is_one_sentence_and_exit_status_2(home: Path, command: Any, arguments: list[str]) -> None:
    status, out, err = command(home, *arguments)
    assert (status, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert line.startswith("medscreen: ")
    assert arguments[1] in line
    assert line.endswith(".")
