"""Response schemas of the service, the source of its OpenAPI document."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="The problem and its solution in one sentence.")


class ServedModel(BaseModel):
    """The registered version that screened."""

    name: str
    version: int
    stage: str
    detector: str
    digest: str = Field(description="Digest of the packaged detector: network, threshold and calibration.")


class SimilarCase(BaseModel):
    """A training image near the screened one in the feature space of the detector."""

    name: str = Field(description="Keyed hash of the file name.")
    label: Literal["normal", "abnormal"]
    distance: float


class ImageResult(BaseModel):
    """The result for one image."""

    frame: int | None = Field(description="Number of the image in a file with several images, from 0.")
    score: float = Field(description="The higher, the more abnormal.")
    percentile: float | None = Field(
        description="Percentage of healthy validation images with a lower score; null without their scores."
    )
    p_value: float = Field(description="Conformal p-value; small for images unlike the healthy validation images.")
    probability: float | None = Field(
        description="Calibrated probability of being abnormal, 0 to 1; null outside the domain."
    )
    abnormal: bool | None = Field(description="The decision at the operating point; null outside the domain.")
    deferred: bool | None = Field(
        description="The score lies in the deferral band and a reader decides; null outside the domain."
    )
    in_domain: bool | None = Field(
        description="False for an image unlike the training images, which gets no decision; null without domain check."
    )
    decision: str = Field(description="The decision in words.")
    for_processing: bool = Field(description="The file holds raw values of an X-ray detector (FOR PROCESSING).")
    header_mismatch: bool = Field(description="Modality or body part differs from the training images.")
    map: str | None = Field(
        default=None, description="On request: the explanation map over the image, a PNG in base64."
    )
    map_note: str = Field(default="", description="Reason for a missing map, or limits of its validation.")
    similar: list[SimilarCase] | None = Field(default=None, description="On request: the nearest training images.")
    similar_note: str = Field(default="", description="Reason for missing similar images.")
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
    left_out: int = Field(description="Number of further images of the file, which were not screened.")


class ScreenAnswer(BaseModel):
    """Results for a request, all from the same version."""

    model: ServedModel
    files: list[FileResult]
    use: str = "research only, never diagnosis"


class ScoreHistogram(BaseModel):
    """Histogram of validation scores; the first and last bins include scores beyond the edges."""

    edges: list[float]
    healthy: list[int]
    abnormal: list[int]


class ModelAnswer(ServedModel):
    """The served version, its operating point, and the state of the registry checks."""

    operating_point: dict[str, Any]
    image_size: int
    map: str = Field(description="Kind of explanation map, or the reason for its absence.")
    similar_cases: bool
    validation: ScoreHistogram | None = Field(description="Null without validation scores.")
    registry_checked: datetime = Field(description="Time of the last successful registry check.")
    registry_check_failed: bool = Field(
        description="True if the last check failed; the log of the service states the reason."
    )
    use: str = "research only, never diagnosis"
