"""Redaction of the audit for git and MLflow: file names, which may hold names of patients, become keyed hashes."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from medscreen.workspace.keyed_names import keyed_name, names_key

# decoders may quote a name in escaped or truncated form
_QUOTED = re.compile(r"""(?<!\w)(['"]).*?(?:\1|$)""")


def without_names(audit: Mapping[str, Any], key_file: Path) -> dict[str, Any]:
    """Returns the audit with file names hashed by the key in `key_file`, which never leaves this machine.

    Equal names have equal hashes in all audits of a checkout.
    """
    hidden: dict[str, Any] = _hashed(dict(audit), names_key(key_file))
    return hidden


def _hashed(entry: Any, key: bytes) -> Any:
    """Replaces names under `file` and `files`, and their repeats in `reason`, by hashes."""
    if isinstance(entry, list):
        return [_hashed(item, key) for item in entry]
    if not isinstance(entry, dict):
        return entry
    hidden = {name: _hashed(value, key) for name, value in entry.items()}
    if "files" in entry:
        hidden["files"] = [keyed_name(name, key) for name in entry["files"]]
    if "file" in entry:
        hidden["file"] = keyed_name(entry["file"], key)
        hidden["reason"] = _without_name(hidden["reason"], entry["file"], hidden["file"])
    return hidden


def _without_name(reason: str, name: str, hashed: str) -> str:
    for known in (name, PurePosixPath(name).name):
        reason = reason.replace(known, hashed)
    return _QUOTED.sub("(a name)", reason)
