"""Similar cases: the training images nearest to an image in the detector's own features.

Features are those of the domain check (`operating.domain_nodes`), standardized and projected onto at most 128 principal
axes of the training images by nodes that each packaged graph has; the distance is Euclidean. An index holds features,
labels and keyed hashes of the files' names, never pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medscreen.data.images import ImageSet, Pixels
from medscreen.errors import MedscreenError
from medscreen.operating.domain_nodes import FEATURES
from medscreen.operating.graph_values import values_of_images
from medscreen.workspace.keyed_names import keyed_name

EMBEDDING = f"{FEATURES}_projected"
NO_EMBEDDING = "the detector has no features of its own to compare images by"
_COLUMNS = ("name", "label", "image", "embedding")


@dataclass(frozen=True)
class Case:
    """A training image near another: its keyed name, label (0 normal, 1 abnormal), digest and distance."""

    name: str
    label: int
    image: str
    distance: float


@dataclass(frozen=True)
class CaseIndex:
    """N training images: `embeddings` (N, D), `labels` (N,), keyed `names` and the `images`' digests."""

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: Sequence[str]
    images: Sequence[str]

    def nearest(self, embedding: NDArray[np.float32], label: int, number: int) -> list[Case]:
        """The `number` nearest images of a label, the nearest first; an image equal to another is a case as well."""
        of_label = np.flatnonzero(self.labels == label)
        distances = np.linalg.norm(self.embeddings[of_label] - embedding, axis=1)
        order = np.argsort(distances, kind="stable")[:number]
        return [
            Case(self.names[i], label, self.images[i], float(distance))
            for i, distance in zip(of_label[order], distances[order], strict=True)
        ]


def embed(package: onnx.ModelProto, pixels: Pixels, threads: int) -> NDArray[np.float32] | None:
    """Embeddings (N, D) of images (N, S, S) by a packaged graph; None where the detector has no features."""
    if not any(EMBEDDING in node.output for node in package.graph.node):
        return None
    found: NDArray[np.float32] = values_of_images(package, pixels, [EMBEDDING], threads)[EMBEDDING]
    return found


def case_table(embeddings: NDArray[np.float32], train: ImageSet, key: bytes) -> pa.Table:
    """The index of a version as a table; embeddings are kept with 16 bits."""
    width = embeddings.shape[1]
    flat = pa.array(embeddings.astype(np.float16).ravel())
    return pa.table(
        {
            "name": [keyed_name(origin, key) for origin in train.origins],
            "label": train.labels.astype(np.int8),
            "image": list(train.digests),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, width),
        }
    )


def read_cases(path: Path) -> CaseIndex:
    """An index that `case_table` made; raises MedscreenError for another file or a damaged one."""
    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
        flat = table["embedding"].combine_chunks().values.to_numpy(zero_copy_only=False)
        return CaseIndex(
            flat.astype(np.float32).reshape(table.num_rows, -1),
            table["label"].to_numpy().astype(np.int64),
            table["name"].to_pylist(),
            table["image"].to_pylist(),
        )
    except Exception as error:  # damaged files of Arrow fail in many ways
        raise MedscreenError(
            f"{path}: damaged, no index of similar cases ({type(error).__name__}). Remove it."
        ) from error


def positions(cases: Sequence[Case], local: ImageSet) -> Mapping[str, int]:
    """Digest of an image -> its position among local images, of those that are still there."""
    wanted = {case.image for case in cases}
    return {digest: i for i, digest in enumerate(local.digests) if digest in wanted}
