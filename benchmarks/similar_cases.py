"""Label agreement of the nearest training images with images of val: python benchmarks/similar_cases.py.

Reads the output of `calibrate` for each detector. `base rate` is the share of the label in the training images.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medscreen.packaging.predictions import EMBEDDING_COLUMN

NEAREST = 5


def main() -> int:
    """Prints a row for each detector with embeddings."""
    print(f"{'detector':14} {'normal':>7} {'abnormal':>9}   share of the same label among the {NEAREST} nearest")
    for path in sorted(Path("models").glob("*/development.parquet")):
        rows = pq.read_table(path)
        if EMBEDDING_COLUMN not in rows.column_names:
            continue
        labels, vectors = {}, {}
        for split in ("train", "val"):
            of_split = rows.filter(pc.field("split") == split)
            labels[split] = of_split["label"].to_numpy()
            vectors[split] = np.stack(of_split[EMBEDDING_COLUMN].to_numpy()).astype(np.float32)
        distances = np.linalg.norm(vectors["val"][:, None] - vectors["train"][None], axis=2)
        nearest = labels["train"][np.argsort(distances, axis=1)[:, :NEAREST]]
        same = (nearest == labels["val"][:, None]).mean(1)
        normal, abnormal = (same[labels["val"] == label].mean() for label in (0, 1))
        print(f"{path.parent.name:14} {normal:7.3f} {abnormal:9.3f}")
    share = labels["train"].mean()
    print(f"{'base rate':14} {1 - share:7.3f} {share:9.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
