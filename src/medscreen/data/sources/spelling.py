"""When two spellings are one word: for labels, class folders, columns, splits and patients alike."""

import re
import unicodedata
from collections.abc import Collection

# Characters without a shape of their own that are not of category Cf: joiners, fillers, variation selectors.
_SHAPELESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_INVISIBLE_CATEGORIES = {"Cf", "Cc"}
_MOST_LINES = 5


def cleaned(text: str) -> str:
    """The text in NFC, without invisible characters and outer blanks, each inner run of blanks as one blank."""
    shaped = "".join(
        c for c in _SHAPELESS.sub("", text) if c.isspace() or unicodedata.category(c) not in _INVISIBLE_CATEGORIES
    )
    return unicodedata.normalize("NFC", " ".join(shaped.split()))


def plain(text: str) -> str:
    """What all spellings of a word have in common: NFKC, case folded, no invisible characters, single inner blanks.

    `plain(plain(text)) == plain(text)`.
    """
    if text.isascii() and text.isprintable():  # nearly all, and tables have many cells
        return " ".join(text.casefold().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    # folding and the loss of a joiner between a letter and its accent can both leave text that is not NFKC
    again = cleaned(unicodedata.normalize("NFKC", cleaned(folded)))
    return again if again == text else plain(again)


def in_lines(numbers: Collection[int]) -> str:
    """`line 4`, `lines 4, 5 and 9`; of many the first few and how many more there are."""
    first = [str(number) for number in sorted(numbers)[:_MOST_LINES]]
    if len(numbers) > _MOST_LINES:
        return f"lines {', '.join(first)} and {len(numbers) - _MOST_LINES} more"
    if len(first) == 1:
        return f"line {first[0]}"
    return f"lines {', '.join(first[:-1])} and {first[-1]}"
