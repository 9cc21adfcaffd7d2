import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from factories import REPOSITORY
from html_pages import Tags
from medscreen.reporting.model_card.card import model_card, version_description
from medscreen.reporting.model_card.facts import CardFacts
from medscreen.reporting.pages.html_page import page
from medscreen.reporting.pages.markdown import TEMPLATES, inert


def estimate(value: float | None, reach: float = 0.1) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": round(value - reach, 6), "high": round(value + reach, 6)}


ALL_SECTIONS = [
    "Intended use", "Performance", "Operating point", "Domain", "Known failures", "Data and splits", "Subgroups",
    "Findings", "Threshold comparison", "Calibration", "Explanation map", "Other hospitals", "Lineage", "Parameters",
]  # fmt: skip
POINT = {
    "policy": "youden", "threshold": 0.809444, "defer_from": -2.06826, "defer_to": 0.809444,
    "healthy_scores": [-2.0, -1.5], "calibration": "platt", "curve": {"slope": 0.7, "intercept": -0.6},
    "domain": {
        "level": 0.01, "guaranteed": 0.02, "compares": ["image statistics", "features of the detector"],
        "learned_from": 1149, "calibrated_on": {"images": 140, "patients": 99},
        "dicom": {"modality": {"CR": 1100, "unknown": 49}, "body part": {"CH|EST": 1149}},
    },
}  # fmt: skip
PERTURBED = {"map": estimate(0.8), "map_of_another_image": estimate(0.9), "difference": estimate(-0.1, 0.2)}
PROOF: dict[str, Any] = {
    "shown": True, "reason": "", "map": "class activation map", "unit": "log odds per place", "images": 179,
    "constant_maps": 2,
    "localization": {
        "pointing_game": {"map": estimate(0.525, 0.08), "chance": estimate(0.013, 0.002), "center_blob": estimate(0.1)},
        "energy_inside": {"map": estimate(0.146, 0.02), "chance": estimate(0.012, 0.002), "center_blob": estimate(0.2)},
    },
    "randomization": {"images": 32, "rank_correlation": estimate(-0.024, 0.02)},
    "perturbation": {"images": 12, "deletion": {"mean": PERTURBED}, "insertion": {"mean": PERTURBED}},
}  # fmt: skip
NOTHING = CardFacts("m", None, "d", "s", "2026-07-03", {}, {}, {}, {}, {}, {}, {}, "", is_simulated=False)
ODD_NAMES = st.text(st.sampled_from("|`<>\\*_[]()#&;~!:-+=.$\"'\n\r\t\0\u2028\u202e ab1é")) | st.text()


def read(*path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((REPOSITORY / "tests" / "data" / "reports").joinpath(*path).read_text())
    return content


def reported(detector: str) -> CardFacts:
    """The facts of a detector whose reports are in tests/data, on simulated data."""
    return CardFacts(
        model="phantom-detector",
        version=3,
        detector=detector,
        dataset="phantom",
        made="2026-07-03",
        evaluation=read(detector, "evaluation.json"),
        analysis=read(detector, "analysis.json"),
        explanations=PROOF,
        curation=read("curation.json"),
        operating_point=POINT,
        parameters={"seed": 7, "findings": [], "evaluation.confidence": 0.95},
        lineage={"code commit": "0" * 40, "uncommitted changes": "no"},
        decision="cnn: val/auroc 0.9199 beats the baseline gradient by 0.4290",
        is_simulated=True,
    )


def group(value: float | None, reach: float = 0.1, abnormal: int = 20) -> dict[str, Any]:
    rates = {name: estimate(value, reach) for name in ("auroc", "sensitivity", "specificity")}
    return {"images": 40, "patients": 30, "normal": 20, "abnormal": abnormal, "metrics": rates}


def judged(test: Mapping[str, Any], **analysis: Any) -> CardFacts:
    return replace(NOTHING, evaluation={"test": test}, analysis=analysis)


def sections(markdown: str) -> dict[str, str]:
    """Title -> what stands below it."""
    parts = re.split(r"^## (.*)\n", markdown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def tables(markdown: str) -> list[list[list[str]]]:
    """Tables, rows and cells as a reader of the rendered card sees them."""
    found: list[list[list[str]]] = []
    inside = False
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("table_open", "table_close"):
            inside = token.type == "table_open"
            found += [[]] if inside else []
        elif inside and token.type == "tr_open":
            found[-1].append([])
        elif inside and token.type == "inline":
            found[-1][-1].append("".join(child.content for child in token.children or []))
    return found


def shown(name: object) -> str:
    """A name as the card is to show it: what prints of it, in one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(name)).split()) or "-"


# what a card of this repository's own reports says


@pytest.mark.parametrize("detector", ["cnn", "autoencoder"])
def test_every_section_of_a_reported_detector_is_there_in_order(detector: str) -> None:
    assert list(sections(model_card(reported(detector)))) == ALL_SECTIONS


def test_headline_metrics_are_those_of_the_report_with_their_intervals() -> None:
    facts = reported("cnn")
    rows = {row[0]: row[1:] for row in tables(sections(model_card(facts))["Performance"])[0]}
    for words, metric in (("AUROC", "auroc"), ("sensitivity", "sensitivity"), ("Brier score", "brier")):
        for position, split in enumerate(("val", "test")):
            figure = facts.evaluation[split][metric]
            assert rows[words][position] == f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
    at = facts.evaluation["test"]["at_prevalence"]["ppv"]
    assert rows["PPV, prevalence 5 %"][1] == f"{at['value']:.3f} ({at['low']:.3f} to {at['high']:.3f})"
    assert rows["ECE"][1] == f"{facts.evaluation['test']['ece']['value']:.3f}"  # it has no interval
    by_chance = facts.analysis["ece_by_chance"]["test"]
    assert rows["ECE expected by chance"][1].endswith(f"({by_chance['low']:.3f} to {by_chance['high']:.3f})")


def test_the_level_of_the_intervals_is_named_where_it_is_known() -> None:
    facts = reported("cnn")
    assert "the 95 % interval" in model_card(facts)
    assert "in brackets the interval" in model_card(replace(facts, parameters={}))


def test_simulated_data_is_called_so_wherever_numbers_are_summarised() -> None:
    markdown = model_card(reported("cnn"))
    title, summary = markdown.splitlines()[0], markdown.splitlines()[2]
    assert title == "# phantom-detector, version 3 (simulated data)"
    assert "simulated images" in summary
    found = sections(markdown)
    for name in ALL_SECTIONS[:-2]:  # lineage and parameters hold no results
        assert "simulated" in found[name], name


def test_real_data_is_nowhere_called_simulated() -> None:
    assert "simulated" not in model_card(replace(reported("cnn"), is_simulated=False))


def test_the_domain_section_states_bound_rates_and_what_dicom_said() -> None:
    facts = reported("cnn")
    rates = {split: {"in_domain": estimate(value, 0.004)} for split, value in (("val", 0.993), ("test", 0.98))}
    text = sections(model_card(replace(facts, evaluation=rates)))["Domain"]
    assert "at most 2 % are outside" in text
    assert "140 images of 99 patients" in text
    assert "In the domain on test (simulated images): 0.980 (0.976 to 0.984) of the images." in text
    assert "DICOM modality of the training images: CR 1100, unknown 49." in text
    assert r"CH\|EST 1149" in text
    before = {name: value for name, value in POINT.items() if name != "domain"}
    assert "Domain" not in sections(model_card(replace(facts, operating_point=before)))


def test_the_warning_comes_before_any_number() -> None:
    summary = model_card(reported("cnn")).splitlines()[2]
    assert summary.startswith("**Research use only, never diagnosis.**")


def test_operating_point_band_and_decision() -> None:
    message = sections(model_card(reported("cnn")))["Operating point"]
    assert "score at or above 0.8094." in message
    assert "scores from -2.068 to below 0.8094 are deferred to a reader" in message
    assert '"cnn: val/auroc 0.9199 beats the baseline gradient by 0.4290"' in message
    empty = replace(NOTHING, operating_point=POINT | {"defer_from": 1.5, "defer_to": 1.5})
    assert "no image is deferred" in sections(model_card(empty))["Operating point"]


# what is missing is left out


def test_a_version_of_which_nothing_was_reported_has_a_card() -> None:
    markdown = model_card(NOTHING)
    assert markdown.startswith("# m, not registered\n")
    assert list(sections(markdown)) == ["Intended use", "Known failures", "Explanation map", "Other hospitals"]
    assert "No check was possible" in markdown


def test_a_version_with_another_threshold_shows_the_rates_it_has() -> None:
    rates = {"sensitivity": estimate(0.8), "ppv": estimate(0.7), "coverage": estimate(0.6)}
    facts = replace(NOTHING, evaluation={"val": rates, "test": rates}, operating_point=POINT, decision="By hand.")
    found = sections(model_card(facts))
    assert list(found) == [
        "Intended use", "Performance", "Operating point", "Domain", "Known failures", "Explanation map",
        "Other hospitals",
    ]  # fmt: skip
    assert [row[0] for row in tables(found["Performance"])[0]] == [
        "metric",
        "sensitivity",
        "PPV, prevalence of the split",
    ]
    assert (
        "0.600 (0.500 to 0.700) of the images; wrong among these -, among the deferred ones -."
        in found["Operating point"]
    )


def test_without_probabilities_nothing_is_said_of_them() -> None:
    facts = reported("autoencoder")
    evaluation = {
        split: {name: figures for name, figures in metrics.items() if name not in ("brier", "ece")}
        for split, metrics in facts.evaluation.items()
    }
    analysis = {k: v for k, v in facts.analysis.items() if k not in ("reliability", "ece_by_chance")}
    found = sections(model_card(replace(facts, evaluation=evaluation, analysis=analysis)))
    assert "Calibration" not in found
    for words in ("Brier", "ECE", "accuracy at probability"):
        assert words not in found["Performance"]
    assert "calibration against chance" in found["Known failures"].partition("Not checked")[2]


def test_undefined_values_are_dashes() -> None:
    facts = judged(
        {"auroc": estimate(0.9)},
        subgroups={"sex": {"F": group(None), "M": group(0.8)}},
        threshold_comparison=[
            {
                "policy": "f1",
                "threshold": estimate(None),
                "rates": {"val": {"false_positive_rate": estimate(None)}, "test": {}},
            }
        ],
    )
    found = sections(model_card(facts))
    assert tables(found["Subgroups"])[0][1][-3:] == ["-", "-", "-"]
    assert tables(found["Threshold comparison"])[0][1] == ["f1", "-", "-", "-", "-", "-"]
    assert tables(found["Performance"])[0][1] == ["AUROC", "-", "0.900 (0.800 to 1.000)"]


# known failures


def failures(facts: CardFacts) -> str:
    return sections(model_card(facts))["Known failures"]


def test_the_worst_subgroup_is_named_and_those_that_end_below_the_whole_split() -> None:
    groups = {
        "sex": {"F": group(0.6, 0.15, abnormal=5), "M": group(0.65, 0.05)},
        "site": {"A": group(0.7), "B": group(0.9)},
        "age": {"unknown": group(0.1)},  # the only group is the split itself
    }
    message = failures(judged({"sensitivity": estimate(0.74)}, subgroups=groups))
    assert "lowest for sex F: 0.600 (0.450 to 0.750) on 5 abnormal images; the interval reaches the 0.740" in message
    assert "low for sex M: 0.650 (0.600 to 0.700) on 20 abnormal images; the interval ends below the 0.740" in message
    assert "site" not in message
    assert "unknown" not in message


def test_groups_whose_names_print_alike_are_both_told() -> None:
    alike = {"site": {"A": group(0.6, 0.01), "A\n": group(0.5, 0.01), "B": group(0.9)}}
    message = failures(judged({"sensitivity": estimate(0.8)}, subgroups=alike))
    assert "for site A: 0.500" in message
    assert "for site A: 0.600" in message


def test_no_subgroup_is_blamed_where_all_do_as_well_as_the_whole() -> None:
    equal = {"sex": {"F": group(0.8), "M": group(0.8)}}
    message = failures(judged({"sensitivity": estimate(0.8)}, subgroups=equal))
    assert "None was found" in message
    assert "Checked: sensitivity of subgroups." in message


def test_the_finding_that_is_seen_worst_is_named() -> None:
    seen = {"mass": group(0.95), "nodule": group(0.7, 0.05), "effusion": group(None)}
    message = failures(judged({"auroc": estimate(0.9)}, findings=seen))
    assert "AUROC is lowest for nodule: 0.700 (0.650 to 0.750)" in message
    assert "mass" not in message


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (0.1, 0.32, "False positive rate rises by 0.220, from 0.100 (0.000 to 0.200) on val to 0.320 (0.220 to 0.420)"),
        (0.1, 0.32, "the intervals do not overlap"),
        (0.1, 0.15, "the intervals overlap"),
    ],
)
def test_a_rise_of_the_false_positive_rate_is_told(before: float, after: float, message: str) -> None:
    rates = {"val": {"false_positive_rate": estimate(before)}, "test": {"false_positive_rate": estimate(after)}}
    assert message in failures(replace(NOTHING, evaluation=rates))
    swapped = {"val": rates["test"], "test": rates["val"]}
    assert "rises" not in failures(replace(NOTHING, evaluation=swapped))


@pytest.mark.parametrize(
    ("alarms", "message"),
    [
        (estimate(0.3), "the interval begins above that"),
        (estimate(0.06, 0.02), "the interval reaches that"),
        (estimate(0.05, 0.02), "None was found"),
        (estimate(None), "No check was possible"),
    ],
)
def test_false_alarms_are_held_against_what_is_promised(alarms: dict[str, Any], message: str) -> None:
    assert message in failures(judged({}, false_positive_rate_at_p={"0.05": alarms}))


@pytest.mark.parametrize(("error", "blamed"), [(0.07, True), (0.05, False)])
def test_miscalibration_is_what_chance_does_not_explain(error: float, blamed: bool) -> None:
    measured = {"ece": {"value": error, "low": None, "high": None}}
    message = failures(judged(measured, ece_by_chance={"test": estimate(0.04, 0.02)}))
    assert ("ECE 0.070 on test; perfect calibration would give 0.040 (0.020 to 0.060)" in message) == blamed


@pytest.mark.parametrize(
    ("area", "message"),
    [(0.45, "is not distinguishable from chance"), (0.3, "is worse than chance"), (0.9, "None was found")],
)
def test_ranking_is_held_against_guessing(area: float, message: str) -> None:
    assert message in failures(judged({"auroc": estimate(area)}))


def test_the_spread_over_seeds_needs_several() -> None:
    several = {"auroc": {"7": 0.9, "8": 0.8, "9": 0.95}, "runs": 3, "mean": 0.883333, "sd": 0.076376}
    message = failures(judged({}, seeds={"test": several}))
    assert "0.800 to 0.950 over 3 trainings, mean 0.883, standard deviation 0.076" in message
    one = {"auroc": {"7": 0.9}, "runs": 1, "mean": 0.9, "sd": None}
    assert "No check was possible" in failures(judged({}, seeds={"test": one}))


# data


def test_what_curation_found_is_told() -> None:
    audit = {
        "records": 12,
        "readable": 10,
        "quarantined": [{"file": "patient-7.dcm", "reason": "cut"}, {"file": "b.dcm", "reason": "empty"}],
        "exact_duplicates": {"dropped": 3, "across": {"test+train": 2}, "conflicting_labels": [["a", "b"]]},
        "respelled_patients": 1,
        "leaks": {"train+val": {"images": 2, "patients": 1}},
        "splits": {"val": {"images": 7, "normal": 4, "abnormal": 3, "patients": 5}},
    }
    facts = replace(NOTHING, curation=audit)
    message = sections(model_card(facts))["Data and splits"]
    assert tables(message) == [[["split", "images", "normal", "abnormal", "patients"], ["val", "7", "4", "3", "5"]]]
    for line in (
        "Files: 12 listed, 10 readable.",
        "Quarantined as unreadable: 2;",
        "Exact duplicates dropped: 3; images that published splits share: test+train 2.",
        "conflicting labels: 1.",
        "Leaks between the splits: train+val (images 2, patients 1).",
    ):
        assert line in message
    assert "patient-7" not in message  # names of files may name people
    assert "so every number is optimistic: train+val (images 2, patients 1)" in failures(facts)


@pytest.mark.parametrize(("leaks", "told"), [({"leaks": {}}, True), ({}, False)])
def test_no_leak_is_claimed_only_where_leaks_were_looked_for(leaks: dict[str, Any], told: bool) -> None:
    message = sections(model_card(replace(NOTHING, curation={"records": 3} | leaks)))["Data and splits"]
    assert ("Leaks between the splits: none." in message) == told


@pytest.mark.parametrize(("patients", "told"), [(7, True), (6, False)])
def test_images_without_known_patients_are_told(patients: int, told: bool) -> None:
    splits = {"test": {"images": 7, "normal": 4, "abnormal": 3, "patients": patients}}
    assert ("intervals are too narrow" in model_card(replace(NOTHING, curation={"splits": splits}))) == told


def test_findings_that_are_told_apart_have_their_rows_and_counts() -> None:
    row = {"images": 9, "patients": 9, "auroc": estimate(0.8), "sensitivity": estimate(0.7), "ppv": estimate(None)}
    classes = {
        "names": ["normal", "mass|", "nodule"],
        "macro_auroc": estimate(0.75),
        "rows": {"normal": row, "mass|": row, "nodule": row},
        "confusion": [[5, 1, 0], [2, 6, 1], [0, 3, 7]],
    }
    message = sections(model_card(judged({}, classes=classes)))["Findings"]
    rows, counts = tables(message)
    assert rows[2] == ["mass|", "9", "0.800 (0.700 to 0.900)", "0.700 (0.600 to 0.800)", "-"]
    assert counts[0] == ["actual class", "predicted normal", "predicted mass|", "predicted nodule"]
    assert counts[2] == ["mass|", "2", "6", "1"]
    assert "mean AUROC 0.750 (0.650 to 0.850)" in message


# the map and its proof


def test_a_map_is_shown_with_what_it_was_compared_with() -> None:
    text = sections(model_card(reported("cnn")))["Explanation map"]
    assert "Kind: class activation map; unit: log odds per place." in text
    assert "Measured on 179 abnormal simulated images of test; in brackets the 95 % interval" in text
    assert "Constant maps, without a highlighted region: 2." in text
    inside, probability = tables(text)
    assert inside[1] == [
        "maximum (pointing game)", "0.525 (0.445 to 0.605)", "0.013 (0.011 to 0.015)", "0.100 (0.000 to 0.200)",
    ]  # fmt: skip
    assert inside[2][1:] == ["0.146 (0.126 to 0.166)", "0.012 (0.010 to 0.014)", "0.200 (0.100 to 0.300)"]
    assert probability[1][1:] == ["0.800 (0.700 to 0.900)", "0.900 (0.800 to 1.000)", "-0.100 (-0.300 to 0.100)"]
    assert "rank correlation -0.024 (-0.044 to -0.004) with the map of shuffled weights" in text


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        ({}, "explanations.json is lost"),  # a version registered before there were maps
        ({"shown": False, "map": None, "reason": "it has no places"}, "This detector has none: it has no places."),
        (PROOF | {"shown": False, "reason": "it misses"}, "It is not shown: it misses."),
        (
            PROOF | {"localization": None, "localization_reason": "nobody drew the lesions"},
            "Not tested for localization of lesions, as nobody drew the lesions.",
        ),
    ],
)
def test_a_map_that_is_not_there_not_shown_or_not_proven_has_its_reason(proof: dict[str, Any], expected: str) -> None:
    text = sections(model_card(replace(NOTHING, explanations=proof)))["Explanation map"]
    assert expected in text
    assert ("`medscreen explain`" in text) == proof.get("shown", False)
    assert ("pointing game" in text) == bool(proof.get("localization"))


# names from the data


def named(name: str) -> CardFacts:
    """Facts in which everything that data or people name has this name."""
    groups = {name: group(0.5), "other": group(0.9)}
    return CardFacts(
        model=name,
        version=1,
        detector=name,
        dataset=name,
        made="2026-07-03",
        evaluation={"test": {"sensitivity": estimate(0.8), "auroc": estimate(0.8)}},
        analysis={
            "subgroups": {name: groups},
            "findings": groups,
            "classes": {
                "names": [name, "other"],
                "rows": {
                    name: {
                        "images": 9,
                        "patients": 9,
                        "auroc": estimate(0.8),
                        "sensitivity": estimate(0.7),
                        "ppv": estimate(0.7),
                    }
                },
                "confusion": [[5, 1], [2, 6]],
            },
        },
        explanations=PROOF | {"map": name, "unit": name, "shown": False, "reason": name},
        curation={"splits": {name: {"images": 3, "normal": 2, "abnormal": 1, "patients": 2}}},
        operating_point={"policy": name, "threshold": 1.0, "defer_from": 1.0, "defer_to": 1.0, "calibration": name},
        parameters={name: name},
        lineage={name: name},
        decision=name,
        is_simulated=False,
    )


# "other" stands in `named` beside the odd name
@given(ODD_NAMES.filter(lambda name: name != "other"))
@example("&lt;b&gt;&#124;")
@example("<img src=x onerror=alert(1)>")
@example("[x](javascript:alert(1)) ![x](http://elsewhere) `|` a\\|b\n\n## c\n| --- |")
def test_no_name_breaks_a_table_or_becomes_markup(name: str) -> None:
    plain, odd = model_card(named("plain")), model_card(named(name))
    expected = [[[cell.replace("plain", shown(name)) for cell in row] for row in table] for table in tables(plain)]
    assert tables(odd) == expected
    assert "<" not in odd  # MLflow's renderer lets HTML pass
    before, after = Tags(page(plain, "plain")), Tags(page(odd, name))
    undecided = int(shown(name) == "-")  # a decision that says nothing has no line
    assert len(after.tags) == len(before.tags) - undecided
    assert {tag for tag, _ in after.tags} == {tag for tag, _ in before.tags}


@given(ODD_NAMES)
def test_a_template_escapes_every_value_but_its_own_blocks(name: str) -> None:
    template = TEMPLATES.from_string("{% set line %}- **{{ name }}**{% endset %}{{ line }}")
    assert template.render(name=name) == f"- **{inert(name)}**"


def test_a_template_that_lacks_a_value_fails() -> None:
    with pytest.raises(UndefinedError, match="missing"):
        TEMPLATES.from_string("{{ missing }}").render()


@pytest.mark.parametrize("detector", ["cnn", "autoencoder"])
def test_every_paragraph_is_one_line(detector: str) -> None:
    for line, following in pairwise(model_card(reported(detector)).splitlines()):
        assert not line or not following or following.startswith(("|", "- "))


# the page


def test_the_page_needs_nothing_but_itself() -> None:
    shown = page(model_card(reported("cnn")), "phantom-detector 3")
    for tag, attributes in Tags(shown).tags:
        assert tag not in {"script", "link", "img", "iframe"}
        assert not {"src", "href"} & attributes.keys()
    assert not re.search(r"url\(|@import|https?://", shown)


def test_html_and_images_in_the_markdown_stay_inert() -> None:
    shown = page("<script>alert(1)</script>\n\n![x](http://elsewhere/x.png)\n", "<b>&title")
    tags = Tags(shown)
    assert {"script", "b", "img"}.isdisjoint(tag for tag, _ in tags.tags)
    assert "<b>&title" in tags.text
    assert "<script>alert(1)</script>" in tags.text


def test_the_page_says_what_the_card_says() -> None:
    markdown = model_card(reported("cnn"))
    text = Tags(page(markdown, "card")).text.replace("\u00a0", " ")
    for cell in (cell for table in tables(markdown) for row in table for cell in row):
        assert cell in text


# what the registry keeps


def test_a_short_card_is_the_description() -> None:
    markdown = model_card(NOTHING)
    assert version_description(markdown) == markdown


def test_the_description_of_a_reported_detector_reaches_its_failures() -> None:
    description = version_description(model_card(reported("cnn")))
    assert len(description) <= 5000
    assert "## Known failures" in description
    assert description.endswith("\n\nThe rest of the card is in card.md of the run.")


@given(st.integers(50, 9500))
def test_a_description_keeps_the_limit_and_whole_sections(limit: int) -> None:
    markdown = model_card(reported("cnn"))
    description = version_description(markdown, limit)
    assert len(description) <= limit
    kept = description.removesuffix("The rest of the card is in card.md of the run.")
    assert markdown.startswith(kept)
    rest = markdown.removeprefix(kept)
    assert kept == "" or not rest or rest.startswith("## ")
    if rest:  # the next section would not have fitted
        following = re.split(r"(?m)^(?=## )", rest.removeprefix("## "), maxsplit=1)[0]
        assert len(description) + len("## ") + len(following) > limit


def test_a_limit_without_room_for_a_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        version_description("x" * 100, 20)
