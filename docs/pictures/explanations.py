"""Pictures of docs/explanations.md: maps of one abnormal image of val of the phantom, layers, cases and embeddings.

Run in the checkout after `make repro`: python docs/pictures/explanations.py
"""

import json
from pathlib import Path
from shutil import copy

import numpy as np
from PIL import Image

from medscreen.data.images import curated_images
from medscreen.explain.feature_maps import feature_maps, trained_network
from medscreen.explain.packaged_map import PackagedMap
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.reporting.evaluation_report.explanation_figures import save_layers, save_overlay
from medscreen.workspace.layout import find_layout

ROSTER = ("autoencoder", "cnn", "hog", "embedding")


def main() -> None:
    """Writes the pictures beside this file; the working directory is the checkout."""
    layout, folder = find_layout(), Path("docs/pictures")
    val = curated_images(layout, "val")
    nodules = val.take(np.array(val.attributes["finding"]) == "nodule").pixels
    called = [PackagedDetector(layout.packaged(name)).screen(nodules).abnormal for name in ROSTER]
    image = nodules[int(np.all(called, axis=0).argmax())]  # the first that all call abnormal
    for name in ROSTER:
        detector = PackagedDetector(layout.packaged(name))
        found = detector.screen(image[None])
        decision = "abnormal" if found.abnormal[0] else "normal"
        title = f"phantom, nodule\n{name}: score {found.score[0]:.4g}, {decision}"
        maps = PackagedMap(layout.map_graph(name)).maps(image[None])[0]
        about = detector.metadata["explanation"]
        save_overlay(folder / f"map_{name}.png", image, maps, about["unit"], (title, ""))
    run_key = json.loads((layout.fitted("cnn") / "fit.json").read_text())["run_key"]
    network = trained_network(layout.fitted("cnn"), PackagedDetector(layout.packaged("cnn")).metadata, run_key)
    with Image.open(layout.cases_picture("autoencoder")) as cases:
        small = cases.convert("RGB").resize((900, round(900 * cases.height / cases.width)), Image.Resampling.LANCZOS)
    palette = small.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # keeps the colors of the maps
    palette.save(folder / "cases_autoencoder.png", optimize=True)
    copy(layout.figures("cnn") / "embedding.png", folder / "embedding_cnn.png")
    save_layers(folder / "layers_cnn.png", feature_maps(network, image), "phantom, nodule: layers of cnn")


if __name__ == "__main__":
    main()
