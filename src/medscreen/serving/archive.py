"""Client of the DICOMweb archive that stores received instances and DICOM answers (STOW-RS)."""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import visible
from medscreen.serving.instances import related_body

PROCESSING_FAILURE = 0x0110
_MOST_AT_ONCE = 32 * 2**20  # bytes of a request
_ANSWERED = {200, 202, 409}  # all, some or none stored (PS3.18, 10.5.3)
_OF_THE_INSTANCES = {400, 413, 415, 422}  # errors that a retry would repeat
_LONGEST_ANSWER = 16 * 2**20  # bytes


class ArchiveError(Exception):
    """The archive can't be reached, or its response is not one of STOW-RS; the message is for the log."""


class Archive:
    """Archive at the DICOMweb address `url`; user and password come from ~/.netrc.

    Raises MedscreenError if `url` is not an HTTP address or holds a password.
    """

    def __init__(self, url: str, seconds: float) -> None:
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises ValueError for an invalid port
            sound = (
                not set(url) & set(" \t\r\n")
                and parts.scheme in {"http", "https"}
                and bool(parts.hostname)
                and not (parts.query or parts.fragment)
            )
            with_user = "@" in parts.netloc
        except ValueError:
            sound = with_user = False
        if with_user:
            raise MedscreenError(
                "--dicom-web: holds a user name, and other users can see the command line. Use ~/.netrc."
            )
        if not sound:
            raise MedscreenError(
                f"--dicom-web: {visible(url)} is not an HTTP address. Write it like http://localhost:8042/dicom-web."
            )
        self._address, self._seconds = f"{url.rstrip('/')}/studies", seconds

    def store(self, instances: Iterable[tuple[str, bytes]]) -> dict[str, int]:
        """Stores (UID, content) pairs; returns UID -> failure reason for instances that were not stored."""
        failed: dict[str, int] = {}
        waiting: dict[str, bytes] = {}
        for uid, content in instances:
            if waiting and sum(map(len, waiting.values())) + len(content) > _MOST_AT_ONCE:
                failed |= self._stored(waiting)
                waiting = {}
            waiting[uid] = content
        return failed | self._stored(waiting)

    def _stored(self, instances: Mapping[str, bytes]) -> dict[str, int]:
        kind, body = related_body(instances.values())
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        try:
            with requests.post(
                self._address, body, headers=headers, timeout=self._seconds, allow_redirects=False, stream=True
            ) as answer:
                if answer.status_code in _OF_THE_INSTANCES:
                    return dict.fromkeys(instances, PROCESSING_FAILURE)
                if answer.status_code not in _ANSWERED:
                    raise ArchiveError(f"response with status {answer.status_code}")
                content = self._read(answer)
        except requests.RequestException as error:
            raise ArchiveError(f"can't be reached ({type(error).__name__})") from error
        try:
            document = json.loads(content)
            stored = {_value(item, "00081155") for item in _items(document, "00081199")}
            failed = {_value(item, "00081155"): _reason(item) for item in _items(document, "00081198")}
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise ArchiveError("response is not one of STOW-RS") from error
        return {uid: failed.get(uid, PROCESSING_FAILURE) for uid in instances if uid not in stored}

    def _read(self, answer: requests.Response) -> bytes:
        """Reads the body of a response; raises ArchiveError if it is too long or does not end in time."""
        content, deadline = bytearray(), time.monotonic() + self._seconds
        for chunk in answer.iter_content(2**16):
            content += chunk
            if len(content) > _LONGEST_ANSWER or time.monotonic() > deadline:
                raise ArchiveError("response is too long or too slow")
        return bytes(content)


def _items(document: Any, tag: str) -> Any:
    """The items of a sequence in DICOM JSON (PS3.18, F.2)."""
    return document.get(tag, {}).get("Value", [])


def _value(item: Any, tag: str) -> Any:
    return item[tag]["Value"][0]


def _reason(item: Any) -> int:
    """Failure reason of an item (PS3.18, I.2), an unsigned 16-bit integer."""
    reason = _value(item, "00081197")
    return reason if isinstance(reason, int) and 0 < reason < 2**16 else PROCESSING_FAILURE
