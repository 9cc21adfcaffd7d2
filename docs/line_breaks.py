"""MkDocs hook: allows line breaks in code in table cells after a dot, slash or underscore, for narrow screens."""

import re

CELL = re.compile(r"<td.*?</td>", re.DOTALL)
CODE = re.compile(r"<code>([^<]+)</code>")
BREAK = re.compile(r"(?<!<)([./_])(?=\w)")


def on_page_content(html: str, **_: object) -> str:
    """Adds break opportunities to a page's HTML; copied text stays the same. MkDocs calls it for every page."""
    return CELL.sub(lambda cell: CODE.sub(lambda code: BREAK.sub(r"\1<wbr>", code[0]), cell[0]), html)
