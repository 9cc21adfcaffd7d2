"""Markdown as a page that needs nothing but itself."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

_PAGE = """<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{content}</main>
</body>
</html>
"""
_BETWEEN_NUMBERS = re.compile(r"(\([-+.e\d]+) to ([-+.e\d]+\))")  # an interval is never broken over two lines
_STYLE = """
:root { --ink: #1c2126; --soft: #59636e; --paper: #ffffff; --rule: #d3d9df; --band: #f3f5f7; --warn: #8a1f2b }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #9aa5b0; --paper: #14181c; --rule: #39424b; --band: #1d2329; --warn: #ff9aa2 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--rule) }
p, li { max-width: 46rem }
ul { padding-left: 1.2rem }
li { margin: .3rem 0 }
img { display: block; max-width: 100%; height: auto }
strong { color: var(--warn) }
.table { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: break-word }
th, td { max-width: 24rem; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--rule) }
th, td { vertical-align: top; text-align: left }
th { color: var(--soft); font-weight: 600; white-space: nowrap }
@media print {
  :root { --ink: #000000; --soft: #333333; --paper: #ffffff; --rule: #999999; --warn: #000000 }
  body { font-size: 9.5pt }
  main { max-width: none; padding: 0 }
  .table { overflow: visible }
  table { font-size: 7.5pt; overflow-wrap: anywhere }
  th { white-space: normal }
  th, td { padding: .2rem .5rem .2rem 0 }
  h2, tr { break-after: avoid; break-inside: avoid }
}
"""


def page(markdown: str, title: str, pictures: Mapping[str, bytes] | None = None) -> str:
    """Markdown as one HTML file for screens of any width, light or dark, and for paper; it loads nothing.

    `pictures`: PNG files by the name under which the Markdown shows them, ``![what it shows](name)``. HTML within the
    Markdown is shown as text, any other image as a link.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    if pictures:
        reader.add_render_rule("image", _showing(pictures))
    else:
        reader.disable("image")  # it would be loaded from elsewhere
    # HTML being off, a tag in the result is the renderer's own; a wide table scrolls, the page does not
    content = reader.render(markdown)
    content = content.replace("<table>", '<div class="table" tabindex="0"><table>').replace(
        "</table>", "</table></div>"
    )
    return _PAGE.format(title=escape(title), style=_STYLE, content=_BETWEEN_NUMBERS.sub(r"\1&nbsp;to&nbsp;\2", content))


def _showing(pictures: Mapping[str, bytes]) -> Callable[..., str]:
    def image(_: RendererHTML, tokens: Sequence[Token], at: int, *__: object) -> str:
        source, shows = str(tokens[at].attrGet("src")), escape(tokens[at].content)
        if source not in pictures:
            return f'<a href="{escape(source)}">{shows}</a>'
        return f'<img alt="{shows}" src="data:image/png;base64,{b64encode(pictures[source]).decode()}">'

    return image
