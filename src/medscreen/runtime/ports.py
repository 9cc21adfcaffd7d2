"""Check of local ports for commands that start a server."""

import socket

from medscreen.errors import MedscreenError


def require_free_port(port: int, command: str) -> None:
    """Raises MedscreenError if 127.0.0.1:`port` is in use; its message suggests another port for `command`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MedscreenError(f"Port {port} is in use. Choose another one: {command} --port ANOTHER.") from error
