"""Prometheus metrics and log of requests; neither holds file names, headers or parameters."""

import time
from contextlib import suppress
from traceback import extract_tb

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medscreen.runtime.escaping import say

_UNLOGGED = {"/healthz", "/readyz", "/metrics"}  # polled every few seconds


class Metrics:
    """Counters, gauges and durations that `/metrics` exposes to Prometheus."""

    def __init__(self) -> None:
        self.registry = of = CollectorRegistry()
        self.requests = Counter("medscreen_requests", "Requests", ["route", "status"], registry=of)
        self.seconds = Histogram("medscreen_request_seconds", "Duration of requests", ["route"], registry=of)
        self.images = Counter("medscreen_images", "Screened images", ["decision"], registry=of)
        self.unreadable = Counter("medscreen_unreadable_images", "Images that could not be read", registry=of)
        self.in_progress = Gauge("medscreen_requests_in_progress", "Screening requests", registry=of)
        self.version = Gauge("medscreen_served_version", "Number of the version, 0 for none", registry=of)
        self.checked = Gauge("medscreen_registry_checked_seconds", "Time of the last registry check", registry=of)


class Monitored:
    """ASGI middleware that counts and logs each request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles an HTTP request; passes other ASGI events through."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.monotonic(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            seconds = time.monotonic() - started
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, status).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            if route not in _UNLOGGED or status >= 400:
                log(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {route} {status} {1000 * seconds:.0f} ms")


def log(line: str) -> None:
    """Prints a log line; ignores write errors such as a closed pipe or a full disk."""
    with suppress(Exception):
        say(line)


def log_error(error: Exception) -> None:
    """Logs type and location of an exception, not its message, which may hold uploaded data."""
    places = [
        f"{frame.filename.rpartition('medscreen/')[2]}:{frame.lineno}" for frame in extract_tb(error.__traceback__)
    ]
    log(f"medscreen: {type(error).__name__} at {' < '.join(reversed(places[-4:]))}")
