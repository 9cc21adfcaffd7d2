"""Pages that need nothing but themselves, written as Markdown."""

from medscreen.pages.page import page

__all__ = ["page"]
