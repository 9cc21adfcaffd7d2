"""Downloads of files, which are complete or fail."""

import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import file_md5

READ_TIMEOUT_S = 30.0
# Time limit of a download: this time, plus its size at the minimum rate.
GRACE_S = 60.0
SLOWEST_BYTES_PER_S = 50_000
_BLOCK = 1 << 16


def download(url: str, target: Path, md5: str | None) -> None:
    """Downloads `url` to `target`, which keeps its former content until the download is complete.

    Raises OSError if the server does not respond, is too slow, sends fewer bytes than it announced, or a file with
    another MD5; ValueError if it announces no size.
    """
    begun = time.monotonic()
    try:
        response = urlopen(url, timeout=READ_TIMEOUT_S)  # noqa: S310  # from a fixed table
    except HTTPError as error:
        error.close()  # the error holds the response with its socket
        raise
    with replaced(target) as partial, response:
        size = int(response.headers["Content-Length"] or "")
        with partial.open("wb") as file:
            while block := response.read1(_BLOCK):  # received bytes: read would wait until the block is full
                file.write(block)
                if time.monotonic() - begun > GRACE_S + size / SLOWEST_BYTES_PER_S:
                    raise TimeoutError(f"only {file.tell()} of {size} bytes were received in time")
        if partial.stat().st_size != size:
            raise OSError(f"{partial.stat().st_size} of {size} bytes were received")
        if md5 is not None and file_md5(partial) != md5:
            raise OSError("the download has another MD5 than the published file")
