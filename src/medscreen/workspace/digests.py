"""Digests that name contents: 32 hexadecimal characters of blake2b, of MD5 where others chose it."""

import hashlib
import json
from pathlib import Path

_BYTES = 16


def digest_of(content: bytes | str) -> str:
    """The digest of bytes, or of a text in UTF-8."""
    return hashlib.blake2b(content.encode() if isinstance(content, str) else content, digest_size=_BYTES).hexdigest()


def file_digest(path: Path) -> str:
    """The digest of a file's content, read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()


def file_md5(path: Path) -> str:
    """The MD5 of a file's content, by which others publish and name it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def content_md5(path: Path) -> str:
    """DVC's digest of a file or folder: of a folder, the MD5 of the list of its files with the MD5 of each.

    Folders of compiled Python, which .dvcignore names, do not count.
    """
    if not path.is_dir():
        return file_md5(path)
    paths = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    listed = [{"md5": file_md5(paths[name]), "relpath": name} for name in sorted(paths)]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"
