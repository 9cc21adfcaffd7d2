"""Figure of the embeddings of development images on their first two principal axes. It contains no pixels."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from medscreen.reporting.evaluation_report.canvas import ABNORMAL, NORMAL

_MARKERS = {"train": ".", "tune": "x", "val": "^"}


def draw_embeddings(
    axes: Axes, embeddings: NDArray[np.float16], labels: NDArray[np.int64], splits: NDArray[np.object_]
) -> None:
    """Draws embeddings (N, D) as points: color by class, marker by split; axis labels state explained variance."""
    pca = PCA(n_components=2, svd_solver="covariance_eigh")
    points = pca.fit_transform(np.nan_to_num(embeddings).astype(np.float64))  # float16 overflows to infinity
    for label, color, word in ((0, NORMAL, "normal"), (1, ABNORMAL, "abnormal")):
        for split, marker in _MARKERS.items():
            x, y = points[(labels == label) & (splits == split)].T
            name = f"{split}, {word} ({len(x)})"
            axes.plot(x, y, marker, ms=3, mew=0.8, color=color, alpha=0.5, label=name)
    first, second = pca.explained_variance_ratio_
    axes.set(xlabel=f"principal axis 1 ({first:.1%} of the variance)", ylabel=f"principal axis 2 ({second:.1%})")
    axes.figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2, markerscale=2)
