"""A version made again from its commit, data and parameters, and compared with its record."""

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
    """The comparison of the new result with the record.

    `same_metrics`: whether evaluation.json has the same bytes; None of a version that keeps none. `apart`: the largest
    absolute difference of any metric, infinite where one of the two lacks a metric; `metric` is its name.
    """

    same_training: bool
    same_package: bool
    same_metrics: bool | None
    apart: float
    metric: str

    @property
    def is_identical(self) -> bool:
        """Bit for bit, metrics and package."""
        return self.same_package and self.same_metrics is not False

    def is_within(self, tolerance: float) -> bool:
        """True if no metric differs by more than that; 0 requires equal bits."""
        return self.is_identical or (tolerance > 0 and self.same_metrics is not None and self.apart <= tolerance)


def reproduce(client: MlflowClient, layout: Layout, version: Version, keep: bool) -> Reproduction:
    """Makes a version again in a work tree of its commit; the checkout's cache, store and workspace stay as they are.

    Prints the progress. Raises MedscreenError where the version can't be made again here.
    """
    record = Record(client, layout, version)
    name, lineage = f"{version.model} version {version.number}", record.lineage
    if not lineage:
        raise MedscreenError(f"{name} keeps no readable lineage.json, so nobody knows what it was made from.")
    commit = lineage["source"]["commit"]
    if not commit:
        raise MedscreenError(f"{name} was made outside a git repository, so nobody has the code that made it.")
    if not has_commit(layout, commit):
        raise MedscreenError(f"{name} was made at commit {commit}, which is not in this repository; fetch it with git.")
    if different := differences(lineage["environment"]):
        _tell(f"The environment is another one than then: {'; '.join(different)}.")
    with work_tree(layout, commit, keep) as tree:
        _tell(f"{name}: commit {commit[:12]} in {tree.workspace.relative_to(layout.home)}")
        params = yaml.safe_load(lineage["params.yaml"])
        # this detector alone: `evaluate` needs the models of the whole roster
        params["detectors"] = {lineage["detector"]: params["detectors"][lineage["detector"]]}
        tree.params.write_text(yaml.safe_dump(params, sort_keys=False))
        lock = {"schema": "2.0", "stages": lineage["dvc.lock"]}
        tree.lock.write_text(yaml.safe_dump(lock, sort_keys=False))
        lost, other = uncommitted_code(lineage), changed_files(tree, locked_code(lineage))
        if lost and other:
            raise MedscreenError(
                f"{name} can't be made again from git: {listed(lost)} had changes that were not committed, and its "
                f"commit has other code than its stages ran ({listed(other)})."
            )
        _bring_data(layout, tree, record)
        return _made_again(record, tree, name, lost)


def _tell(line: str) -> None:
    say(f"medscreen: {line}")


def _bring_data(layout: Layout, tree: Layout, record: Record) -> None:
    """The curated images into the work tree: from DVC's cache or remote, else made again from their source."""
    if not _from_dvc(layout, tree, record.lineage["dvc.lock"]):
        _tell("The data are in neither DVC's cache nor its remote: read and curated again.")
        _link_source(layout, tree, record.params)
        for stage in _DATA_STAGES:
            run_stage_again(tree, stage)
    for split, digest in record.lineage["data"]["splits"].items():
        former = tree.workspace / "data" / "curated" / split  # of commits that kept all splits side by side
        with open_test_split():
            now = set_digest(load_images(former if former.is_dir() else tree.curated(split)))
        if now != digest:
            raise MedscreenError(
                f"{split} is not the data that the version was made from (digest {now}, was {digest}); bring back its "
                "source files, or the remote that `dvc push` was given."
            )
    _tell("data: every split has the digest of then")


def _from_dvc(layout: Layout, tree: Layout, lock: Mapping[str, Any]) -> bool:
    """Pulls the data into the work tree from the checkout's cache or else its remote; True on success."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    if not {*_DATA_STAGES} <= lock.keys():
        return False
    try:
        with Repo(str(layout.workspace)) as checkout:
            config, cache = checkout.config, checkout.cache.local_cache_dir
    except NotDvcRepoError:
        return False
    # verified: DVC takes an object for what its name says
    remotes = {name: {**remote, "verify": True} for name, remote in config["remote"].items()}
    remotes[_CACHE] = {"url": cache, "verify": True}
    # copied, not linked: the work tree's own cache ends here, the data stay
    settings = {"remote": remotes, "cache": {"type": "reflink,copy"}}
    with Repo(str(tree.workspace), config=settings) as repo:
        try:
            for remote in filter(None, (_CACHE, config["core"].get("remote"))):
                try:
                    repo.pull([f"{tree.workspace / 'dvc.yaml'}:{stage}" for stage in _DATA_STAGES], remote=remote)
                    return True
                except Exception as error:  # each kind of storage fails in its own way
                    if remote != _CACHE:
                        _tell(f"DVC's remote {remote}: {' '.join(str(error).split())}")
        finally:
            shutil.rmtree(tree.workspace / ".dvc" / "cache", ignore_errors=True)
    return False


def _link_source(layout: Layout, tree: Layout, params: Mapping[str, Any]) -> None:
    """Source files below the checkout are read where they are; a phantom is made in the work tree, not changed here."""
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
            raise MedscreenError(
                f"{name} can't be made again from git: {listed(lost)} had changes that were not committed."
            )
        _tell(f"training: run key {run_key}, was {then}: code, data or parameters differ")
    run_stage_again(tree, f"calibrate@{detector}")
    same_package = packaged_digest(tree.packaged(detector)) == record.version.digest
    kept = record.content("evaluation.json") if record.has_own_training else None
    if kept is None:
        return Reproduction(run_key == then, same_package, None, math.inf, "")
    # commits before the one stage for all detectors have one for each
    former = "foreach" in yaml.safe_load((tree.workspace / "dvc.yaml").read_text())["stages"]["evaluate"]
    run_stage_again(tree, f"evaluate@{detector}" if former else "evaluate")
    report = tree.workspace / "reports" / detector / "evaluation.json" if former else tree.evaluation(detector)
    made = report.read_bytes()
    return Reproduction(
        run_key == then, same_package, made == kept, *largest_difference(json.loads(kept), json.loads(made))
    )


def largest_difference(kept: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[float, str]:
    """The largest absolute difference of a metric (or an end of its interval), and its name.

    Infinite where only one of the two has it.
    """
    then, now = dict(flat_metrics(kept)), dict(flat_metrics(made))
    apart = {
        name: abs(then[name] - now[name]) if name in then and name in now else math.inf
        for name in sorted(then.keys() | now.keys())
    }
    worst = max(apart, key=lambda name: apart[name], default="")
    return apart.get(worst, 0.0), worst
