"""DICOM instances in multipart/related bodies of DICOMweb (PS3.18, 8.6.1)."""

import uuid
from collections.abc import Iterable
from http import HTTPStatus

from fastapi import Request
from python_multipart.multipart import MultipartParser, parse_options_header

from medscreen.serving.uploads import Limits, ProblemError, arriving, bounded


async def read_instances(request: Request, limits: Limits) -> list[bytes]:
    """Reads the parts of a multipart/related request; raises ProblemError for other or malformed requests."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/related" or options.get(b"type", b"").lower() != b"application/dicom":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            'Send instances as multipart/related; type="application/dicom", one per part.',
        )
    parts: list[bytearray] = []
    ended = False

    def begin() -> None:
        if len(parts) >= limits.files:
            raise ValueError
        parts.append(bytearray())

    def end() -> None:
        nonlocal ended
        ended = True

    malformed = (
        f"The body is not a complete multipart/related with 1 to {limits.files} instances and a closing boundary."
    )
    async with arriving(limits, malformed):
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": begin,
                "on_part_data": lambda data, start, stop: parts[-1].extend(data[start:stop]),
                "on_end": end,
            },
        )
        async for chunk in bounded(request, limits.body):
            parser.write(chunk)
        if not ended or not parts:
            raise ValueError
    return [bytes(part) for part in parts]


def related_body(instances: Iterable[bytes]) -> tuple[str, bytes]:
    """Content type and multipart/related body of a request with these instances."""
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(part for instance in instances for part in (head, instance, b"\r\n"))
    return f'multipart/related; type="application/dicom"; boundary={boundary}', body + f"--{boundary}--\r\n".encode()
