"""Digest of a stage's code: the files and folders of src/ that dvc.yaml lists for it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import yaml

SOURCE = Path(__file__).resolve().parents[2]
"""Folder of the running code: `src` of a checkout."""


def stage_code(workspace: Path, stage: str, kinds: Iterable[str] = ()) -> list[str]:
    """The dependencies below src/ that dvc.yaml of `workspace` lists for a stage, for detectors of these kinds.

    DVC reruns a stage if its listed code changes; run keys from the same list change in the same cases.
    """
    entry = yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    listed = [dep for dep in entry.get("do", entry)["deps"] if isinstance(dep, str) and dep.startswith("src/")]
    return sorted(
        {dep.replace("${item.kind}", kind) for dep in listed for kind in ("", *kinds) if kind or "$" not in dep}
    )


def code_digest(paths: Iterable[str | Path]) -> str:
    """32 hexadecimal characters for the Python files at or below paths that begin with src/."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        place = SOURCE.parent / path
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.relative_to(SOURCE.parent).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
