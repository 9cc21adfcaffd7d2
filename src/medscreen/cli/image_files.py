"""Images named on the command line, as files or folders."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say, visible

if TYPE_CHECKING:
    from medscreen.data.display import Grey
    from medscreen.data.load_image import DisplayedImage
    from medscreen.packaging.packaged_detector import PackagedDetector
    from medscreen.packaging.screened_files import ImageOfFile


def images_of(paths: Sequence[Path]) -> Iterator["ImageOfFile"]:
    """Images of files and of the files below folders; raises like `files_of`, before any image is read."""
    from medscreen.packaging.screened_files import images_of_file

    files = files_of(paths)
    return (image for file in files for image in images_of_file(file))


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Files and the files below folders, without repeats; prints counts of skipped entries on stderr.

    Raises MedscreenError for a missing path and for a folder without image files.
    """
    return list(dict.fromkeys(file for path in paths for file in _files(path)))


def image_name(file: str, frame: int | None) -> str:
    """Printable name of an image: its file, and `#frame` if the file holds several images."""
    return file if frame is None else f"{file}#{frame}"


class Failures:
    """Images that were not screened; prints the first for each file and reason, and the number of further ones."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def add(self, file: str, frame: int | None, reason: str) -> None:
        """Counts an image of a file; `reason` follows the image name in the message."""
        self._numbers[file, reason] += 1
        if self._numbers[file, reason] == 1:
            say(f"medscreen: {image_name(file, frame)} {reason}", err=True)

    def name_rest(self) -> None:
        """Prints how many further images of each file failed for the same reason."""
        for (file, reason), number in self._numbers.items():
            if number > 1:
                say(f"medscreen: {file}: {number - 1} more images of this file {reason}", err=True)


def readable(
    images: Iterable["ImageOfFile"], detector: "PackagedDetector", failures: Failures
) -> Iterator[tuple["ImageOfFile", "DisplayedImage", "Grey"]]:
    """Decodes images: yields each as displayed and as the square that the detector screens.

    Adds unreadable images to `failures`; prints on stderr how many images of a file are left out.
    """
    from medscreen.data.image_errors import UnreadableImageError
    from medscreen.packaging.screened_files import decoded

    with_more: set[Path] = set()
    for image in images:
        try:
            found, displayed, square = decoded(image, detector)
        except UnreadableImageError as error:
            failures.add(file_name(image.path), image.frame, f"can't be read: {error}")
        else:
            if found.left_out and found.path not in with_more:
                with_more.add(found.path)
                say(f"medscreen: {file_name(found.path)}: {found.left_out} more images of the file left out", err=True)
            yield found, displayed, square
    failures.name_rest()


def _files(path: Path) -> list[Path]:
    from medscreen.data.sources.file_trees import files_below, in_words

    name = file_name(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MedscreenError(f"{name}: not found. Name image files or folders that hold images.")
    # links may point outside the folder: users collect images by links
    found, aside = files_below(path, Path(path.resolve().anchor))
    if not found:
        raise MedscreenError(f"{name}: no image files{in_words(aside)}. Name a folder that holds images.")
    if aside:
        say(f"medscreen: {name}: skipped{in_words(aside)}", err=True)
    return found


def file_name(path: Path) -> str:
    """Printable name of a file."""
    from medscreen.data.sources.file_trees import written_name

    return visible(written_name(path))
