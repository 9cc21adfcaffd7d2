"""Conversion of Markdown to a self-contained HTML page."""

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

_BETWEEN_NUMBERS = re.compile(r"(\([-+.e\d]+) to ([-+.e\d]+\))")  # kept on one line


def page(markdown: str, title: str, pictures: Mapping[str, bytes] | None = None) -> str:
    """Converts Markdown to a self-contained HTML page for screens of any width, light or dark, and for print.

    `pictures`: name -> PNG file, for ``![description](name)`` in the Markdown. HTML in the Markdown is shown as text,
    other images become links. The id of a heading is its text in lower case with hyphens.
    """

    def image(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        source = str(tokens[at].attrGet("src"))
        # rendered text, as the source still holds the escapes of Markdown
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
    # with HTML off, all tags come from the renderer; wide tables scroll inside a div
    content = reader.render(markdown)
    content = content.replace("<table>", '<div class="table" tabindex="0"><table>')
    content = content.replace("</table>", "</table></div>")
    content = _BETWEEN_NUMBERS.sub(r"\1&nbsp;to&nbsp;\2", content)
    return TEMPLATES.get_template("pages/page.html.j2").render(title=title, content=content)
