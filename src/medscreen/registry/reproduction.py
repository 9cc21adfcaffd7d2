"""Reproduction of a version from its commit, data and parameters, and comparison with its record."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient

from medscreen.data.images import load_images, open_test_split, set_digest
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import packaged_digest
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import listed
from medscreen.registry.verification.workspace_checks import (
    changed_files,
    differences,
    has_commit,
    locked_code,
    uncommitted_code,
)
from medscreen.registry.versions import Version
from medscreen.registry.work_trees import run_stage_again, work_tree
from medscreen.runtime.escaping import say
from medscreen.tracking.runs import flat_metrics
from medscreen.workspace.layout import Layout

_DATA_STAGES = ["raw", "curate"]
_CACHE = "cache-of-the-checkout"


@dataclass(frozen=True)
class Reproduction:
    """Comparison of the reproduced result with the record.

    `same_metrics`: evaluation.json has the same bytes; None if the version has none. `apart`: largest absolute
    difference of any metric, infinite if a metric is missing in one of the two; `metric`: its name.
    """

    same_training: bool
    same_package: bool
    same_metrics: bool | None
    apart: float
    metric: str

    @property
    def is_identical(self) -> bool:
        """True if package and metrics are equal, bit for bit."""
        return self.same_package and self.same_metrics is not False

    def is_within(self, tolerance: float) -> bool:
        """True if no metric differs by more than `tolerance`; 0 requires bit equality."""
        return self.is_identical or (tolerance > 0 and self.same_metrics is not None and self.apart <= tolerance)


def reproduce(client: MlflowClient, layout: Layout, version: Version, keep: bool) -> Reproduction:
    """Reproduces a version in a work tree of its commit, without changing the checkout's cache, store or workspace.

    Prints the progress. Raises MedscreenError if the version can't be reproduced here.
    """
    record = Record(client, layout, version)
    name, lineage = f"{version.model} version {version.number}", record.lineage
    if not lineage:
        raise MedscreenError(f"{name} has no readable lineage.json, so its commit, data and settings are unknown.")
    commit = lineage["source"]["commit"]
    if not commit:
        raise MedscreenError(f"{name} was made outside a git repository, so its code is unknown.")
    if not has_commit(layout, commit):
        raise MedscreenError(f"{name} was made at commit {commit}, which is not in this repository; fetch it with git.")
    if different := differences(lineage["environment"]):
        _tell(f"The environment has changed: {'; '.join(different)}.")
    with work_tree(layout, commit, keep) as tree:
        _tell(f"{name}: commit {commit[:12]} in {tree.workspace.relative_to(layout.home)}")
        params = yaml.safe_load(lineage["params.yaml"])
        # only this detector: `evaluate` needs the models of the whole roster
        params["detectors"] = {lineage["detector"]: params["detectors"][lineage["detector"]]}
        tree.params.write_text(yaml.safe_dump(params, sort_keys=False))
        lock = {"schema": "2.0", "stages": lineage["dvc.lock"]}
        tree.lock.write_text(yaml.safe_dump(lock, sort_keys=False))
        lost, other = uncommitted_code(lineage), changed_files(tree, locked_code(lineage))
        if lost and other:
            raise MedscreenError(
                f"{name} can't be reproduced: {listed(lost)} had uncommitted changes, and the code of its stages "
                f"differs from its commit in {listed(other)}."
            )
        _bring_data(layout, tree, record)
        return _made_again(record, tree, name, lost)


def _tell(line: str) -> None:
    say(f"medscreen: {line}")


def _bring_data(layout: Layout, tree: Layout, record: Record) -> None:
    """Brings the curated images into the work tree: from DVC's cache or remote, else from their source files."""
    if not _from_dvc(layout, tree, record.lineage["dvc.lock"]):
        _tell("The data are in neither DVC's cache nor its remote: source files are read and curated again.")
        _link_source(layout, tree, record.params)
        for stage in _DATA_STAGES:
            run_stage_again(tree, stage)
    for split, digest in record.lineage["data"]["splits"].items():
        former = tree.workspace / "data" / "curated" / split  # layout of earlier commits
        with open_test_split():
            now = set_digest(load_images(former if former.is_dir() else tree.curated(split)))
        if now != digest:
            raise MedscreenError(
                f"{split} differs from the data of the version (digest {now}, was {digest}). Restore the source files, "
                "or the remote of `dvc push`."
            )
    _tell("data: every split has the recorded digest")


def _from_dvc(layout: Layout, tree: Layout, lock: Mapping[str, Any]) -> bool:
    """Pulls the data into the work tree from the checkout's cache, else its remote; True on success."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    if not {*_DATA_STAGES} <= lock.keys():
        return False
    try:
        with Repo(str(layout.workspace)) as checkout:
            config, cache = checkout.config, checkout.cache.local_cache_dir
    except NotDvcRepoError:
        return False
    # verify: by default DVC trusts an object's name without hashing it
    remotes = {name: {**remote, "verify": True} for name, remote in config["remote"].items()}
    remotes[_CACHE] = {"url": cache, "verify": True}
    # copied, not linked: the work tree's cache is removed below
    settings = {"remote": remotes, "cache": {"type": "reflink,copy"}}
    with Repo(str(tree.workspace), config=settings) as repo:
        try:
            for remote in filter(None, (_CACHE, config["core"].get("remote"))):
                try:
                    repo.pull([f"{tree.workspace / 'dvc.yaml'}:{stage}" for stage in _DATA_STAGES], remote=remote)
                    return True
                except Exception as error:  # each kind of storage raises different errors
                    if remote != _CACHE:
                        _tell(f"DVC's remote {remote}: {' '.join(str(error).split())}")
        finally:
            shutil.rmtree(tree.workspace / ".dvc" / "cache", ignore_errors=True)
    return False


def _link_source(layout: Layout, tree: Layout, params: Mapping[str, Any]) -> None:
    """Links the checkout's source files into the work tree; a phantom is generated there instead."""
    active = params["datasets"][params["dataset"]]
    root = Path(active["root"]).expanduser()
    here, there = layout.workspace / root, tree.workspace / root
    if active["kind"] != "phantom" and not root.is_absolute() and here.is_dir() and not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(here.resolve(), target_is_directory=True)


def _made_again(record: Record, tree: Layout, name: str, lost: list[str]) -> Reproduction:
    detector, then = record.lineage["detector"], record.lineage["training"]["run_key"]
    run_stage_again(tree, f"fit@{detector}")
    run_key = json.loads((tree.fitted(detector) / "fit.json").read_text())["run_key"]
    if run_key != then:
        if lost:
            raise MedscreenError(f"{name} can't be reproduced: {listed(lost)} had uncommitted changes.")
        _tell(f"training: run key {run_key}, was {then}: code, data or parameters differ")
    run_stage_again(tree, f"calibrate@{detector}")
    same_package = packaged_digest(tree.packaged(detector)) == record.version.digest
    kept = record.content("evaluation.json") if record.has_own_training else None
    if kept is None:
        return Reproduction(run_key == then, same_package, None, math.inf, "")
    # earlier commits have a stage `evaluate` for each detector
    former = "foreach" in yaml.safe_load((tree.workspace / "dvc.yaml").read_text())["stages"]["evaluate"]
    run_stage_again(tree, f"evaluate@{detector}" if former else "evaluate")
    report = tree.workspace / "reports" / detector / "evaluation.json" if former else tree.evaluation(detector)
    made = report.read_bytes()
    return Reproduction(
        run_key == then, same_package, made == kept, *largest_difference(json.loads(kept), json.loads(made))
    )


def largest_difference(kept: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[float, str]:
    """The largest absolute difference of a metric or interval bound, and its name.

    Infinite if only one of the two has it.
    """
    then, now = dict(flat_metrics(kept)), dict(flat_metrics(made))
    apart = {
        name: abs(then[name] - now[name]) if name in then and name in now else math.inf
        for name in sorted(then.keys() | now.keys())
    }
    worst = max(apart, key=lambda name: apart[name], default="")
    return apart.get(worst, 0.0), worst
