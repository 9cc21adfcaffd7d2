"""The sections on the images: which there were, and how a version does on parts of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from medscreen.reporting.model_card.facts import CardFacts, few_patients, figure
from medscreen.reporting.pages.markdown import bullets, inert, interval, section, table

_COUNTS = ("images", "normal", "abnormal", "patients")
_RATES = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}


def data(facts: CardFacts) -> str:
    """The splits and what curation found; "" where there is no audit."""
    if not facts.curation:
        return ""
    simulated = " It is simulated: no patient, no real finding; a patient below is a simulated one."
    splits = facts.curation.get("splits", {})
    rows = [[inert(name), *(inert(about.get(count)) for count in _COUNTS)] for name, about in splits.items()]
    return section(
        "Data and splits",
        f"Data set {inert(facts.dataset)}.{simulated if facts.is_simulated else ''} Train fits, tune says when to "
        "stop, val chooses threshold and calibration, test judges.",
        table(["split", *_COUNTS], rows) if rows else "",
        bullets(_audit(facts.curation)),
    )


def _audit(curation: Mapping[str, Any]) -> Iterator[str]:
    if "records" in curation:
        yield f"Files: {curation['records']} listed, {curation.get('readable', '-')} readable."
    if "quarantined" in curation:
        yield f"Quarantined as unreadable: {len(curation['quarantined'])}; curation.json names them."
    if copies := curation.get("exact_copies"):
        yield _copies(copies)
        yield f"Images whose copies have conflicting labels: {len(copies.get('conflicting_labels', []))}."
    if near := curation.get("near_copies"):
        shared = ", ".join(f"{inert(pair)} {number}" for pair, number in near.get("shared", {}).items())
        yield f"Near copies: {near.get('pairs', '-')} pairs; that two splits share: {shared or 'none'}."
    if (shift := curation.get("shift")) and shift.get("auroc"):
        yield f"Normal images of val and test are told apart with AUROC {interval(shift['auroc'])}; 0.5 is alike."
    splits = curation.get("splits", {}).values()
    if splits and all(about.get("patients") == about.get("images") for about in splits):
        yield (
            "Every image counts as a patient of its own. Where the source does not say whose the images are, splits "
            "may share people, and intervals are too narrow."
        )
    if "respelled_patients" in curation:
        yield f"Patients under several spellings, taken as one: {curation['respelled_patients']}."
    if "leaks" in curation:
        yield f"Leaks between the splits: {leaks(curation['leaks']) or 'none'}."


def _copies(copies: Mapping[str, Any]) -> str:
    shared = ", ".join(f"{inert(pair)} {number}" for pair, number in copies.get("across", {}).items())
    return (
        f"Exact copies dropped: {copies.get('dropped', '-')}; images that published splits share: {shared or 'none'}."
    )


def leaks(shared: Mapping[str, Mapping[str, int]]) -> str:
    """The pairs of splits that share images or patients, and how many; "" where none does."""
    return ", ".join(
        f"{inert(pair)} (images {inert(found.get('images'))}, patients {inert(found.get('patients'))})"
        for pair, found in shared.items()
    )


def subgroups(facts: CardFacts) -> str:
    """Metrics of each group of each trait on test; "" where no trait is known."""
    rows = [
        [inert(trait), inert(group), *_counts(row), *(figure(row["metrics"].get(name)) for name in _RATES)]
        for trait, groups in facts.analysis.get("subgroups", {}).items()
        for group, row in groups.items()
    ]
    if not rows:
        return ""
    return section(
        "Subgroups",
        f"Test split{facts.aside}.",
        table(["trait", "group", "patients", "normal", "abnormal", *_RATES.values()], rows, words=2),
        few_patients(rows),
    )


def _counts(row: Mapping[str, Any]) -> list[str]:
    return [inert(row.get(count)) for count in ("patients", "normal", "abnormal")]


def findings(facts: CardFacts) -> str:
    """Each finding against the normal images of test, and how findings are told apart; "" where none is known."""
    rows = [
        [
            inert(name),
            inert(row.get("abnormal")),
            *(figure(row["metrics"].get(rate)) for rate in ("auroc", "sensitivity")),
        ]
        for name, row in facts.analysis.get("findings", {}).items()
    ]
    classes = facts.analysis.get("classes")
    if not rows and not classes:
        return ""
    return section(
        "Findings",
        f"Test split{facts.aside}, each finding against the same normal images." if rows else "",
        table(["finding", "images", "AUROC", "sensitivity"], rows) if rows else "",
        few_patients(rows),
        *(_told_apart(classes) if classes else ()),
    )


def _told_apart(classes: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Told apart, each class against all others: mean AUROC {figure(classes.get('macro_auroc'))}. An image is "
        "called the class of highest probability."
    )
    yield table(
        ["class", "images", "AUROC", "sensitivity", "PPV"],
        [
            [inert(name), str(row["images"]), *(figure(row[rate]) for rate in ("auroc", "sensitivity", "ppv"))]
            for name, row in classes.get("rows", {}).items()
        ],
    )
    names = [inert(name) for name in classes.get("names", [])]
    yield table(
        ["images that are", *(f"called {name}" for name in names)],
        [[name, *map(str, counts)] for name, counts in zip(names, classes.get("confusion", []), strict=False)],
    )
