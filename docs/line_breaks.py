"""MkDocs hook: code in table cells may break behind a dot, a slash or an underscore, for narrow screens."""

import re

CELL = re.compile(r"<td.*?</td>", re.DOTALL)
CODE = re.compile(r"<code>([^<]+)</code>")
BREAK = re.compile(r"(?<!<)([./_])(?=\w)")


def on_page_content(html: str, **_: object) -> str:
    """MkDocs calls this with every page's HTML; copied text stays the same."""
    return CELL.sub(lambda cell: CODE.sub(lambda code: BREAK.sub(r"\1<wbr>", code[0]), cell[0]), html)
