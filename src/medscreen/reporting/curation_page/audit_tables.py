"""What curation did, as Markdown, most important first."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from medscreen.config.privacy import OTHER
from medscreen.data.images import SPLITS
from medscreen.reporting.curation_page.contact_sheets import CLASSES, PAIRS
from medscreen.reporting.pages.markdown import bullets, inert, interval, section, table

_QUARANTINED = 200  # files that the page names; data/curation.json names them all
_STEPS = {
    "records": "listed by the source",
    "readable": "readable",
    "without_exact_copies": "after exact copies",
    "without_near_copies": "after near copies",
}
_POLICIES = {
    "report": "told, nothing is changed",
    "drop": "one stays; published val and test keep all of theirs, and train none that they have",
    "keep_together": "all stay; copies lie in one split where medscreen cuts, so that train and tune share none, but "
    "published val and test stay as they are, also where train holds copies of theirs",
    "fail": "curation ends",
}


def report(audit: Mapping[str, Any], sheets: Collection[str]) -> str:
    """The page's Markdown, from what data/curation.json holds; `sheets`: the names of the pictures there are."""
    parts = (
        f"# Curation of {inert(audit['dataset'])}\n\nFrom the files of the source to four splits: train fits, tune "
        "says when to stop, val chooses threshold and detector, test judges. This page shows images: where they are "
        "patients', it has to stay on this machine. data/curation.json has the same numbers; reports/curation.json has "
        "them without names that may be patients'.",
        section("Worth a look", bullets(warnings(audit)) or "Nothing: no leak, no file that could not be read."),
        _steps(audit),
        _labels(audit["labels"]),
        _splits(audit["splits"]),
        _exact(audit["exact_copies"]),
        _near(audit["near_copies"], sheets),
        _shift(audit["shift"]),
        _quarantine(audit["quarantined"]),
        _pictures(sheets),
    )
    return "\n\n".join(filter(None, parts)) + "\n"


def warnings(audit: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on what makes a result of these splits doubtful, for the terminal too; none where all is well."""
    for pair, found in audit["leaks"].items():
        first, second = pair.split("+")
        yield (
            f"{first} and {second} share patients ({found['patients']}) or exact copies ({found['exact_copies']}): "
            f"images of {second} that are no independent test of what {first} taught: {found['images']}."
        )
    if shared := {pair: found["exact_copies"] for pair, found in audit["leaks"].items() if found["exact_copies"]}:
        yield f"Exact copies that two splits share: {_counts(shared)}. {_way_out('exact_copies', shared, audit)}"
    if shared := audit["near_copies"]["shared"]:
        told = f"Near copies that two splits share: {_counts(shared)}; data/curation.html shows them."
        yield f"{told} {_way_out('near_copies', shared, audit)}"
    if rivals := len(audit["exact_copies"]["conflicting_labels"]):
        yield f"Images that have exact copies with another label, so that one of the two is wrong: {rivals}."
    if rivals := audit["near_copies"]["conflicting_labels"]:
        yield f"Pairs of near copies with different labels: {rivals}."
    if merged := audit["merged_values"]:
        yield f"Values of the labels and traits that are called {OTHER!r} from here on: {_counts(merged)}."
    if burned_in := audit["burned_in"]:
        yield f"Files that say that text is burned into their pixels, which may be a name: {burned_in}."
    if raw := audit["for_processing"]:
        yield (
            f"Images that are raw values of an X-ray detector (PresentationIntentType FOR PROCESSING), not as a reader "
            f"sees them: {raw}. Leave them out of the source, or expect a detector to learn which ones they are."
        )
    if unread := len(audit["quarantined"]):
        yield f"{unread} of {audit['records']} files could not be read and are left out."
    found = audit["shift"]["auroc"]
    if found and found["low"] > 0.5:
        yield (
            f"Normal images of val and test can be told apart (AUROC {interval(found)}; 0.5 is alike): a threshold "
            "chosen on val may raise more false alarms on test."
        )


def _way_out(policy: str, shared: Collection[str], audit: Mapping[str, Any]) -> str:
    """What a policy of params.yaml can do about copies that these pairs of splits share."""
    if not audit["published_splits"]:
        return f"curation.{policy} in params.yaml: keep_together puts copies into one split, drop keeps one of each."
    ways = []
    if "train+tune" in shared:
        ways.append(f"curation.{policy} in params.yaml: keep_together has those of train and tune in one of the two.")
    if set(shared) - {"train+tune", "val+test"}:
        ways.append(
            f"Only curation.{policy}: drop takes the copies of published val and test images out of train and tune; "
            "keep_together leaves them."
        )
    if "val+test" in shared:
        ways.append("Published val and test keep what they share, whatever curation says.")
    return " ".join(ways)


def _steps(audit: Mapping[str, Any]) -> str:
    rows = [[words, str(audit[key])] for key, words in _STEPS.items()]
    rows.append(["in the four splits", str(sum(about["images"] for about in audit["splits"].values()))])
    people = f"{audit['patients']} patients"
    if audit["respelled_patients"]:
        people += f", {audit['respelled_patients']} of them under several spellings, taken as one"
    aside = [f"{number} {inert(what)}" for what, number in audit["source_notes"].items()]
    noted = "What the source holds besides images:\n\n" + bullets(aside) if aside else ""
    return section("Step by step", table(["images", "number"], rows), f"{people}.", noted)


def _labels(labels: Sequence[Mapping[str, Any]]) -> str:
    rows = [[inert(found["label"]), found["taken_as"], str(found["images"])] for found in labels]
    return section("Labels of the source", table(["label", "taken as", "images"], rows))


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> str:
    header = [
        "split",
        "images",
        "normal",
        "abnormal",
        "abnormal share",
        "patients",
        "mean grey",
        "5 to 95 %",
        "contrast",
    ]
    rows = [
        [
            name,
            *(str(about[count]) for count in ("images", "normal", "abnormal")),
            f"{about['abnormal'] / about['images']:.3f}",
            str(about["patients"]),
            f"{about['mean_grey']:.1f}",
            f"{about['brightness']['q05']:.0f} to {about['brightness']['q95']:.0f}",
            f"{about['contrast']:.1f}",
        ]
        for name, about in splits.items()
    ]
    return section(
        "Splits",
        table(header, rows),
        "Grey levels run from 0 to 255: the mean of the images' means, the range of 90 % of them, and the mean of "
        "their standard deviations.",
    )


def _exact(copies: Mapping[str, Any]) -> str:
    lines = [
        f"Policy {inert(copies['policy'])}: {_POLICIES[copies['policy']]}.",
        f"Images that repeat an earlier one of their split: {_counts(copies['within'])}.",
        f"Images that two splits of the source share: {_counts(copies['across'])}.",
        f"Dropped: {copies['dropped']}.",
    ]
    rivals, listed = (
        [[", ".join(map(inert, group["files"]))] for group in copies[which]]
        for which in ("conflicting_labels", "listed")
    )
    return section(
        "Exact copies",
        "Images with equal decoded pixels at full size.",
        bullets(lines),
        table(["copies with different labels"], rivals[:PAIRS]) if rivals else "",
        table(["files with equal images"], listed[:PAIRS]) if listed else "",
        _more(min(PAIRS, len(listed)), len(listed), "groups"),
    )


def _near(copies: Mapping[str, Any], sheets: Collection[str]) -> str:
    rows = [
        [
            str(number),
            *map(inert, pair["files"]),
            " and ".join(map(inert, pair["splits"])),
            f"{pair['correlation']:.3f}",
        ]
        for number, pair in enumerate(copies["listed"][:PAIRS], 1)
    ]
    return section(
        "Near copies",
        "The same image with other grey values, at another size, compressed again, mirrored or turned by quarters. A "
        "perceptual hash proposes pairs; the textures of both have to correlate at 0.97 or more. Simulated or very "
        "smooth images of different people may pass: look at them.",
        bullets(
            [
                f"Policy {inert(copies['policy'])}: {_POLICIES[copies['policy']]}.",
                f"Pairs: {copies['pairs']}, of {copies['images']} images; within a split of the source: "
                f"{_counts(copies['within'])}; across: {_counts(copies['across'])}.",
                f"Pairs that two splits share now: {_counts(copies['shared'])}. Dropped: {copies['dropped']}.",
            ]
        ),
        f"![The first {min(PAIRS, len(copies['listed']))} pairs of near copies](near)" if "near" in sheets else "",
        table(["pair", "file", "near copy", "now in", "correlation"], rows, words=4) if rows else "",
        _more(len(rows), copies["pairs"], "pairs"),
    )


def _shift(shift: Mapping[str, Any]) -> str:
    said = (
        f"Not measured: {shift['reason']}."
        if shift["auroc"] is None
        else f"A classifier that saw none of a patient's images tells whether a normal image is of val or of test with "
        f"AUROC {interval(shift['auroc'])}, from brightness, contrast, roughness and coarse layout of "
        f"{shift['images']['val']} and {shift['images']['test']} images. 0.5 is alike; the further above, the less a "
        "threshold of val holds on test."
    )
    return section("Val against test", said)


def _quarantine(quarantined: Sequence[Mapping[str, str]]) -> str:
    rows = [[inert(entry["file"]), inert(entry["reason"])] for entry in quarantined[:_QUARANTINED]]
    if not rows:
        return ""
    listed = table(["file", "reason"], rows, words=2)
    return section("Files left out", listed, _more(len(rows), len(quarantined), "files"))


def _pictures(sheets: Collection[str]) -> str:
    shown = [
        f"### {split}, {word}\n\n![Images of {split} labelled {word}]({split}-{word})"
        for split in SPLITS
        for word in CLASSES
        if f"{split}-{word}" in sheets
    ]
    return section("Contact sheets", "Up to 24 images of each, evenly spread over the split.", *shown) if shown else ""


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{inert(name)} {number}" for name, number in found.items()) or "none"


def _more(shown: int, there_are: int, what: str) -> str:
    return f"{there_are - shown} more {what} are not shown." if there_are > shown else ""
