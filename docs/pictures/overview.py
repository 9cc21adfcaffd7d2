"""Draws docs/pictures/overview.png from the last `make repro` on the phantom: python docs/pictures/overview.py"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from medscreen.data.images import load_images
from medscreen.workspace.layout import find_layout

layout = find_layout()
images = load_images(layout.curated("train"))
figure = Figure(figsize=(13, 4.0), dpi=100, layout="constrained")
films, operating, confusion = figure.subplots(1, 3, width_ratios=[1.25, 1.25, 1])
rows = [np.hstack([images.pixels[i] for i in np.flatnonzero(images.labels == label)[:4]]) for label in (0, 1)]
films.imshow(np.vstack(rows), cmap="gray")
films.set_title("simulated films: normal above, abnormal below", fontsize=10)
operating.imshow(imread(layout.operating_picture("cnn")))
confusion.imshow(imread(layout.figures("cnn") / "confusion.png"))
for axes in (films, operating, confusion):
    axes.set_axis_off()
figure.savefig(layout.workspace / "docs" / "pictures" / "overview.png", metadata={"Software": None})
