"""Reading of uploads within limits, and problem documents for violations."""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from medscreen.serving.answers import Problem


@dataclass(frozen=True)
class Limits:
    """Limits of the service; the decoders limit pixels, frames and fragments of an image.

    `body`: bytes per request. `files`: files per request. `seconds`: for its arrival, and again for its screening.
    `requests`: arriving or screened at the same time, so that uploads take at most `requests` x `body` of memory.
    """

    body: int = 128 * 2**20
    files: int = 1000
    seconds: float = 60
    requests: int = 16


class ProblemError(Exception):
    """Error that ends a request with a problem document; `detail`: one sentence without values of the request."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def is_loopback(host: str) -> bool:
    """True if a Host header names this machine's loopback interface."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def problem_response(error: ProblemError) -> JSONResponse:
    """The problem document (RFC 9457) of an error."""
    problem = Problem(title=error.status.phrase, status=error.status, detail=error.detail)
    return JSONResponse(problem.model_dump(), error.status, error.headers, "application/problem+json")


async def read_uploads(request: Request, limits: Limits) -> list[bytes]:
    """Reads the parts named `files` of a multipart request; raises ProblemError for other or malformed requests."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the files as multipart/form-data, in parts named files."
        )
    parser = _WholeBodyParser(request.headers, bounded(request, limits.body), max_files=limits.files, max_fields=0)
    parser.spool_max_size = limits.body + 1  # beyond it, uploads would be written to disk
    malformed = (
        f"The body is not a complete multipart/form-data with 1 to {limits.files} files; each part needs the name "
        "files and a filename."
    )
    async with arriving(limits, malformed):
        form = await parser.parse()
    try:
        files = [file for name, file in form.multi_items() if name == "files" and isinstance(file, UploadFile)]
        if not files or len(files) < len(form.multi_items()):
            raise ProblemError(HTTPStatus.BAD_REQUEST, "Name each part of the body files, and send at least one.")
        return [await file.read() for file in files]
    finally:
        await form.close()


@asynccontextmanager
async def arriving(limits: Limits, malformed: str) -> AsyncIterator[None]:
    """Raises ProblemError for a body that arrives late, or, with the detail `malformed`, for an incomplete one."""
    close = {"Connection": "close"}
    try:
        async with asyncio.timeout(limits.seconds):
            yield
    except TimeoutError:
        seconds = f"The request did not arrive within {limits.seconds:g} s; send fewer files at a time."
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, seconds, close) from None
    except (MultiPartException, ClientDisconnect, ValueError, LookupError):
        raise ProblemError(HTTPStatus.BAD_REQUEST, malformed, close) from None


class _WholeBodyParser(MultiPartParser):
    """Multipart parser that rejects a body without closing boundary, which may lack parts."""

    _ended = False

    def on_end(self) -> None:
        """Callback at the closing boundary."""
        self._ended = True

    async def parse(self) -> FormData:
        """Parses the parts; raises MultiPartException for a malformed or truncated body."""
        self.stream = self._whole(self.stream)
        return await super().parse()

    async def _whole(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self._ended:  # raised inside parse(), which then closes the files of all parts
            raise MultiPartException("The closing boundary is missing.")


async def bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """Yields the chunks of the body; raises ProblemError if it exceeds `most` bytes."""
    too_large = ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"A request may have at most {most:,} bytes; send fewer files at a time.",
        {"Connection": "close"},
    )
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise too_large
        yield chunk
