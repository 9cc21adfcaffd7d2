"""Command explain: explanation maps of a registered detector."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medscreen.cli.image_files import Failures, file_name, image_name, images_of, readable
from medscreen.config.params import load_params
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say, visible
from medscreen.workspace.layout import find_layout

if TYPE_CHECKING:
    from torch import nn

    from medscreen.data.display import Grey
    from medscreen.packaging.screened_files import ImageOfFile
    from medscreen.registry.explained import Explained


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Registered model; by default that of the active data set.")
@click.option("--stage", default="Production", show_default=True, help="Staging, Production or Archived.")
@click.option(
    "--out",
    default=Path("explanations"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="New folder for the pictures.",
)
@click.option(
    "--layers", is_flag=True, help="Also write feature maps by layer; requires the trained network in models/."
)
def explain(paths: Sequence[Path], name: str | None, stage: str, out: Path, layers: bool) -> None:
    """Draws the explanation map of each image.

    Each picture shows the image, the map over it, score and decision. A map that fails its tests is not shown; picture
    and stderr state the reason. Stderr also lists tests that could not be run. Pictures contain the images: the same
    privacy rules apply.

    Example: `medscreen explain film.dcm --out maps`
    """
    from medscreen.packaging.packaged_detector import PackagedDetector
    from medscreen.registry.explained import load_explained
    from medscreen.registry.loading import record_in_stage, whole_graph
    from medscreen.tracking.names import model_name

    images = images_of(paths)
    layout = find_layout()
    record = record_in_stage(name or model_name(load_params(layout.params).dataset), stage)
    explained = load_explained(record, PackagedDetector(whole_graph(record)))
    if explained.reason:
        say(f"medscreen: {'the map' if explained.map else 'no map is shown'}: {explained.reason}.", err=True)
    network = None
    if layers:
        from medscreen.explain.feature_maps import trained_network

        version = explained.version
        network = trained_network(layout.fitted(version.detector), explained.detector.metadata, version.run_key)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MedscreenError(f"{visible(out)}: not an empty folder. Name a new one for --out; nothing is overwritten.")
    out.mkdir(parents=True, exist_ok=True)
    failures = Failures()
    for number, (image, _, pixels) in enumerate(readable(images, explained.detector, failures), 1):
        _draw(explained, image, pixels, out / f"{number:04d}-{_stem(image)}", network)
    say("Research use only, never diagnosis.")
    sys.exit(1 if failures else 0)


def _stem(image: "ImageOfFile") -> str:
    """File name for the picture of an image: ASCII letters, digits and '-' only."""
    kept = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in image.path.stem)[:60]
    return kept if image.frame is None else f"{kept}-{image.frame}"


def _draw(
    explained: "Explained", image: "ImageOfFile", pixels: "Grey", target: Path, network: "nn.Module | None"
) -> None:
    """Writes map and, with a network, feature maps of an image."""
    from medscreen.reporting.case_report import decision_words
    from medscreen.reporting.evaluation_report.explanation_figures import save_layers, save_overlay

    detector = explained.detector
    found = detector.screen(pixels[None])
    result = f"score {found.score[0]:.4g}, {decision_words(found)}"
    title = f"{image_name(file_name(image.path), image.frame)[-60:]}\n{explained.version.detector}: {result}"
    maps = None if explained.map is None else explained.map.maps(pixels[None])[0]
    picture = target.with_name(f"{target.name}.png")
    save_overlay(picture, pixels, maps, explained.unit, (title, f"No map is shown: {explained.reason}."))
    say(str(picture))
    if network is not None:
        from medscreen.explain.feature_maps import feature_maps

        layers = target.with_name(f"{target.name}-layers.png")
        save_layers(layers, feature_maps(network, pixels), title)
        say(str(layers))
