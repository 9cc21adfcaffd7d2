"""The images that a command line names: files, folders, and what is in them."""

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
    """The images of files and of the files below folders; raises as `files_of`, before any image is read."""
    from medscreen.packaging.screened_files import images_of_file

    files = files_of(paths)
    return (image for file in files for image in images_of_file(file))


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Files and the files below folders, each once; what a folder holds besides them is counted on stderr.

    Raises MedscreenError for a path that is not there and for a folder without files.
    """
    return list(dict.fromkeys(file for path in paths for file in _files(path)))


def image_name(file: str, frame: int | None) -> str:
    """An image as it can be printed: its file and, of several images, which one."""
    return file if frame is None else f"{file}#{frame}"


class Failures:
    """Images that are not screened, named on stderr: of each file and reason the first, and how many more."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def add(self, file: str, frame: int | None, reason: str) -> None:
        """Counts an image of a file; `reason` continues the sentence that begins with its name."""
        self._numbers[file, reason] += 1
        if self._numbers[file, reason] == 1:
            say(f"medscreen: {image_name(file, frame)} {reason}", err=True)

    def name_rest(self) -> None:
        """Names how many more images of each file failed for the same reason as the first."""
        for (file, reason), number in self._numbers.items():
            if number > 1:
                say(f"medscreen: {file}: {number - 1} more images of it {reason}", err=True)


def readable(
    images: Iterable["ImageOfFile"], detector: "PackagedDetector", failures: Failures
) -> Iterator[tuple["ImageOfFile", "DisplayedImage", "Grey"]]:
    """The images that can be read, as displayed and as the square that the detector screens.

    The others are added to `failures`; stderr names how many images of a file are left out.
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
        raise MedscreenError(f"{name} does not exist; name image files or folders of them.")
    # links may lead anywhere: whoever names a folder here may have linked the images together
    found, aside = files_below(path, Path(path.resolve().anchor))
    if not found:
        raise MedscreenError(f"{name} holds no image file{in_words(aside)}; name a folder with images in it.")
    if aside:
        say(f"medscreen: {name}: left out as no images{in_words(aside)}", err=True)
    return found


def file_name(path: Path) -> str:
    """A file as it can be printed."""
    from medscreen.data.sources.file_trees import written_name

    return visible(written_name(path))
