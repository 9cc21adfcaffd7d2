"""The folder that `predict --dicom-out` names: a DICOM file an answer, none of them overwritten."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from medscreen.cli.image_files import Failures, file_name
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say, visible

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

    from medscreen.data.display import Grey
    from medscreen.packaging.batch_screening import Row
    from medscreen.packaging.screened_files import ScreenedImage
    from medscreen.registry.loaded_version import LoadedVersion

_TIMES = {"DA", "TM", "DT"}


class AnswerFolder:
    """Writes the answers of a version to a folder and counts them.

    Raises MedscreenError without highdicom, and for a folder that is a file or lies in a folder which is screened.
    """

    def __init__(self, folder: Path, version: "LoadedVersion", screened: Sequence[Path]) -> None:
        if folder.exists() and not folder.is_dir():
            raise MedscreenError(f"{visible(folder)} is no folder; name another one for --dicom-out.")
        if any(path.is_dir() and folder.resolve().is_relative_to(path.resolve()) for path in screened):
            raise MedscreenError(
                f"{visible(folder)} lies in a folder that is screened, and its answers would be screened next time; "
                "name another one for --dicom-out."
            )
        self.folder, self._version = folder, version
        self._written: Counter[str] = Counter()
        self._present = self._others = 0
        self._failures = Failures()

    def __bool__(self) -> bool:
        """True if every screened DICOM image has its answers."""
        return not self._failures

    def add(self, file: Path, rows: Sequence["Row"]) -> None:
        """Writes the answers to the screened images of a file; raises MedscreenError where they can't be written."""
        from medscreen.data.dicom.series import read_series_header
        from medscreen.data.image_errors import UnreadableImageError
        from medscreen.registry.dicom_answers import dicom_answers
        from medscreen.reporting.dicom_answers.source import NoAnswerError, read_source

        rows = [row for row in rows if row["status"] == "screened"]
        if not rows:
            return
        if read_series_header(file) is None:
            self._others += len(rows)
            return
        try:
            source = read_source(file)
            if source.is_answer:
                raise NoAnswerError("it is an answer of medscreen itself")
            for answer in dicom_answers(self._version, source, [self._image(file, row) for row in rows]):
                self._write(file, answer)
        except UnreadableImageError as error:
            self._failures.add(file_name(file), None, f"has no answer in DICOM: {error}")
        except OSError as error:
            raise MedscreenError(
                f"{visible(self.folder)} can't be written to ({error.strerror}); name another folder for --dicom-out."
            ) from error

    def _image(self, file: Path, row: "Row") -> tuple["ScreenedImage", "Grey"]:
        """A row as the image that it is about, with the square that was screened."""
        from medscreen.packaging.screened_files import ImageOfFile, ScreenedImage, decoded

        image = ImageOfFile(file, row["frame"], row["left_out"])
        _, _, square = decoded(image, self._version.detector, for_processing=True)
        of_row = {name: row[name] for name in ScreenedImage.__dataclass_fields__ if name in row}
        return ScreenedImage(image=image, **of_row), square

    def _write(self, file: Path, answer: "Dataset") -> None:
        from medscreen.reporting.dicom_answers.instance import encoded
        from medscreen.workspace.atomic_outputs import replaced

        target, content = self.folder / f"{answer.Modality}.{answer.SOPInstanceUID}.dcm", encoded(answer)
        if not target.exists():
            with replaced(target) as partial:
                partial.write_bytes(content)
            self._written["reports" if answer.Modality == "SR" else "captures"] += 1
        elif _without_times(target.read_bytes()) == _without_times(content):
            self._present += 1
        else:
            reason = f"{visible(target)} exists with another content; name another folder for --dicom-out"
            self._failures.add(file_name(file), None, f"has an answer that is not written: {reason}")

    def tell(self) -> None:
        """Names on stderr how many answers were written."""
        self._failures.name_rest()
        parts = [f"{self._written['reports']} reports and {self._written['captures']} captures written"]
        if self._present:
            parts.append(f"{self._present} were there already")
        if self._others:
            parts.append(f"{self._others} images of files that are no DICOM have none")
        say(f"medscreen: answers in {visible(self.folder)}: {'; '.join(parts)}", err=True)


def _without_times(content: bytes) -> "Dataset":
    """An answer without its dates and times: those of a repeat differ."""
    from pydicom import dcmread

    def leave_out(part: "Dataset", element: "DataElement") -> None:
        if element.VR in _TIMES:
            del part[element.tag]

    answer = dcmread(BytesIO(content), force=True)
    answer.walk(leave_out)
    return answer
