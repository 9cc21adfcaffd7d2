"""Uploads read within bounds, and problem documents for whatever is beyond them."""

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
    """Bounds of the service; those of pixels, frames and fragments of an image are the decoders' own.

    `body`: bytes of a request. `files`: of a request. `seconds`: for its arrival, and again for its screening.
    `requests`: screened or arriving at the same time, so that the memory for uploads is at most `requests` x `body`.
    """

    body: int = 128 * 2**20
    files: int = 1000
    seconds: float = 60
    requests: int = 16


class ProblemError(Exception):
    """Ends a request with a problem document; `detail` is one sentence without any value of the request."""

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
    """The problem document."""
    problem = Problem(title=error.status.phrase, status=error.status, detail=error.detail)
    return JSONResponse(problem.model_dump(), error.status, error.headers, "application/problem+json")


async def read_uploads(request: Request, limits: Limits) -> list[bytes]:
    """Contents of the parts named `files` of a multipart request; raises ProblemError for any other request."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the files as multipart/form-data, in parts named files."
        )
    parser = _WholeBodyParser(request.headers, bounded(request, limits.body), max_files=limits.files, max_fields=0)
    parser.spool_max_size = limits.body + 1  # beyond it, uploads would be written to disk
    malformed = (
        f"The body is no whole multipart/form-data of 1 to {limits.files} files; each part needs the name files "
        "and a filename."
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
    """Raises ProblemError for a body that is late, and one with the sentence `malformed` for one that is not whole."""
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
    """Refuses a body without its closing boundary, of which parts may be missing."""

    _ended = False

    def on_end(self) -> None:
        """Called at the closing boundary."""
        self._ended = True

    async def parse(self) -> FormData:
        """The parts; raises MultiPartException for a body that is malformed or cut."""
        self.stream = self._whole(self.stream)
        return await super().parse()

    async def _whole(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self._ended:  # raised inside parse(), which then closes the files of all parts
            raise MultiPartException("There is no closing boundary.")


async def bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body; raises ProblemError where it is longer."""
    too_large = ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"A request may have {most:,} bytes; send fewer files at a time.",
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
