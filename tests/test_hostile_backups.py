"""Files that claim to be backups: whatever their headers claim, `unpack` refuses them in one sentence."""

import gzip
import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.tracking import backup_archive as archive
from medscreen.tracking.backup_archive import unpack

ROOM = 10 << 20
FILES = {
    "mlruns/mlflow.db": b"tables" * 1000,
    "mlruns/artifacts/größe/" + "long" * 40: b"x",
    "studies/journal.log": b"{}",
}


def regular(name: str, data: bytes) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member.tobuf(tarfile.PAX_FORMAT) + data + b"\0" * (-len(data) % 512)


def manifest(**changes: object) -> bytes:
    files = {name: blake2b(data, digest_size=16).hexdigest() for name, data in FILES.items()}
    about = {"format": 2, "medscreen": "0.1", "at": "2026-01-01T00:00:00Z", "number_of_files": 3, "files": files}
    return json.dumps(about | changes).encode()


def whole(before: bytes = b"", **changes: object) -> bytes:
    members = b"".join(regular(name, data) for name, data in FILES.items())
    return before + members + regular("backup.json", manifest(**changes)) + b"\0" * 1024


def header(name: str, kind: bytes, size: int, **options: object) -> bytes:
    """One header that claims so many bytes."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = max(size, 0)
    for option, value in options.items():
        setattr(member, option, value)
    raw = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        raw[124:136] = b"\xff" + (256**11 + size).to_bytes(11, "big")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def pax(text: str) -> bytes:
    """A header of extended attributes, each `length key=value`."""
    return header("pax", tarfile.XHDTYPE, len(text)) + text.encode() + b"\0" * (-len(text) % 512)


HUGE = 8 << 30
SPARSE = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "sparse file of old GNU tar": lambda: whole(header("mlruns/a", tarfile.GNUTYPE_SPARSE, 0)),
    "sparse file of pax": lambda: whole(pax(SPARSE) + regular("mlruns/a", b"1\n0\n1\n")),
    "sparse map of nonsense": lambda: whole(pax(SPARSE) + regular("mlruns/a", b"x\ny\n")),
    "sparse size": lambda: whole(
        pax("30 GNU.sparse.size=8589934592\n24 GNU.sparse.map=0,900\n") + regular("mlruns/a", b"")
    ),
    "huge manifest": lambda: header("backup.json", tarfile.REGTYPE, HUGE),
    "huge file": lambda: header("mlruns/a", tarfile.REGTYPE, HUGE),
    "huge long name": lambda: header("a", tarfile.GNUTYPE_LONGNAME, HUGE),
    "huge long link": lambda: header("a", tarfile.GNUTYPE_LONGLINK, HUGE),
    "huge pax header": lambda: header("a", tarfile.XHDTYPE, HUGE),
    "huge global header": lambda: header("a", tarfile.XGLTYPE, HUGE),
    "huge pax size": lambda: pax("22 size=8589934592000\n") + regular("mlruns/a", b""),
    "negative size": lambda: whole(header("mlruns/a", tarfile.REGTYPE, -1024)),
    "negative size of a name": lambda: whole(header("mlruns/a", tarfile.GNUTYPE_LONGNAME, -1024)),
    "size that leads to the beginning": lambda: whole(header("mlruns/a", tarfile.REGTYPE, -512)),
    "headers without end": lambda: (header("a", tarfile.GNUTYPE_LONGNAME, 2) + b"a\0".ljust(512, b"\0")) * 5000,
    "the same file, written otherwise": lambda: whole(regular("mlruns//mlflow.db", b"")),
    "the same file, by a dot": lambda: whole(regular("mlruns/./mlflow.db", b"")),
    "a name with a line break": lambda: whole(regular("mlruns/a\nb", b"")),
    "a name that redraws the terminal": lambda: whole(regular("mlruns/\x1b[2J", b"")),
    "a folder": lambda: whole(header("mlruns/a", tarfile.DIRTYPE, 0)),
    "another top": lambda: whole(regular("src/medscreen/__init__.py", b"")),
    "studies alone": lambda: whole(regular("studies", b"")),
    "a file behind the manifest": lambda: whole()[:-1024] + regular("mlruns/a", b"") + b"\0" * 1024,
    "two manifests": lambda: whole()[:-1024] + regular("backup.json", manifest()) + b"\0" * 1024,
    "format 0": lambda: whole(format=0),
    "format -1": lambda: whole(format=-1),
    "format of many digits": lambda: whole(format=10**1000),
    "no files": lambda: whole(files={}),
    "files of nested lists": lambda: whole()[: -1024 - 1024] + regular("backup.json", b"[" * 100_000) + b"\0" * 1024,
}  # fmt: skip


def check(path: Path, room: int) -> bool:
    """Unpacks a backup beside everything else, as `restore` does before it puts anything in place."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        try:
            has_studies = unpack(path, place / "store", place / "store" / ".studies", room)
        except OSError as error:  # a name that is a file and a folder: `restore` makes one sentence of it, too
            raise MedscreenError(f"{path} can't be restored ({error.strerror}).") from error
        finally:
            assert [entry.name for entry in place.iterdir()] == ["store"]
        return has_studies


def refused(path: Path) -> str:
    with pytest.raises(MedscreenError) as error:
        check(path, ROOM)
    message = one_sentence(error)
    assert str(path) in message
    return message


def test_a_whole_backup_passes(tmp_path: Path) -> None:
    path = tmp_path / "backup.tar.gz"
    path.write_bytes(gzip.compress(whole()))
    check(path, ROOM)
    path.write_bytes(gzip.compress(whole(format=1)))
    check(path, ROOM)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_and_writes_nothing_elsewhere(tmp_path: Path, case: str) -> None:
    path = tmp_path / "backup.tar.gz"
    path.write_bytes(gzip.compress(HOSTILE[case]()))
    tracemalloc.start()
    refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 << 20


@pytest.mark.parametrize(
    ("bound", "value", "says"),
    [("_MOST_FILES", 2, "more than a backup"), ("_LARGEST_MANIFEST", 99, "more than a backup"), ("_SMALL", 9, "times")],
)
def test_what_no_store_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, says: str
) -> None:
    monkeypatch.setattr(archive, bound, value)
    path = tmp_path / "backup.tar.gz"
    path.write_bytes(gzip.compress(whole(regular("mlruns/zeros", bytes(3_000_000)) if bound == "_SMALL" else b"")))
    assert says in refused(path)


def test_zeros_that_would_fill_the_disk_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "backup.tar.gz"
    path.write_bytes(gzip.compress(regular("mlruns/zeros", bytes(ROOM))))
    assert "holds more than the free 0.0 GB" in refused(path)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 511), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4),
    number=st.integers(0, 4),
    is_summed=st.booleans(),
)
def test_any_other_header_is_one_sentence_or_no_matter(
    tmp_path: Path, changes: list[tuple[int, bytes]], number: int, is_summed: bool
) -> None:
    content = bytearray(whole())
    with tarfile.open(fileobj=io.BytesIO(bytes(content))) as opened:
        starts = [member.offset for member in opened]
    start = starts[number % len(starts)]
    for position, data in changes:
        content[start + position : start + position + len(data)] = data
    if is_summed:
        content[start + 148 : start + 156] = b" " * 8
        content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    path = tmp_path / "backup.tar.gz"
    path.write_bytes(gzip.compress(bytes(content), compresslevel=1))
    try:
        check(path, ROOM)
    except MedscreenError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


NAMES = st.binary(min_size=1, max_size=60).filter(lambda name: not {0, 47} & set(name) and name not in {b".", b".."})
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(b"/".join), st.binary())


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(stored=TREES, studied=TREES)
def test_every_backup_that_is_written_can_be_restored(stored: dict[bytes, bytes], studied: dict[bytes, bytes]) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "snapshot").write_bytes(b"tables")
        for top, tree in (("mlruns", stored), ("studies", studied)):
            (home / top).mkdir()
            for name, content in tree.items():
                with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):  # a name that is a folder, too
                    path = home / top / os.fsdecode(name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
        number = archive.write(home / "backup.tar.gz", home / "mlruns", home / "snapshot", home / "studies")
        assert unpack(home / "backup.tar.gz", home / "back", home / "back studies", ROOM)
        assert contents(home / "back studies") == contents(home / "studies")
        assert contents(home / "back").pop(b"mlflow.db") == b"tables"
        assert len(contents(home / "back")) + len(contents(home / "back studies")) == number
        kept = {name: data for name, data in contents(home / "mlruns").items() if not name.startswith(b"mlflow.db")}
        assert kept.items() - contents(home / "back").items() <= {(n, d) for n, d in kept.items() if n in GITS}


GITS = {b"README.md", b".gitignore"}


def contents(folder: Path) -> dict[bytes, bytes]:
    return {os.fsencode(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_zeros_are_backed_up_so_that_they_can_be_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_SMALL", 9)
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "zeros").write_bytes(bytes(3_000_000))
    (tmp_path / "snapshot").write_bytes(b"tables")
    path = tmp_path / "backup.tar.gz"
    archive.write(path, tmp_path / "mlruns", tmp_path / "snapshot", tmp_path / "studies")
    check(path, ROOM)


@pytest.mark.parametrize("folder", ["mlruns", "studies"])
def test_a_pipe_in_the_store_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    os.mkfifo(tmp_path / folder / "pipe")
    (tmp_path / "snapshot").write_bytes(b"tables")
    with pytest.raises(MedscreenError, match="is a pipe, a socket or a device") as error:
        archive.write(tmp_path / "b", tmp_path / "mlruns", tmp_path / "snapshot", tmp_path / "studies")
    one_sentence(error)
