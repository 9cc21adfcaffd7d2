import stat
import zipfile
from pathlib import Path

import pytest

from factories import one_sentence
from medscreen.data.sources import zip_archives as archives
from medscreen.errors import MedscreenError


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def refusal(archive: Path, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    with pytest.raises(MedscreenError) as error:
        archives.unpack(archive, folder)
    message = one_sentence(error)
    assert not [path for path in folder.rglob("*") if path.is_file()]
    return message


def test_files_are_unpacked_where_they_belong(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "x.zip", ("set/", b""), ("set/not fractured/1.png", b"one"), ("set/ä.txt", b"two"),
        ("__MACOSX/set/._1.png", b"no"), ("set/.DS_Store", b"no"), ("set/empty/", b""),
    )  # fmt: skip
    (tmp_path / "out").mkdir()
    assert archives.unpack(path, tmp_path / "out") == 2
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"set/not fractured/1.png": b"one", "set/ä.txt": b"two"}


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "..\\x", "a\\..\\..\\x", "C:/x", "C:x", "//server/share/x", "a/../b", "."],
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "x.zip", ("fine", b"1"), (name, b"2"))
    assert "leads out" in refusal(path, tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"x.zip", "out"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    link = zipfile.ZipInfo("link")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    assert "link or device" in refusal(zipped(tmp_path / "x.zip", (link, b"/etc/passwd")), tmp_path / "out")


@pytest.mark.parametrize(
    ("first", "second"),
    [("A/1.png", "a/1.png"), ("1.PNG", "1.png"), ("é.png", "e\u0301.png"), ("a", "a/b"), ("a/b", "a"), ("ß", "SS")],
)
def test_names_that_one_file_system_takes_for_the_same_are_refused(tmp_path: Path, first: str, second: str) -> None:
    path = zipped(tmp_path / "x.zip", (first, b"1"), (second, b"2"))
    assert "equal on some file systems" in refusal(path, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "equal on some" in refusal(zipped(tmp_path / "x.zip", ("a", b"1"), ("a", b"2")), tmp_path / "out")


def test_a_bomb_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_HARMLESS_BYTES", 1_000_000)
    many = [(f"{i}.png", bytes(1_000_000)) for i in range(20)]
    assert "too many for images" in refusal(zipped(tmp_path / "x.zip", *many), tmp_path / "out")


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("a.png", bytes(5_000_000)))
    content = path.read_bytes().replace((5_000_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little"))
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(MedscreenError, match="not a plain zip archive") as error:
        archives.unpack(path, tmp_path / "out")
    one_sentence(error)
    assert sum(p.stat().st_size for p in (tmp_path / "out").iterdir()) <= 1_000


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("aaaa", bytes(range(256)) * 40))
    with zipfile.ZipFile(path, "a") as archive:  # twenty more entries of the directory that point to the same bytes
        for number in range(20):
            double = zipfile.ZipInfo(f"b{number:03d}")
            whole = archive.infolist()[0]
            for name in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(double, name, getattr(whole, name))
            archive.filelist.append(double)
        archive._didModify = True  # type: ignore[attr-defined]
    assert "too many for images" in refusal(path, tmp_path / "out")


def test_a_full_disk_is_a_sentence_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    path = zipped(tmp_path / "x.zip", ("a.png", bytes(1_000)))
    assert "make room" in refusal(path, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_archive_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert "delete it and fetch again" in refusal(tmp_path / "x.zip", tmp_path / "out")


def test_a_damaged_archive_is_a_sentence(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("a.bin", bytes(range(256)) * 400))
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(MedscreenError, match="delete it and fetch again") as error:
        archives.unpack(path, tmp_path / "out")
    one_sentence(error)


def test_an_empty_archive_is_a_sentence(tmp_path: Path) -> None:
    assert "holds no file" in refusal(zipped(tmp_path / "x.zip"), tmp_path / "out")
