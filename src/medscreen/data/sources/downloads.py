"""A file from the network, whole or not at all."""

import time
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from medscreen.workspace.atomic_outputs import replaced

READ_TIMEOUT_S = 30.0
# The whole may take this long, and what its size takes at the slowest rate that is worth waiting for.
GRACE_S = 60.0
SLOWEST_BYTES_PER_S = 50_000
_SIZE_UNKNOWN = 1 << 30
_BLOCK = 1 << 16


def _opened(url: str) -> HTTPResponse:
    try:
        response: HTTPResponse = urlopen(url, timeout=READ_TIMEOUT_S)  # noqa: S310  # of a table of ours
    except HTTPError as error:
        error.close()  # it is the server's answer, too, and would keep its socket
        raise
    return response


def download(url: str, target: Path) -> None:
    """Puts what `url` gives to `target`, which keeps its former content until all is there.

    Raises OSError when the server is silent or too slow, and when it sends less or more than it promised.
    """
    begun = time.monotonic()
    with replaced(target) as partial, _opened(url) as response:
        promised = response.headers.get("Content-Length")
        size = int(promised) if promised else _SIZE_UNKNOWN
        patience = GRACE_S + size / SLOWEST_BYTES_PER_S
        received = 0
        with partial.open("wb") as file:
            while block := response.read1(_BLOCK):  # what has arrived: a read of a whole block would wait for a drip
                received += file.write(block)
                if time.monotonic() - begun > patience:
                    raise TimeoutError(f"only {received} bytes came in {patience:.0f} s")
                if received > size:
                    raise OSError(f"more than {size} bytes came")
        if promised and received != size:
            raise OSError(f"{received} of {size} bytes came")
