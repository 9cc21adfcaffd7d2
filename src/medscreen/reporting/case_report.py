"""Case report: HTML page on single images screened by a registered version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from medscreen.data.display import Grey
from medscreen.evaluation.outcomes import Outcomes
from medscreen.explain.packaged_map import Maps
from medscreen.explain.similar_cases import Case
from medscreen.packaging.packaged_detector import Screening
from medscreen.reporting.evaluation_report.canvas import save_figure
from medscreen.reporting.evaluation_report.explanation_figures import map_picture
from medscreen.reporting.evaluation_report.operating_figure import draw_scores, score_edges
from medscreen.reporting.pages.html_page import page
from medscreen.reporting.pages.markdown import render

_LONGEST_SIDE = 320  # pixels of a picture on the page
_THUMBNAIL = 96


@dataclass(frozen=True)
class ReportedVersion:
    """The registered version that screened; `commit` is "" if unknown."""

    model: str
    number: int
    stage: str
    detector: str
    digest: str
    commit: str
    point: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.model} version {self.number} ({self.detector})"


@dataclass(frozen=True)
class SimilarCase:
    """A training image near the screened one; `pixels` is None if they are not on this machine."""

    case: Case
    pixels: Grey | None


@dataclass(frozen=True)
class ReportedCase:
    """A screened image: `picture` (PNG as displayed), `square` (S, S) as screened, and its `screening`.

    `left_out`: number of further images of the file, which are not in the report.
    `map` (S, S) in `unit`, and similar cases; `no_map` and `no_cases`: reasons for their absence, or "".
    `caveat`: limits of the validation of the map, or "".
    """

    name: str
    picture: bytes
    square: Grey
    left_out: int
    screening: Screening
    map: Maps | None
    unit: str
    caveat: str
    no_map: str
    similar: Sequence[SimilarCase]
    no_cases: str


def case_report(cases: Sequence[ReportedCase], version: ReportedVersion, val: Outcomes) -> str:
    """Returns a self-contained HTML page; `val`: outcomes of the version on the validation split."""
    pictures: dict[str, bytes] = {}
    rendered = []
    healthy = val.scores[val.labels == 0]
    for i, case in enumerate(cases):
        score = float(case.screening.score[0])
        pictures[f"image-{i}"] = case.picture
        if case.map is not None:
            pictures[f"map-{i}"] = map_picture(case.square, case.map, case.unit)
        pictures[f"scores-{i}"] = _score_picture(val, version.point, score)
        thumbnails = []
        for j, similar in enumerate(case.similar):
            name = f"similar-{i}-{j}"
            if similar.pixels is not None:
                pictures[name] = png(similar.pixels, _THUMBNAIL)
            thumbnails.append((similar.case, name if similar.pixels is not None else None))
        rendered.append(
            {
                "case": case,
                "score": score,
                "percentile": float((healthy < score).mean()) if len(healthy) else None,
                "p_value": float(case.screening.p_value[0]),
                "probability": float(case.screening.probability[0]),
                "decision": decision_words(case.screening),
                "similar": thumbnails,
            }
        )
    counts = {"healthy": len(healthy), "abnormal": int((val.labels == 1).sum())}
    text = render("case_report.md.j2", cases=rendered, version=version, val=counts)
    return page(text, f"Case report: {version.model} version {version.number}", pictures)


def decision_words(screening: Screening) -> str:
    """The decision on one image in words; no decision outside the domain."""
    if screening.in_domain is not None and not screening.in_domain[0]:
        return "outside the training data: no decision"
    decision = "abnormal" if screening.abnormal[0] else "normal"
    return f"{decision}, deferred to a reader" if screening.deferred[0] else decision


def _score_picture(val: Outcomes, point: Mapping[str, Any], score: float) -> bytes:
    figure = Figure(figsize=(4.6, 3.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    edges = score_edges(np.append(val.scores, score), point)
    draw_scores(axes, val, point, edges)
    axes.axvline(min(max(score, edges[0]), edges[-1]), color="black", lw=2.5, label="this image")
    axes.set_xlabel("score (higher: more abnormal)")
    axes.set_ylabel("images of val")
    axes.legend(frameon=False, fontsize=7)
    stream = BytesIO()
    save_figure(figure, stream)
    return stream.getvalue()


def png(grey: Grey, longest: int = _LONGEST_SIDE) -> bytes:
    """Encodes an image as PNG, resized so that its longer side has `longest` pixels."""
    image, scale = Image.fromarray(grey), longest / max(grey.shape)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    stream = BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()
