"""The exception whose message is written for the user."""


class MedscreenError(Exception):
    """A mistake in the input; the message names the file or key, and what to do."""
