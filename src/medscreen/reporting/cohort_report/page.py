"""Page of the cohort report; cohort_report.md.j2 holds its text.

All figures come from `evaluate` and `publish`: the page computes nothing on test and runs no detector. It shows images
of val, so that their privacy rules apply.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from medscreen.config.datasets import PhantomParams
from medscreen.config.params import Params
from medscreen.config.privacy import is_public
from medscreen.data.images import curated_images
from medscreen.reporting.case_report import png
from medscreen.reporting.cohort_report.curves import curves_picture
from medscreen.reporting.cohort_report.published import Published, read_published
from medscreen.reporting.cohort_report.worst_cases import worst_cases
from medscreen.reporting.model_card.facts import CardFacts
from medscreen.reporting.pages.html_page import page
from medscreen.reporting.pages.markdown import render
from medscreen.tracking.detector_results import Result
from medscreen.workspace.layout import Layout

_THUMBNAIL = 128  # pixels


def cohort_report(layout: Layout, params: Params) -> str:
    """Returns a self-contained HTML page; raises MedscreenError for missing, damaged or inconsistent results."""
    published = read_published(layout, params)
    val = curated_images(layout, "val")
    pictures = dict(_curves(published))
    rendered = []
    for number, result in enumerate(published.results):
        name, worst = result.detector, worst_cases(layout, result, val)
        pictures |= {f"{kind}-{number}": content for kind, content in published.pictures[name].items()}
        for kind, cases in worst.items():
            pictures |= {f"{kind}-{number}-{i}": png(case.pixels, _THUMBNAIL) for i, case in enumerate(cases)}
        facts = _facts(result, published, params)
        deferred = {split: _complement(facts.estimate(split, "coverage")) for split in ("val", "test")}
        decisions = [of for of in published.tables["confusion"] if of["detector"] == name]
        counts = Counter((of["actual"], of["predicted"]) for of in decisions)
        rendered.append({"facts": facts, "result": result, "worst": worst, "deferred": deferred, "counts": counts})
    text = render(
        "cohort_report/cohort_report.md.j2",
        detectors=rendered,
        facts=rendered[0]["facts"],
        published=published,
        confidence=params.evaluation.confidence,
        may_leave=is_public(params.datasets[params.dataset]),
    )
    return page(text, f"Cohort report: {params.dataset}", pictures)


def _curves(published: Published) -> Iterator[tuple[str, bytes]]:
    """Yields (kind, PNG) of the curves of all detectors."""
    test = published.results[0].data["test"]
    prevalence = test["abnormal"] / test["images"]
    for kind, x, y in (("roc", "false_positive_rate", "sensitivity"), ("precision_recall", "sensitivity", "ppv")):
        points = {of.detector: (of.value("test", x), of.value("test", y)) for of in published.results}
        yield kind, curves_picture(kind, published.tables[kind], points, prevalence)


def _facts(result: Result, published: Published, params: Params) -> CardFacts:
    """Facts for the sections that the page shares with the model card."""
    return CardFacts(
        model=published.model,
        version=published.standings[result.detector]["version"],
        detector=result.detector,
        dataset=result.dataset,
        made="",
        evaluation=result.evaluation,
        analysis=result.analysis,
        curation=result.curation,
        explanations=result.explanations,
        operating_point=result.operating_point,
        parameters={},
        lineage={},
        decision="",
        is_simulated=isinstance(params.datasets[result.dataset], PhantomParams),
    )


def _complement(share: Mapping[str, Any] | None) -> dict[str, float | None] | None:
    """1 - share, with the bounds of the interval swapped."""
    if share is None:
        return None
    ends = {"value": share["value"], "low": share["high"], "high": share["low"]}
    return {name: None if value is None else 1 - value for name, value in ends.items()}
