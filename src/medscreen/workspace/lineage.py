"""Lineage of a result: data, code, parameters, DVC's lock, environment; sufficient to reproduce it."""

import json
import platform
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import distributions
from typing import Any

import yaml

from medscreen.config.operating import Policy
from medscreen.errors import MedscreenError
from medscreen.workspace.digests import content_md5, digest_of
from medscreen.workspace.layout import Layout

# written by a repro: changes there are not changes of code
_WRITTEN = ("dvc.lock", "reports/")


def read_lineage(layout: Layout, detector: str, trained_on: Sequence[str], trial: str | None = None) -> dict[str, Any]:
    """The lineage of one detector of the workspace, ready for JSON.

    `trained_on`: digests of the images of train and tune. `trial`: the trial of a study that the parameters come from.
    Names and contents of data files are left out, since they may identify patients.
    """
    raw = json.loads(layout.raw.read_text())
    fitted = json.loads((layout.fitted(detector) / "fit.json").read_text())
    splits = json.loads(layout.curation_report.read_text())["splits"]
    return {
        "detector": detector,
        "dataset": raw["dataset"],
        "data": {"digest": raw["digest"], "splits": {name: about["digest"] for name, about in splits.items()}},
        "training": {
            "run_key": fitted["run_key"],
            "code": fitted["code"],
            "images": digest_of_all(trained_on),
        },
        "trial": trial,
        "source": source_of(layout),
        "params.yaml": layout.params.read_text(),
        "dvc.lock": locked_stages(layout, detector),
        "environment": environment(),
    }


def digest_of_all(digests: Sequence[str]) -> str:
    """Digest (32 hexadecimal characters) of a set of image digests, independent of their order."""
    return digest_of("\n".join(sorted(digests)))


def lineage_digest(lineage: dict[str, Any]) -> str:
    """Digest (32 hexadecimal characters) of a lineage."""
    return digest_of(json.dumps(lineage, sort_keys=True))


def with_policy(params: str, policy: Policy) -> str:
    """A params.yaml, as text, with its threshold policy replaced."""
    content = yaml.safe_load(params)
    content["operating"]["threshold"] = policy.model_dump()
    return yaml.safe_dump(content, sort_keys=False)


def source_of(layout: Layout) -> dict[str, Any]:
    """`commit` of the workspace and list of `uncommitted` files; commit is "" without a repository or commit."""
    from git import Repo
    from git.exc import GitError

    try:
        repository = Repo(layout.workspace, search_parent_directories=True)
        commit = repository.head.commit
        changed = [item.a_path or "" for item in repository.index.diff(None) + commit.diff()]
        changed += [path for path in repository.untracked_files if path.endswith((".py", ".yaml"))]
    except (GitError, ValueError):  # no repository, or one without a commit
        return {"commit": "", "uncommitted": []}
    return {"commit": commit.hexsha, "uncommitted": sorted({p for p in changed if not p.startswith(_WRITTEN)})}


def chain(detector: str) -> tuple[str, ...]:
    """The stages of a detector by their names in dvc.lock."""
    return ("raw", "curate", f"fit@{detector}", f"calibrate@{detector}", "evaluate")


def locked_stages(layout: Layout, *detectors: str) -> dict[str, Any]:
    """dvc.lock of the detectors' stages: command, and digests of dependencies and outputs."""
    path = layout.lock
    stages = yaml.safe_load(path.read_text()).get("stages", {}) if path.is_file() else {}
    return {name: stages[name] for detector in detectors for name in chain(detector) if name in stages}


def require_locked(layout: Layout, detectors: Iterable[str]) -> None:
    """Raises MedscreenError if an output in the workspace differs from its digest in dvc.lock.

    DVC does not hash objects from its cache or remote.
    """
    for entry in locked_stages(layout, *detectors).values():
        for out in entry.get("outs", []):
            path, md5 = layout.workspace / out["path"], str(out.get("md5", ""))
            if out.get("hash") != "md5" or not path.exists() or content_md5(path) == md5:
                continue
            kind, cached = "file", f"files/md5/{md5[:2]}/{md5[2:]} below the folder that `dvc cache dir` prints"
            if path.is_dir():
                kind = "folder"
                cached = "what `dvc cache dir` holds of it (`medscreen verify` names damaged objects)"
            raise MedscreenError(
                f"{out['path']}: damaged or changed by hand, not the {kind} in dvc.lock. Remove it and "
                f"{cached}, then run `dvc repro`, or `dvc pull` if a remote has it."
            )


@cache
def environment() -> dict[str, Any]:
    """Python, system and every installed package with its version."""
    packages = {found.metadata["Name"].lower(): found.version for found in distributions()}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": dict(sorted(packages.items())),
    }
