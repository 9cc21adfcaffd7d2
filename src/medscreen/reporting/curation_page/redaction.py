"""The audit that leaves the folder of the data: names of files that may be patients' are keyed hashes."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from medscreen.workspace.keyed_names import keyed_name, names_key

# a decoder may quote a name escaped, or cut in the middle
_QUOTED = re.compile(r"""(?<!\w)(['"]).*?(?:\1|$)""")


def without_names(audit: Mapping[str, Any], key_file: Path) -> dict[str, Any]:
    """The same audit, names of files hashed with the key in a file that never leaves this machine.

    Equal names have equal hashes in all audits of one checkout.
    """
    hidden: dict[str, Any] = _hashed(dict(audit), names_key(key_file))
    return hidden


def _hashed(entry: Any, key: bytes) -> Any:
    """The same without names: those under `file` and `files`, also where a `reason` beside them repeats one."""
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
