"""The one exception whose message is meant for the person at the terminal."""


class MedscreenError(Exception):
    """A mistake in the input: one sentence that names the file or key and the way out."""
