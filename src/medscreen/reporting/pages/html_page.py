"""Markdown as an HTML page that needs nothing but itself."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from medscreen.reporting.pages.markdown import TEMPLATES

_BETWEEN_NUMBERS = re.compile(r"(\([-+.e\d]+) to ([-+.e\d]+\))")  # an interval is never broken over two lines


def page(markdown: str, title: str, pictures: Mapping[str, bytes] | None = None) -> str:
    """Markdown as one HTML file for screens of any width, light or dark, and for paper; it loads nothing.

    `pictures`: PNG files by the name under which the Markdown shows them, ``![what it shows](name)``. HTML within the
    Markdown is shown as text, any other image as a link. The id of a heading is its text with hyphens for spaces.
    """

    def image(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        source = str(tokens[at].attrGet("src"))
        # what the parts of the text stand for: its source has the escapes of Markdown
        text = escape(renderer.renderInlineAsText(tokens[at].children, options, env))
        if pictures is None or source not in pictures:
            return f'<a href="{escape(source)}">{text}</a>'
        return f'<img alt="{text}" src="data:image/png;base64,{b64encode(pictures[source]).decode()}">'

    def heading(renderer: RendererHTML, tokens: Sequence[Token], at: int, *state: Any) -> str:
        text = renderer.renderInlineAsText(tokens[at + 1].children, *state)
        tokens[at].attrSet("id", re.sub(r"\W+", "-", text).lower())
        return renderer.renderToken(tokens, at, *state)

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("image", image)
    reader.add_render_rule("heading_open", heading)
    # HTML being off, a tag in the result is the renderer's own; a wide table scrolls, the page does not
    content = reader.render(markdown)
    content = content.replace("<table>", '<div class="table" tabindex="0"><table>')
    content = content.replace("</table>", "</table></div>")
    content = _BETWEEN_NUMBERS.sub(r"\1&nbsp;to&nbsp;\2", content)
    return TEMPLATES.get_template("pages/page.html.j2").render(title=title, content=content)
