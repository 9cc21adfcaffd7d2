"""Which labels mean normal, and which words can't be taken for a label at all."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from medscreen.data.sources.spelling import plain

_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,10}|,(?!\d{3}$)\d{0,10})?|[.,]\d{1,10})")
# 1,000 is 1 in some countries and 1000 in others; 2e3 is a number or a code.
_NO_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:,\d{3})+(?:\.\d*)?|[\d.,]*\d[.,]?e[+-]?\d{1,3})")
_WITHOUT_LABEL = {
    "blank", "empty", "inf", "infinity", "missing", "na", "nan", "nat", "nil", "nodata", "nolabel", "none",
    "notapplicable", "notavailable", "notlabeled", "notlabelled", "null", "pending", "tbd", "todo", "unclear",
    "uncertain", "undefined", "undetermined", "unk", "unkn", "unknown", "unlabeled", "unlabelled", "unspecified",
    "unsure", "void",
}  # fmt: skip
_EXCEL_ERROR = re.compile(r"#\S+[!?]|#n/a")
_NORMAL_WORDS = {"normal", "normals", "healthy", "nofinding", "nofindings"}
_TRUTH = {
    **dict.fromkeys(("0", "false", "n", "no", "off", "absent", "neg", "negative"), False),
    **dict.fromkeys(("1", "true", "y", "yes", "on", "present", "pos", "positive"), True),
}
_TRUTH_LETTERS = {"f": False, "t": True}  # where numbers or such words are the labels: F is a class of heart beats, too
_TRUTH_BESIDE_LETTERS = {"0", "1", "false", "true"}
# Letters of other alphabets that look like a Latin one.
_LOOKALIKES = str.maketrans(
    "аворсухкмнтеёіїјѕԁһԛԝӏɡıοαβεηικμνρτυχ",
    "abopcyxkmhteeiijsdhqwlgioabenikmvptux",
)
_LOOKALIKE_SIGNS = str.maketrans("01i|", "olll")
_COPY = re.compile(r"(?:copy of )?(.*?\D)(?: copy(?: ?\d+)?)?")
_BRACKETED = re.compile(r"(.*\S) ?\(\d+\)")  # as systems call a second folder of a name
_NUMBERED = re.compile(r"(?:copy of )?(.*?\D)(?: copy)? ?\d+")
_SIGNS = "+<>\N{LESS-THAN OR EQUAL TO}\N{GREATER-THAN OR EQUAL TO}"  # they make another label of a word or number
# A hyphen between letters joins them; before or after all letters it is a minus: HER2-, COVID-, -ve.
_MINUS = re.compile(r"(?<![^\W_])-|-(?![^\W_])")
_ENUMERATED = re.compile(r"(.+?)(?:[a-hx-z]|[ivx]+)")  # class a, class b; stage i, stage ii
_WRONG_ENCODINGS = ("cp1252", "latin-1", "cp437", "cp850")
_SHORTEST_WORD = 5  # letters from which on one that differs is a slip rather than another word


def label_key(word: str | int) -> str:
    """What all spellings of a label have in common: `plain`, and a number by its value (0, 00, 0.0, "0,0", -0)."""
    text = plain(str(word))
    number = text.replace("\N{MINUS SIGN}", "-")
    if not _NUMBER.fullmatch(number):
        return text
    value = Decimal(number.replace(",", "."))
    return f"{value.normalize():f}" if value else "0"


class NormalLabels:
    """The labels that settings call normal, and the test of all others against them."""

    def __init__(self, names: Iterable[str | int]) -> None:
        self.named: Mapping[str, str | int] = {label_key(name): name for name in names}

    def label(self, word: str | int) -> int:
        """0 for a label that is named normal, 1 for any other."""
        return int(label_key(word) not in self.named)

    def doubt(self, word: str | int) -> str | None:
        """Why a label that is not named normal can't be called abnormal, as the end of a sentence; None if it can."""
        key = label_key(word)
        return None if key in self.named else next(self._doubts(key), None)

    def _doubts(self, key: str) -> Iterator[str]:
        if _is_missing(key):
            yield "stands for a missing value"
        if "\N{REPLACEMENT CHARACTER}" in key:
            yield "holds the sign for a letter that was lost in another encoding"
        if _is_number(key) and not key.isdigit() and all(map(str.isdigit, self.named)):
            yield "is a fraction where normal labels are whole numbers"
        for known, name in self.named.items():
            if _looks_like(key, known):
                yield f"differs from the normal label {name!r} in a letter, sign or number alone"
            if _mean_the_same(key, known):
                yield f"means the same as the normal label {name!r}"
        if _NO_PLAIN_NUMBER.fullmatch(key) and any(map(_is_number, self.named)):
            yield "is a number that can be read in two ways"
        if _squeezed(key) in _NORMAL_WORDS:
            yield "is a word for normal that is not named as one"


def stands_for_missing(word: str) -> bool:
    """Whether a cell is a word, sign or number for a value that is not there (NA, ?, -99); an empty one is not."""
    return bool(plain(word)) and _is_missing(label_key(word))


def is_word_of_a_class(word: str) -> bool:
    """Whether folders of classes are called that way everywhere, whatever the settings name."""
    return _squeezed(plain(word)) in _NORMAL_WORDS | {"abnormal"}


def _is_missing(key: str) -> bool:
    if _is_number(key) or _NO_PLAIN_NUMBER.fullmatch(key):
        return key.startswith("-")  # -1, -9, -99: codes for what is not known
    if _EXCEL_ERROR.fullmatch(key):
        return True
    squeezed = _squeezed(key)
    return squeezed in _WITHOUT_LABEL or (not squeezed and "+" not in key)


def _mean_the_same(key: str, known: str) -> bool:
    one, other = _truth(key), _truth(known)
    if {key, known} & _TRUTH_BESIDE_LETTERS:
        one, other = (_TRUTH_LETTERS.get(_squeezed(text), truth) for text, truth in ((key, one), (known, other)))
    return one is not None and one == other


def _is_number(key: str) -> bool:
    return _NUMBER.fullmatch(key) is not None


def _truth(key: str) -> bool | None:
    squeezed = key if _is_number(key) or set(key) & set(_SIGNS) else _squeezed(key)
    return False if squeezed in _NORMAL_WORDS else _TRUTH.get(squeezed)


def _looks_like(key: str, known: str) -> bool:
    if _is_number(key) or _signs_differ(key, known):
        return False
    one, other = (_skeleton(_squeezed(text)).translate(_LOOKALIKE_SIGNS) for text in (key, known))
    if one and one == other:
        return True
    word, other = _worded(key), _worded(known)
    copied, numbered, bracketed = _COPY.fullmatch(word), _NUMBERED.fullmatch(word), _BRACKETED.fullmatch(key)
    return (
        _one_slip(_skeleton(word), _skeleton(other))
        or (copied is not None and copied[1] == other)
        or (bracketed is not None and bracketed[1] == known)
        or (numbered is not None and numbered[1] == other and len(other) >= _SHORTEST_WORD)
        or any(_recoded(key, encoding) == known for encoding in _WRONG_ENCODINGS)
    )


def _signs_differ(key: str, known: str) -> bool:
    """Whether a sign sets two labels apart (HER2+ and HER2-, 0 and >0); one behind a word (normal+) is a slip."""
    one, other = _signs(key), _signs(known)
    short = len(_squeezed(known)) < _SHORTEST_WORD
    return one != other and bool((one and other) or (short and set(one + other) & set(_SIGNS)))


def _signs(key: str) -> str:
    return "".join(c for c in _MINUS.sub("\N{MINUS SIGN}", key) if c in _SIGNS + "\N{MINUS SIGN}")


def _squeezed(key: str) -> str:
    """Letters and digits alone."""
    return "".join(c for c in key if c.isalnum() or unicodedata.category(c).startswith("M"))


def _worded(key: str) -> str:
    """Letters and digits, with one blank for whatever else is between them."""
    return " ".join("".join(c if _squeezed(c) else " " for c in key).split())


def _skeleton(key: str) -> str:
    """Without accents, and with one letter for all that look like it."""
    letters = "".join(c for c in unicodedata.normalize("NFD", key) if not unicodedata.category(c).startswith("M"))
    return letters.translate(_LOOKALIKES)


def _one_slip(word: str, known: str) -> bool:
    """Whether one letter is missing, added, another or two are swapped, in a word of some length.

    Digits are no slip (grade 1, grade 2), nor are last letters that count (class a, class b) or the prefix that negates
    (anormal, asymptomatic).
    """
    words = [pair for pair in zip(word.split(), known.split(), strict=False) if pair[0] != pair[1]]
    if len(words) == 1 and _are_another(*words[0]):
        return False
    start = 0
    while start < min(len(word), len(known)) and word[start] == known[start]:
        start += 1
    one, other = word[start:], known[start:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    within = known[:start].rpartition(" ")[2] + known[start:].partition(" ")[0]
    swapped = len(one) == 2 and one == other[::-1]
    return (
        len(within) >= _SHORTEST_WORD and (swapped or (len(one) <= 1 and len(other) <= 1)) and (one + other).isalpha()
    )


def _are_another(word: str, known: str) -> bool:
    """Whether two words that differ little are two labels all the same."""
    one, other = _ENUMERATED.fullmatch(word), _ENUMERATED.fullmatch(known)
    enumerated = one is not None and other is not None and one[1] == other[1]
    enumerated &= {word[-1], known[-1]} != {"a", "e"}  # negative, negativa
    return enumerated or word == f"a{known}" or known == f"a{word}"


def _recoded(key: str, encoding: str) -> str:
    """UTF-8 that was read in another encoding, put right."""
    try:
        return plain(key.encode(encoding).decode("utf-8"))
    except UnicodeError:
        return key
