"""Output folder of `predict --dicom-out`: one DICOM file for each report and capture; existing files are kept."""

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

_MADE_ANEW = {
    "InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime", "DateOfSecondaryCapture",
    "TimeOfSecondaryCapture", "ContributionDateTime",
}  # fmt: skip


class AnswerFolder:
    """Writes the answers of a version to a folder and counts them.

    Raises MedscreenError for a folder that is a file, has no name, or is or lies in a screened folder.
    """

    def __init__(self, folder: Path, version: "LoadedVersion", screened: Sequence[Path]) -> None:
        if not folder.name or (folder.exists() and not folder.is_dir()):
            raise MedscreenError(f"{visible(folder)}: not a folder. Name another one for --dicom-out.")
        place = folder.resolve()
        if any(place.is_relative_to(p.resolve()) if p.is_dir() else place == p.resolve().parent for p in screened):
            raise MedscreenError(
                f"{visible(folder)}: inside a screened folder, so that the next run would screen its files. "
                "Name another one for --dicom-out."
            )
        self.folder, self._version = folder, version
        self._written: Counter[str] = Counter()
        self._present = self._others = 0
        self._failures = Failures()

    def add(self, file: Path, rows: Sequence["Row"]) -> None:
        """Writes report and captures of a file; without them, sets `reason` of its rows.

        Raises MedscreenError if the folder can't be written to.
        """
        from medscreen.data.image_errors import UnreadableImageError
        from medscreen.registry.dicom_answers import dicom_answers
        from medscreen.reporting.dicom_answers.source import NoAnswerError, NotDicomError, read_source

        rows = [row for row in rows if row["status"] == "screened"]
        if not rows:
            return
        try:
            source = read_source(file)
            if source.is_answer:
                raise NoAnswerError("it is a report or capture by medscreen")
            answers = dicom_answers(self._version, source, [self._image(file, row) for row in rows])
        except NotDicomError:
            self._others += len(rows)
            return
        except UnreadableImageError as error:
            self._fail(file, rows, f"has no DICOM report: {error}")
            return
        try:
            kept = [target for answer in answers if not self._write(target := self._path(answer), answer)]
        except OSError as error:
            raise MedscreenError(
                f"{visible(self.folder)}: can't be written to ({error.strerror}). Name another folder for --dicom-out."
            ) from error
        if kept:
            is_other = "exists with other content; name another folder for --dicom-out"
            self._fail(file, rows, f"has a report or capture that is not written: {visible(kept[0])} {is_other}")

    def _fail(self, file: Path, rows: Sequence["Row"], reason: str) -> None:
        self._failures.add(file_name(file), None, reason)
        for row in rows:
            row["reason"] = reason

    def _path(self, answer: "Dataset") -> Path:
        return self.folder / f"{answer.Modality}.{answer.SOPInstanceUID}.dcm"

    def _image(self, file: Path, row: "Row") -> tuple["ScreenedImage", "Grey"]:
        """The screened image of a row, and the square (S, S) that the detector screened."""
        from medscreen.packaging.screened_files import ImageOfFile, ScreenedImage, decoded

        image = ImageOfFile(file, row["frame"], row["left_out"])
        _, _, square = decoded(image, self._version.detector, for_processing=True)
        of_row = {name: row[name] for name in ScreenedImage.__dataclass_fields__ if name in row}
        return ScreenedImage(image=image, **of_row), square

    def _write(self, target: Path, answer: "Dataset") -> bool:
        """Writes an answer; False if the folder holds a different one under its name."""
        from medscreen.reporting.dicom_answers.instance import encoded
        from medscreen.workspace.atomic_outputs import replaced

        content = encoded(answer)
        if not target.exists():
            with replaced(target) as partial:
                partial.write_bytes(content)
            self._written["reports" if answer.Modality == "SR" else "captures"] += 1
        elif _without_times(target.read_bytes()) == _without_times(content):
            self._present += 1
        else:
            return False
        return True

    def tell(self) -> None:
        """Prints on stderr how many reports and captures were written."""
        self._failures.name_rest()
        parts = [f"written: {self._written['reports']} reports, {self._written['captures']} captures"]
        if self._present:
            parts.append(f"already present: {self._present}")
        if self._others:
            parts.append(f"images without report, as their files are not DICOM: {self._others}")
        say(f"medscreen: DICOM output in {visible(self.folder)}: {'; '.join(parts)}", err=True)


def _without_times(content: bytes) -> "Dataset":
    """An answer without its creation dates and times, which differ in a repeat."""
    from pydicom import dcmread

    def leave_out(part: "Dataset", element: "DataElement") -> None:
        if element.keyword in _MADE_ANEW:
            del part[element.tag]

    answer = dcmread(BytesIO(content), force=True)
    answer.walk(leave_out)
    return answer
