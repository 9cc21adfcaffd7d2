"""Pages that need nothing but themselves, written as Markdown."""
