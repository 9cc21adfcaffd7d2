"""The card cut to what the registry keeps."""

import re

_REST = "The rest of the card is in card.md of the run."


def version_description(markdown: str, limit: int = 5000) -> str:
    """As many whole sections of a card as fit `limit` characters, the first ones first; then where the rest is.

    5000 is what MLflow keeps of a description on PostgreSQL. Where not even the first section fits, only where the
    card is; raises ValueError where `limit` has no room for that.
    """
    if len(markdown) <= limit:
        return markdown
    if limit < len(_REST):
        raise ValueError(f"a limit of {limit} characters leaves no room to say where the card is")
    kept = ""
    for part in re.split(r"^(?=## )", markdown, flags=re.MULTILINE):
        if len(kept) + len(part) + len(_REST) > limit:
            break
        kept += part
    return kept + _REST
