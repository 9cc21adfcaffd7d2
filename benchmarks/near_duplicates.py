"""Precision and recall of the near-duplicate search, from which HASH_DISTANCE and CORRELATION were chosen.

python benchmarks/near_duplicates.py [--data FOLDER]. Counts pairs within each limit on a phantom of 1,500 patients with
200 planted near duplicates (the same film in another window) and, with the sample data, on train and val of
PneumoniaMNIST and on 180 NIH films of different patients. Then the share of altered copies, randomly rotated or
mirrored, that is found.
"""

import argparse
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from medscreen.config.datasets import PhantomParams
from medscreen.data.curation import near_duplicates as near
from medscreen.data.curation.splits import person
from medscreen.data.display import to_square
from medscreen.data.images import Pixels
from medscreen.data.load_image import read_grey
from medscreen.data.sources import read_source as sources

DISTANCES, LIMITS = (6, 8, 10), (0.90, 0.95, 0.96, 0.97, 0.98)
PHANTOM = PhantomParams(
    kind="phantom", root="", image_size=64, patients=1500, abnormal_fraction=0.4, contrast=3.0, exact_duplicates=0,
    near_duplicates=200, respelled_patients=0, unreadable_files=0, seed=20,
)  # fmt: skip


def changed(image: Pixels, rng: np.random.Generator) -> Iterator[tuple[str, Pixels]]:
    """Copies of the image as other software would write it: compression, gamma, window, noise, resizing."""
    gray, side = image / 255.0, len(image)
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    smaller = Image.fromarray(image).resize((side * 3 // 4,) * 2, Image.Resampling.BILINEAR)
    low, high = np.percentile(gray, [2, 95])
    yield "JPEG 75", np.asarray(Image.open(file))
    yield "gamma .8", (255 * gray**0.8).astype(np.uint8)
    yield "gamma 1.25", (255 * gray**1.25).astype(np.uint8)
    yield "window 2 to 95 %", (255 * np.clip((gray - low) / (high - low), 0, 1)).astype(np.uint8)
    yield "noise, sd 3", np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    yield "3/4 size and back", np.asarray(smaller.resize((side, side), Image.Resampling.BILINEAR))


def image_sets(data: Path | None, folder: Path) -> Iterator[tuple[str, Pixels, list[str]]]:
    """Name, images and patient of each image; "" if unknown."""
    sources.find_files(PHANTOM, folder, 1)
    records = [r for r in sources.read_records(PHANTOM, folder) if isinstance(r.image, Path)]
    films = np.stack([to_square(read_grey(r.image, r.display), 64) for r in records if isinstance(r.image, Path)])
    yield "phantom, 64 px", films, [person(record.patient or "") for record in records]
    if data:
        for name, file, splits in (
            ("PneumoniaMNIST, train and val, 28 px", "pneumoniamnist.npz", ("train", "val")),
            ("NIH films, 64 px", "derived_nihchest_64.npz", ("train", "val", "test")),
        ):
            with np.load(data / "medmnist" / file) as arrays:
                images = np.unique(np.concatenate([arrays[f"{split}_images"] for split in splits]), axis=0)
            yield name, images, [""] * len(images)


def print_pairs(images: Pixels, patient_of: list[str], scratch: Path) -> None:
    near.CORRELATION, near.HASH_DISTANCE = min(LIMITS), max(DISTANCES)
    found = near.near_duplicate_pairs(images, np.arange(len(images)), 1, scratch)
    hashes, _ = near.described_images(images)
    first, second = np.array([pair[:2] for pair in found], np.int64).reshape(-1, 2).T
    correlation = np.array([pair.correlation for pair in found])
    distance = np.min([np.bitwise_count(hashes[first, k] ^ hashes[second, 0]) for k in range(8)], axis=0)
    patients = np.array(patient_of)
    same = (patients[first] == patients[second]) & (patients[first] != "")
    print("  pairs of one patient / of others, by hash distance and correlation")
    for bits in DISTANCES:
        kept = [(distance <= bits) & (correlation >= limit) for limit in LIMITS]
        counts = (f"{limit:.2f}: {(k & same).sum()}/{(k & ~same).sum()}" for limit, k in zip(LIMITS, kept, strict=True))
        print(f"  <= {bits:2d}  ", "   ".join(counts))


def print_found(images: Pixels, scratch: Path) -> None:
    """Prints the share of altered copies found with the limits in the code."""
    rng = np.random.default_rng(1)
    found: dict[str, list[bool]] = {}
    for i in rng.permutation(len(images))[:100]:
        for name, copy in changed(images[i], rng):
            turned = np.rot90(copy if rng.random() < 0.5 else copy.T, rng.integers(4))
            pair = near.near_duplicate_pairs(np.stack([images[i], turned]), np.arange(2), 1, scratch)
            found.setdefault(name, []).append(len(pair) == 1)
    print("  share of altered copies found:", ", ".join(f"{name} {np.mean(of):.2f}" for name, of in found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="Folder with the sample data.")
    chosen = parser.parse_args()
    settings = near.CORRELATION, near.HASH_DISTANCE
    with tempfile.TemporaryDirectory() as folder:
        for name, images, patient_of in image_sets(chosen.data, Path(folder) / "phantom"):
            print(f"{name}: {len(images)} different images, {len(images) * (len(images) - 1) // 2:,} pairs")
            print_pairs(images, patient_of, Path(folder) / "textures")
            near.CORRELATION, near.HASH_DISTANCE = settings
            print_found(images, Path(folder) / "textures")


if __name__ == "__main__":
    main()
