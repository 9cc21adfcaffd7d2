"""The card as Markdown, most important first."""

from collections.abc import Mapping
from typing import Any

from medscreen.reporting.model_card.domain_section import domain
from medscreen.reporting.model_card.facts import CardFacts, figure
from medscreen.reporting.model_card.failures import known_failures
from medscreen.reporting.model_card.performance import bench, calibration, operating_point, performance
from medscreen.reporting.model_card.population import data, findings, subgroups
from medscreen.reporting.pages.markdown import bullets, inert, section, table


def model_card(facts: CardFacts) -> str:
    """The card of a version; what was not measured is left out, and names from the data stay inert."""
    sections = (
        _opening(facts),
        _use(facts),
        performance(facts),
        operating_point(facts),
        domain(facts),
        known_failures(facts),
        data(facts),
        subgroups(facts),
        findings(facts),
        bench(facts),
        calibration(facts),
        _elsewhere(facts),
        _listed("Lineage", ["what", "value"], facts.lineage),
        _listed("Parameters", ["parameter", "value"], facts.parameters),
    )
    return "\n\n".join(filter(None, sections)) + "\n"


def _opening(facts: CardFacts) -> str:
    number = "not registered" if facts.version is None else f"version {facts.version}"
    simulated = " (simulated data)" if facts.is_simulated else ""
    area = facts.estimate("test", "auroc")
    judged = f"; AUROC on its test split: {figure(area)}" if area else ""
    return (
        f"# {inert(facts.model)}, {number}{simulated}\n\n"
        f"**Research use only, never diagnosis.** {inert(facts.detector)} says how abnormal an image looks; made "
        f"{inert(facts.made)} from {facts.images} of the data set {inert(facts.dataset)}{judged}."
    )


def _use(facts: CardFacts) -> str:
    simulated = (
        "Everything here was made from and measured on simulated images. It shows that the method works as built; it "
        "says nothing about people."
    )
    return section(
        "Intended use",
        "This is not a medical device, and no authority has looked at it. It must not take part in the care of any "
        "person.",
        simulated if facts.is_simulated else "",
        bullets(
            [
                "Intended for: comparing detectors by one protocol, studying thresholds and calibration, teaching, "
                "sorting a research archive for people who look at every image.",
                "Not intended for: diagnosis, triage or screening of patients; leaving images unread because the "
                "detector calls them normal; other body parts, devices or age groups than those of its data.",
            ]
        ),
    )


def _elsewhere(facts: CardFacts) -> str:
    measured = (
        "Every image here is simulated by one program; how this version does on films of a hospital was not measured. "
        if facts.is_simulated
        else "Train and test come from one source; how this version does on another hospital's films was not measured. "
    )
    return section(
        "Other hospitals",
        measured
        + "That the fall can be deep is known: a pneumonia classifier with an AUC of 0.95 on held-out films of the "
        "hospital it learned from, the films that PneumoniaMNIST is made of, had 0.54 on those of another (Xin 2021). "
        "The p-values, too, promise something only for images like those of val.",
        "Xin 2021: K. Z. Xin, D. Li, P. H. Yi, Emergency Radiology 29, 107-113, doi 10.1007/s10140-021-01954-x.",
    )


def _listed(title: str, header: list[str], values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    return section(title, table(header, [[inert(name), inert(value)] for name, value in values.items()], words=2))
