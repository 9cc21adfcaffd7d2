"""The audit that leaves the folder of the data: names of files that may be patients' are keyed hashes."""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

_KEY_BYTES = 32
# a decoder may quote a name escaped, or cut in the middle
_QUOTED = re.compile(r"""(?<!\w)(['"]).*?(?:\1|$)""")


def without_names(audit: Mapping[str, Any], key_file: Path) -> dict[str, Any]:
    """The same audit, names of files hashed with the key in a file that never leaves this machine.

    Equal names have equal hashes in all audits of one checkout. The key is made when it is first needed.
    """
    hidden: dict[str, Any] = _hashed(dict(audit), _key(key_file))
    return hidden


def _hashed(entry: Any, key: bytes) -> Any:
    """The same without names: those under `file` and `files`, also where a `reason` beside them repeats one."""
    if isinstance(entry, list):
        return [_hashed(item, key) for item in entry]
    if not isinstance(entry, dict):
        return entry
    hidden = {name: _hashed(value, key) for name, value in entry.items()}
    if "files" in entry:
        hidden["files"] = [_hash(name, key) for name in entry["files"]]
    if "file" in entry:
        hidden["file"] = _hash(entry["file"], key)
        hidden["reason"] = _without_name(hidden["reason"], entry["file"], hidden["file"])
    return hidden


def _without_name(reason: str, name: str, hashed: str) -> str:
    for known in (name, PurePosixPath(name).name):
        reason = reason.replace(known, hashed)
    return _QUOTED.sub("(a name)", reason)


def _hash(name: str, key: bytes) -> str:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def _key(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        drawn = path.with_name(f"{path.name}-{secrets.token_hex(8)}")
        drawn.touch(mode=0o600)
        drawn.write_bytes(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(drawn, path)  # fails where another process was first: one key for both
        except FileExistsError:
            pass
        finally:
            drawn.unlink()
    return path.read_bytes()
