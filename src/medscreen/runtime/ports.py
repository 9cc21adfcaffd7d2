"""Ports of this machine that a command wants to serve at."""

import socket

from medscreen.errors import MedscreenError


def require_free_port(port: int, command: str) -> None:
    """Raises MedscreenError, which says to give `command` another, where nobody can listen at 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MedscreenError(f"Port {port} is in use: {command} --port ANOTHER.") from error
