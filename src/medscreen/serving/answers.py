"""Schema of the service's answers, from which its OpenAPI document is made."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """A problem document of RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="One sentence: what is wrong, and the way out.")


class ServedModel(BaseModel):
    """The registered version that answers."""

    name: str
    version: int
    stage: str
    detector: str
    digest: str = Field(description="Digest of the packaged detector: network, threshold and calibration.")


class SimilarCase(BaseModel):
    """A training image near the screened one, in the detector's own features."""

    name: str = Field(description="Keyed hash of the file's name.")
    label: Literal["normal", "abnormal"]
    distance: float


class ImageResult(BaseModel):
    """The result for one image."""

    frame: int | None = Field(description="Number of the image in a file that holds several, from 0.")
    score: float = Field(description="The higher, the more abnormal.")
    percentile: float | None = Field(
        description="Percentage of the healthy validation images with a lower score; null where they are not kept."
    )
    p_value: float = Field(description="Conformal p-value; small for images unlike the healthy validation images.")
    probability: float | None = Field(
        description="Calibrated probability of being abnormal, 0 to 1; null outside the domain."
    )
    abnormal: bool | None = Field(description="The decision at the operating point; null outside the domain.")
    deferred: bool | None = Field(
        description="The score lies in the band that is left to a reader; null outside the domain."
    )
    in_domain: bool | None = Field(description="Whether the image is like the training images; if not, no decision.")
    decision: str = Field(description="The decision in words.")
    for_processing: bool = Field(description="The file holds raw values of an X-ray detector (FOR PROCESSING).")
    header_mismatch: bool = Field(description="Modality or body part differ from those of the training images.")
    map: str | None = Field(
        default=None, description="On request: the image under the detector's map, a PNG in base64."
    )
    map_note: str = Field(default="", description="Why it is not shown, or what its proof leaves open.")
    similar: list[SimilarCase] | None = Field(default=None, description="On request: the nearest training images.")
    similar_note: str = Field(default="", description="Why there are none.")
    thumbnail: str | None = Field(default=None, description="On request: the image as displayed, a PNG in base64.")


class UnreadableImage(BaseModel):
    """An image that could not be screened."""

    frame: int | None
    detail: str


class FileResult(BaseModel):
    """The results for one uploaded file."""

    file: int = Field(description="Position of the file in the request, from 0.")
    images: list[ImageResult]
    unreadable: list[UnreadableImage]
    left_out: int = Field(description="Further images of the file, which were not screened.")


class ScreenAnswer(BaseModel):
    """The answer to a request; all of it comes from the same version."""

    model: ServedModel
    files: list[FileResult]
    use: str = "research only, never diagnosis"


class ScoreHistogram(BaseModel):
    """Scores of the validation images; the first and the last bin hold what lies beyond the edges."""

    edges: list[float]
    healthy: list[int]
    abnormal: list[int]


class ModelAnswer(ServedModel):
    """The version with its operating point and how the service follows the registry."""

    operating_point: dict[str, Any]
    image_size: int
    map: str = Field(description="Kind of map that is shown on request, or why there is none.")
    similar_cases: bool
    validation: ScoreHistogram | None = Field(description="Null where the scores are not kept.")
    registry_checked: datetime = Field(description="When the registry was last read.")
    registry_check_failed: bool = Field(description="Whether the last check failed; the service's log has the reason.")
    use: str = "research only, never diagnosis"
