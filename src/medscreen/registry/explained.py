"""The explanation map of a registered version."""

from dataclasses import dataclass

import onnx

from medscreen.data.display import Grey
from medscreen.errors import MedscreenError
from medscreen.explain.packaged_map import Maps, PackagedMap, is_constant
from medscreen.explain.proof import NO_MASKS
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.run_record import Record
from medscreen.registry.versions import Version, find_version
from medscreen.reporting.evaluation_report.explanation_figures import CONSTANT
from medscreen.tracking import names
from medscreen.tracking.run_state import kept_file, kept_json
from medscreen.workspace.digests import digest_of


@dataclass(frozen=True)
class Explained:
    """A version's detector and its explanation map.

    `reason`: without a map, why it is missing or not shown; with a map, the limitation of its proof, "" if none.
    """

    version: Version
    detector: PackagedDetector
    map: PackagedMap | None
    reason: str

    @property
    def unit(self) -> str:
        """Unit of the map's values."""
        return str(self.detector.metadata.get("explanation", {}).get("unit", ""))

    def map_of(self, square: Grey) -> tuple[Maps | None, str]:
        """The map (S, S) of an image (S, S), or None with the reason as a sentence."""
        if self.map is None:
            return None, f"{self.reason}."
        found = self.map.maps(square[None])
        return (None, CONSTANT) if is_constant(found)[0] else (found[0], "")


def load_explained(record: Record, detector: PackagedDetector) -> Explained:
    """A version's detector with its map; raises MedscreenError if the map is lost or damaged.

    The package's metadata give the digest of the map's graph. The graph is in the run of the version or, if only the
    operating point was changed, of the version it was made from.
    """
    client, version = record.client, record.version
    stated = detector.metadata.get("explanation")
    if stated is None:
        return Explained(version, detector, None, "an earlier version of medscreen, without maps, made the version")
    if stated["map"] is None:
        return Explained(version, detector, None, str(stated["reason"]))
    trained, passed = version, {version.number}
    while of := trained.tags.get(names.OPERATING_POINT_OF):
        trained = find_version(client, version.model, of.removeprefix("version "))
        if trained.number in passed:
            raise MedscreenError(
                f"{version} has no training run: by their tags {names.OPERATING_POINT_OF}, versions "
                f"{', '.join(map(str, sorted(passed)))} were made from one another; correct the tags in MLflow."
            )
        passed.add(trained.number)
    graph = kept_file(client, trained.run_id, "explain.onnx")
    if graph is None or digest_of(graph) != stated["digest"]:
        raise MedscreenError(
            f"explain.onnx of {trained} is lost or damaged. `dvc repro publish` logs it again if the workspace holds "
            "the version."
        )
    proof = kept_json(client, trained.run_id, "explanations.json")
    if "shown" not in proof:
        reason = (
            "explanations.json is lost or damaged; `dvc repro publish` logs it again if the workspace holds the version"
        )
        return Explained(version, detector, None, reason)
    if not proof["shown"]:
        return Explained(version, detector, None, str(proof["reason"]))
    reason = f"it was not compared with lesions, as {NO_MASKS}" if proof.get("localization") is None else ""
    return Explained(version, detector, PackagedMap(onnx.load_from_string(graph)), reason)
