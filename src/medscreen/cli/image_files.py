"""The images that a command line names: files, folders, and what is in them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say, visible

if TYPE_CHECKING:
    from medscreen.data.display import Grey
    from medscreen.data.load_image import Shown
    from medscreen.packaging.packaged_detector import PackagedDetector

_MOST_OF_A_FILE = 1_000  # images of one file that are screened


@dataclass(frozen=True)
class ImageOfFile:
    """One image: `frame` is its number in a file that holds several, from 0; `left_out`: how many more it holds."""

    path: Path
    frame: int | None
    left_out: int

    @property
    def file(self) -> str:
        """The file as it can be printed."""
        return _printable(self.path)

    @property
    def name(self) -> str:
        """The file and, of several images, which one."""
        return self.file if self.frame is None else f"{self.file}#{self.frame}"


def images_of(paths: Sequence[Path]) -> Iterator[ImageOfFile]:
    """The images of files and of the files below folders; what a folder holds besides them is counted on stderr.

    Raises MedscreenError for a path that is not there and for a folder without files, before any image is read.
    """
    files = [file for path in paths for file in _files(path)]
    return (image for file in files for image in _images(file))


def readable(
    images: Iterable[ImageOfFile], detector: "PackagedDetector", unreadable: Counter[tuple[str, str]]
) -> Iterator[tuple[ImageOfFile, "Shown", "Grey"]]:
    """The images that can be read, as displayed and as the square that the detector screens.

    The others are counted by file and reason; stderr names the first of each, and in the end the number of the rest.
    """
    from medscreen.data.display import to_square
    from medscreen.data.image_errors import UnreadableImageError
    from medscreen.data.load_image import read_image

    for image in images:
        try:
            shown = read_image(image.path, detector.display, image.frame)
            square = to_square(shown.grey, detector.image_size)
        except UnreadableImageError as error:
            unreadable[image.file, str(error)] += 1
            if unreadable[image.file, str(error)] == 1:
                say(f"medscreen: {image.name} can't be read: {error}", err=True)
        else:
            yield image if image.frame is not None else replace(image, left_out=shown.others), shown, square
    for (file, reason), number in unreadable.items():
        if number > 1:
            say(f"medscreen: {file}: {number - 1} more images of it can't be read: {reason}", err=True)


def naming_left_out(
    images: "Iterable[tuple[ImageOfFile, Shown, Grey]]",
) -> "Iterator[tuple[ImageOfFile, Shown, Grey]]":
    """The same images; stderr names how many images of a file are left out."""
    named: set[Path] = set()
    for image, shown, square in images:
        if image.left_out and image.path not in named:
            named.add(image.path)
            say(f"medscreen: {image.file}: {image.left_out} more images of the file left out", err=True)
        yield image, shown, square


def _files(path: Path) -> list[Path]:
    from medscreen.data.sources.file_trees import files_below, in_words

    name = _printable(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MedscreenError(f"{name} does not exist; name image files or folders of them.")
    # links may lead anywhere: whoever names a folder here may have linked the images together
    found, aside = files_below(path, Path(path.resolve().anchor))
    if not found:
        raise MedscreenError(f"{name} holds no image file{in_words(aside)}; name a folder with images in it.")
    if aside:
        say(f"medscreen: {name}: left out as no images{in_words(aside)}", err=True)
    return found


def _images(file: Path) -> Iterator[ImageOfFile]:
    from medscreen.data.load_image import held_images

    number, others = held_images(file)
    read = min(number, _MOST_OF_A_FILE)
    for frame in range(read):
        yield ImageOfFile(file, frame if number > 1 else None, number - read + others)


def _printable(path: Path) -> str:
    from medscreen.data.sources.file_trees import written_name

    return visible(written_name(path))
