"""The rule for labels: equal spellings, normal labels, and doubtful labels, which are refused.

Tables, class folders, columns, splits and patients also compare words by `plain`. docs/labels.md describes the rule.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

# Invisible characters outside category Cf: joiners, fillers, variation selectors.
_SHAPELESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,10}|,(?!\d{3}$)\d{0,10})?|[.,]\d{1,10})")
# 1,000 is 1 in some countries and 1000 in others; 2e3 is a number or a code.
_AMBIGUOUS_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:,\d{3})+(?:\.\d*)?|[\d.,]*\d[.,]?e[+-]?\d{1,3})")
_MISSING = {
    "blank", "empty", "inf", "infinity", "missing", "na", "nan", "nat", "nil", "nodata", "nolabel", "none",
    "notapplicable", "notavailable", "notlabeled", "notlabelled", "null", "pending", "tbd", "todo", "unclear",
    "uncertain", "undefined", "undetermined", "unk", "unkn", "unknown", "unlabeled", "unlabelled", "unspecified",
    "unsure", "void",
}  # fmt: skip
_EXCEL_ERROR = re.compile(r"#\S+[!?]|#n/a")
_NORMAL = {"normal", "normals", "healthy", "nofinding", "nofindings"}
_TRUTH = {
    **dict.fromkeys({"0", "false", "n", "no", "off", "absent", "neg", "negative", *_NORMAL}, False),
    **dict.fromkeys({"1", "true", "y", "yes", "on", "present", "pos", "positive"}, True),
}
_TRUTH_LETTERS = {"f": False, "t": True}  # only with these labels: F is also a class of heartbeats
_BESIDE_LETTERS = {"0", "1", "false", "true"}
# Letters of other alphabets that look like a Latin one.
_LOOKALIKES = str.maketrans(
    "аворсухкмнтеёіїјѕԁһԛԝӏɡıοαβεηικμνρτυχ",
    "abopcyxkmhteeiijsdhqwlgioabenikmvptux",
)
_LOOKALIKE_SIGNS = str.maketrans("01i|", "olll")
_COPY = re.compile(r"^copy of |\W+copy(?: ?\(?\d+\)?)?$| ?\(\d+\)$")  # how systems name a second folder
_NUMBER_BEHIND = re.compile(r"(?<=\D) ?\d+$")
# Signs change the meaning of a label. A hyphen between letters joins them; elsewhere it is a minus: HER2-, -ve.
_SIGN = re.compile("[+<>\N{LESS-THAN OR EQUAL TO}\N{GREATER-THAN OR EQUAL TO}]")
_SIGN_OR_MINUS = re.compile(rf"{_SIGN.pattern}|(?<![^\W_])-|-(?![^\W_])")
_ENUMERATED = re.compile(r"(.+?)(?:[a-hx-z]|[ivx]+)")  # class a, class b; stage i, stage ii
_WRONG_ENCODINGS = ("cp1252", "latin-1", "cp437", "cp850")
_SHORTEST_WORD = 5  # letters of a word in which one different letter is taken as a misspelling


def cleaned(text: str) -> str:
    """The text in NFC, without invisible characters and outer blanks, each inner run of blanks as one blank."""
    seen = (c for c in _SHAPELESS.sub("", text) if c.isspace() or unicodedata.category(c) not in {"Cf", "Cc"})
    return unicodedata.normalize("NFC", " ".join("".join(seen).split()))


def plain(text: str) -> str:
    """The common form of all spellings of a word: NFKC, case folded, no invisible characters, single inner blanks.

    `plain(plain(text)) == plain(text)`.
    """
    if text.isascii() and text.isprintable():  # nearly all cells: a fast path
        return " ".join(text.casefold().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    # case folding, and removing a joiner between a letter and its accent, can leave text that is not NFKC
    again = cleaned(unicodedata.normalize("NFKC", cleaned(folded)))
    return again if again == text else plain(again)


def label_key(word: str | int) -> str:
    """The common form of all spellings of a label: `plain`, and a number by its value (0, 00, 0.0, "0,0", -0)."""
    text = plain(str(word)).replace("\N{MINUS SIGN}", "-")
    if not _NUMBER.fullmatch(text):
        return text
    value = Decimal(text.replace(",", "."))
    return f"{value.normalize():f}" if value else "0"


class NormalLabels:
    """The labels that settings name as normal, and the check of all others against them."""

    def __init__(self, names: Iterable[str | int]) -> None:
        self.named: Mapping[str, str | int] = {label_key(name): name for name in names}

    def label(self, word: str | int) -> int:
        """0 for a label that is named normal, 1 for any other."""
        return int(label_key(word) not in self.named)

    def doubt(self, word: str | int) -> str | None:
        """Reason to take a label neither as normal nor as abnormal, as the end of a sentence; None without one."""
        key = label_key(word)
        return None if key in self.named else next(self._doubts(key), None)

    def _doubts(self, key: str) -> Iterator[str]:
        if _is_missing(key):
            yield "stands for a missing value"
        if "\N{REPLACEMENT CHARACTER}" in key:
            yield "contains a replacement character, by which its encoding is wrong"
        if _NUMBER.fullmatch(key) and not key.isdigit() and all(map(str.isdigit, self.named)):
            yield "is a fraction, while normal labels are whole numbers"
        for known, name in self.named.items():
            if _looks_like(key, known):
                yield f"differs from the normal label {name!r} only in a letter, sign or number"
            if _mean_the_same(key, known):
                yield f"means the same as the normal label {name!r}"
        if _AMBIGUOUS_NUMBER.fullmatch(key) and any(map(_NUMBER.fullmatch, self.named)):
            yield "is a number that can be read in two ways"
        if _squeezed(key) in _NORMAL:
            yield "is a word for normal, but not one of the normal labels"


def stands_for_missing(word: str) -> bool:
    """True for a word, sign or number that stands for a missing value (NA, ?, -99); not for an empty cell."""
    return bool(plain(word)) and _is_missing(label_key(word))


def is_word_of_a_class(word: str) -> bool:
    """True for a common name of a class folder, independent of the settings."""
    return _squeezed(plain(word)) in _NORMAL | {"abnormal"}


def _is_missing(key: str) -> bool:
    if _NUMBER.fullmatch(key) or _AMBIGUOUS_NUMBER.fullmatch(key):
        return key.startswith("-")  # -1, -9, -99: codes for missing values
    squeezed = _squeezed(key)
    return bool(_EXCEL_ERROR.fullmatch(key)) or squeezed in _MISSING or (not squeezed and "+" not in key)


def _mean_the_same(key: str, known: str) -> bool:
    truth = _TRUTH | _TRUTH_LETTERS if {key, known} & _BESIDE_LETTERS else _TRUTH
    one, other = (
        truth.get(text if _NUMBER.fullmatch(text) or _SIGN.search(text) else _squeezed(text)) for text in (key, known)
    )
    return one is not None and one == other


def _looks_like(key: str, known: str) -> bool:
    if _NUMBER.fullmatch(key) or _signs_differ(key, known):
        return False
    first = _COPY.sub("", key)
    forms = [key, first, *([_NUMBER_BEHIND.sub("", first)] if len(known) >= _SHORTEST_WORD else [])]
    shape = _shape(known)
    return (
        bool(shape and shape in map(_shape, forms))
        or _one_slip(*(re.findall(r"[^\W_]+", _latin(text)) for text in (key, known)))
        or any(
            plain(key.encode(encoding, "replace").decode("utf-8", "replace")) == known for encoding in _WRONG_ENCODINGS
        )
    )


def _signs_differ(key: str, known: str) -> bool:
    """True if a sign distinguishes two labels (HER2+ and HER2-, 0 and >0); one after a word (normal+) is an error."""
    one, other = ("".join(_SIGN_OR_MINUS.findall(text)) for text in (key, known))
    short = len(_squeezed(known)) < _SHORTEST_WORD
    return one != other and bool((one and other) or (short and _SIGN.search(one + other)))


def _squeezed(key: str) -> str:
    """The letters of a key, with their marks, and its digits."""
    return "".join(c for c in key if c.isalnum() or unicodedata.category(c).startswith("M"))


def _latin(key: str) -> str:
    """A key without accents, and with Latin letters for lookalikes of other alphabets."""
    letters = (c for c in unicodedata.normalize("NFD", key) if not unicodedata.category(c).startswith("M"))
    return "".join(letters).translate(_LOOKALIKES)


def _shape(key: str) -> str:
    """Letters and digits of a key, with one character for all its lookalikes."""
    return _latin(_squeezed(key)).translate(_LOOKALIKE_SIGNS)


def _one_slip(words: list[str], known: list[str]) -> bool:
    """True if one word is misspelled: it is not short, and a letter is missing, added, replaced or displaced.

    Other digits are not misspellings (grade 1, grade 2), nor are last letters that enumerate (class a, class b) or a
    prefix that negates (anormal, asymptomatic).
    """
    pairs = [pair for pair in zip(words, known, strict=False) if pair[0] != pair[1]]
    if len(words) != len(known) or len(pairs) != 1:
        return False
    word, other = pairs[0]
    digits, others_digits = (re.sub(r"\D", "", text) for text in pairs[0])
    one, two = _ENUMERATED.fullmatch(word), _ENUMERATED.fullmatch(other)
    # negative and negativa are one word
    enumerated = one and two and one[1] == two[1] and {word[-1], other[-1]} != {"a", "e"}
    if (
        len(other) < _SHORTEST_WORD
        or digits != others_digits
        or enumerated
        or f"a{word}" == other
        or word == f"a{other}"
    ):
        return False
    return not _with_one_letter_less(word).isdisjoint(_with_one_letter_less(other))


def _with_one_letter_less(word: str) -> set[str]:
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}
