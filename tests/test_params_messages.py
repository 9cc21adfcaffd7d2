"""What is said of a wrong params.yaml: one sentence with the key, and no word of the library that validates it."""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from factories import PARAMS_YAML, one_sentence
from medscreen.config.params import Params, load_params
from medscreen.config.validation_errors import first_problem
from medscreen.errors import MedscreenError

CONTENT = yaml.safe_load(PARAMS_YAML.read_text())
RSNA = "rsna-2023-abdominal-trauma"
WRONG = [None, True, -1, 0, 2.5, float("nan"), 10**30, "x", "", [], [[]], {}, {"a": 1}, {1: 2}, -0.5]
PYDANTICS = re.compile(
    "nput should|ield required|nput tag|Unable to|[Vv]alue error|extra inputs|Extra inputs|not permitted|valid "
    "(string|integer|list|dictionary|number|boolean)|literal|pydantic|of another type|Block|Params"
)


def places(content: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every key of the content, inner ones too, and every position of a list."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield (*place, key)
        yield from places(value, (*place, key))


def block_at(content: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        content = content[key]
    return content


def message_of(content: Any) -> str | None:
    try:
        Params.model_validate(content)
    except ValidationError as error:
        return first_problem(error, content, Params)
    return None


def assert_is_plain(message: str | None) -> None:
    if message is not None:
        assert not PYDANTICS.search(message), message
        assert message.endswith(".")
        assert "\n" not in message


@settings(deadline=None, max_examples=400)
@given(place=st.sampled_from(list(places(CONTENT))), value=st.sampled_from(WRONG))
def test_no_wrong_value_is_told_in_pydantics_words(place: tuple[str | int, ...], value: Any) -> None:
    content = copy.deepcopy(CONTENT)
    block_at(content, place[:-1])[place[-1]] = copy.deepcopy(value)
    assert_is_plain(message_of(content))


@settings(deadline=None, max_examples=100)
@given(place=st.sampled_from([place for place in places(CONTENT) if isinstance(place[-1], str)]), data=st.data())
def test_a_misspelled_key_is_named(place: tuple[str | int, ...], data: st.DataObject) -> None:
    content = copy.deepcopy(CONTENT)
    block, key = block_at(content, place[:-1]), str(place[-1])
    at = data.draw(st.integers(0, len(key) - 1))
    spelled = key[:at] + key[at + 1 :]
    if spelled in block:
        return
    block[spelled] = block.pop(key)
    message = message_of(content)
    assert_is_plain(message)
    if message is not None and "is missing" in message and len(key) > 3:
        assert key in message
        assert spelled in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda c: c["curation"].update(val_fracton=c["curation"].pop("val_fraction")),
            "curation.val_fracton is not a known key, and val_fraction is missing. Correct its spelling.",
        ),
        (
            lambda c: c["datasets"][RSNA]["display"].update(window="softtissue"),
            f"datasets.{RSNA}.display.window = 'softtissue' is not valid: it has to be 'file', 'soft_tissue', 'lung', "
            "'bone', 'brain' or 'percentiles' or a block of keys (nearest: 'soft_tissue').",
        ),
        (
            lambda c: c["datasets"][RSNA]["display"].update(window={"center": 4}),
            f"datasets.{RSNA}.display.window.width is missing; every key of the file is needed.",
        ),
        (
            lambda c: c["datasets"][RSNA]["display"].update(window={"center": 4, "width": 0}),
            f"datasets.{RSNA}.display.window.width = 0 is not valid: it has to be 1 or more.",
        ),
        (
            lambda c: c["datasets"]["phantom"].update(kind="Dicom"),
            "datasets.phantom.kind is 'Dicom'; it has to be 'phantom', 'medmnist', 'folders', 'dicom' "
            "(nearest: 'dicom').",
        ),
        (
            lambda c: c["datasets"]["phantom"].update(knd=c["datasets"]["phantom"].pop("kind")),
            "datasets.phantom.kind is missing (knd is not a known key); it has to be 'phantom', 'medmnist', 'folders', "
            "'dicom'.",
        ),
        (
            lambda c: c["datasets"][RSNA]["attributes"].update(gender="sex"),
            f"datasets.{RSNA}.attributes.gender = 'gender' is not valid: it has to be "
            "'sex', 'age', 'site' or 'scanner'.",
        ),
        (lambda c: c.update({3: 4}), "3 is not a known key: keys are text. Correct it."),
        (lambda c: c["studies"].update(cnn=None), "studies.cnn = None is not valid: it has to be a block of keys."),
    ],
)
def test_the_sentence(change: Callable[[dict[str, Any]], Any], says: str) -> None:
    content = copy.deepcopy(CONTENT)
    change(content)
    assert message_of(content) == says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 1\nseed: 2\n", "params.yaml, line 2: invalid YAML (duplicate key 'seed' in one block)"),
        ("a: {b: 1,\n  'b': 2}\n", "params.yaml, line 2: invalid YAML (duplicate key 'b' in one block)"),
        ("seed: [1\nb: 2\n", "params.yaml, line 2: invalid YAML"),
        ("seed: 1\n\tb: 2\n", "params.yaml, line 2: invalid YAML"),
        ("seed: *x\n", "params.yaml, line 1: invalid YAML (found undefined alias 'x')"),
        ("seed: !!python/object:os.system x\n", "params.yaml, line 1: invalid YAML"),
        ("--- 1\n--- 2\n", "params.yaml, line 2: invalid YAML"),
        ("? [a]\n: 1\n", "params.yaml, line 1: invalid YAML"),
        ("root: 2020-13-45\n", "params.yaml: invalid YAML"),
        (f"seed: {'9' * 5000}\n", "params.yaml: invalid YAML"),
        ("seed: " + "[" * 5000, "params.yaml: invalid YAML"),
        ("seed: \x01\n", "params.yaml: invalid YAML (character 7 is not allowed)"),
        ("seeds: &a [*a]\n", "params.yaml: seed is missing"),
    ],
)
def test_a_text_that_is_no_yaml_is_a_sentence_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(MedscreenError) as error:
        load_params(tmp_path / "params.yaml")
    assert one_sentence(error).startswith(says)


def test_a_block_that_is_merged_into_another_may_give_way_there(tmp_path: Path) -> None:
    text = PARAMS_YAML.read_text()
    assert "  gradient:" in text
    merged = text.replace(
        "  gradient:",
        "  first: &first\n    kind: statistic\n    variant: entropy\n  second: &second\n    <<: *first\n"
        "    variant: energy\n  third:\n    <<: *second\n    variant: intensity\n  gradient:",
        1,
    )
    (tmp_path / "params.yaml").write_text(merged)
    assert load_params(tmp_path / "params.yaml").detector("third").variant == "intensity"


@pytest.mark.parametrize(
    ("block", "former", "key"),
    [
        (("detectors", "cnn", "training"), "average", "ema_decay"),
        (("detectors", "cnn", "training"), "optimiser", "optimizer"),
        (("detectors", "cnn", "recipe"), "views", "tta"),
        (("detectors", "autoencoder"), "top", "top_fraction"),
        (("detectors", "autoencoder", "layers"), "paint", "output_kernel"),
        (("operating",), "refer", "deferral"),
        (("curation",), "near_copies", "near_duplicates"),
        (("evaluation",), "bench", "threshold_comparison"),
    ],
)
def test_a_former_key_is_named_with_the_one_that_took_its_place(block: tuple[str, ...], former: str, key: str) -> None:
    content = copy.deepcopy(CONTENT)
    place = block_at(content, block)
    place[former] = place.pop(key)
    with pytest.raises(ValidationError) as error:
        Params.model_validate(content)
    assert f"{former} is now named {key}" in first_problem(error.value, content, Params)


@pytest.mark.parametrize(
    ("study", "key", "dimension", "sentence"),
    [
        ("cnn", "training.optimiser", {"choices": ["adam", "sgd"]}, "is now named 'training.optimizer'"),
        ("cnn", "recipe.balance", {"choices": ["none", "triple"]}, "'triple' is now named 'oversample_augmented'"),
    ],
)
def test_a_former_name_in_a_space_is_named_with_the_present_one(
    study: str, key: str, dimension: dict[str, Any], sentence: str
) -> None:
    content = copy.deepcopy(CONTENT)
    next(iter(content["studies"][study]["searched"].values()))["space"] = {key: dimension}
    with pytest.raises(ValidationError) as error:
        Params.model_validate(content)
    assert sentence in first_problem(error.value, content, Params)
