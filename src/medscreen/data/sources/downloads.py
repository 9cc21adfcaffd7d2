"""A file from the network, whole or not at all."""

import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import file_md5

READ_TIMEOUT_S = 30.0
# The whole may take this long, and what its size takes at the slowest rate that is worth waiting for.
GRACE_S = 60.0
SLOWEST_BYTES_PER_S = 50_000
_BLOCK = 1 << 16


def download(url: str, target: Path, md5: str | None) -> None:
    """Puts what `url` gives to `target`, which keeps its former content until all is there.

    Raises OSError when the server is silent or too slow, sends less than it announced, or not the content with that
    MD5; ValueError when it announces no size.
    """
    begun = time.monotonic()
    try:
        response = urlopen(url, timeout=READ_TIMEOUT_S)  # noqa: S310  # of a table of ours
    except HTTPError as error:
        error.close()  # it is the server's answer, too, and would keep its socket
        raise
    with replaced(target) as partial, response:
        size = int(response.headers["Content-Length"] or "")
        with partial.open("wb") as file:
            while block := response.read1(_BLOCK):  # what has arrived: a read of a whole block would wait for a drip
                file.write(block)
                if time.monotonic() - begun > GRACE_S + size / SLOWEST_BYTES_PER_S:
                    raise TimeoutError(f"only {file.tell()} of {size} bytes came in time")
        if partial.stat().st_size != size:
            raise OSError(f"{partial.stat().st_size} of {size} bytes came")
        if md5 is not None and file_md5(partial) != md5:
            raise OSError("what came has another MD5 than the published file")
