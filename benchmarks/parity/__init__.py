"""The recipes of five public notebooks, as written and as corrected here."""
