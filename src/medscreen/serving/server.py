"""Process of the service: socket, logging and signals."""

import ipaddress
import logging
import signal
import socket
import sys
import warnings
from pathlib import Path

import uvicorn

from medscreen.errors import MedscreenError
from medscreen.registry.dicom_answers import require_highdicom
from medscreen.runtime.child_processes import available_cpus
from medscreen.runtime.escaping import say, visible
from medscreen.serving.app import Service, create_app
from medscreen.serving.archive import Archive
from medscreen.serving.registry_watch import RegistryWatch
from medscreen.serving.uploads import Limits

_SHORTEST_KEY = 16
_MOST_CONNECTIONS = 500


def serve(
    name: str,
    stage: str,
    address: tuple[str, int],
    key_file: Path | None,
    limits: Limits = Limits(),  # noqa: B008
    dicom_web: str | None = None,
) -> None:
    """Serves the version in a stage at (host, port) until SIGINT or SIGTERM; completes requests in progress.

    `dicom_web`: DICOMweb address of the archive for DICOM answers. Raises MedscreenError if the stage is empty, the
    address can't be used, or other machines could reach it without a key.
    """
    key = read_key(key_file) if key_file else None
    if dicom_web is not None:
        require_highdicom()
    archive = None if dicom_web is None else Archive(dicom_web, limits.seconds)
    listener = listen(*address, has_key=key is not None)
    watch = RegistryWatch(name, stage)
    threads = available_cpus() + 1  # while one decodes, which holds the GIL, the others compute
    app = create_app(Service(watch, key, threads, limits, archive))
    watch.start()
    # messages of libraries may hold uploaded data; the service logs through `log` instead
    logging.disable()
    warnings.simplefilter("ignore")
    host, port = listener.getsockname()[:2]
    at = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    say(f"medscreen: serving {watch.title} at {at} (page), {at}/docs (routes); screening threads: {threads}")
    say("Research use only, never diagnosis.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again after its shutdown
    uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=int(limits.seconds),
        )
    ).run(sockets=[listener])


def read_key(path: Path) -> str:
    """Reads the API key from a file; raises MedscreenError for an unreadable file or an unsuitable key."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MedscreenError(
            f"{visible(path)}: not a readable ASCII file. Name another one for --api-key-file."
        ) from error
    if len(key) < _SHORTEST_KEY or len(key.split()) > 1:
        raise MedscreenError(
            f"{visible(path)}: not an API key of at least {_SHORTEST_KEY} characters without spaces. "
            "`openssl rand -hex 32` makes one."
        )
    return key


def listen(host: str, port: int, has_key: bool) -> socket.socket:
    """Opens a listening socket; raises MedscreenError if that fails or other machines could use it without a key."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if not has_key and not ipaddress.ip_address(address[0]).is_loopback:
            raise MedscreenError(
                f"{visible(host)}: reachable from other machines. Use --api-key-file, or serve at 127.0.0.1."
            )
        listener = socket.socket(family, kind, protocol)  # without `protocol`, asyncio does not set TCP_NODELAY
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_MOST_CONNECTIONS)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        raise MedscreenError(
            f"{visible(host)}:{port}: can't listen ({error}). Choose another --host or --port."
        ) from error
    return listener
