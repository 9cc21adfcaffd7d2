"""Routes of the service."""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from medscreen.registry.loaded_version import LoadedVersion
from medscreen.serving.answers import ModelAnswer, Problem, ScreenAnswer
from medscreen.serving.api_page import api_page
from medscreen.serving.archive import Archive, ArchiveError
from medscreen.serving.dicom_web import store_instance, store_response
from medscreen.serving.instances import read_instances
from medscreen.serving.monitoring import Metrics, Monitored, log, log_error
from medscreen.serving.registry_watch import STALE_S, RegistryWatch
from medscreen.serving.screening import Wanted, score_histogram, screen_files, served_model
from medscreen.serving.uploads import Limits, ProblemError, is_loopback, problem_response, read_uploads

Result = TypeVar("Result")
_FILES_A_JOB = 8  # larger jobs would delay files of other requests
_BEARER = HTTPBearer(auto_error=False, description="API key from the file of --api-key-file.")
_UPLOAD = {
    "type": "object",
    "required": ["files"],
    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}
_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
# allows inline style and script, pictures from responses, and no other origins
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def _body(kind: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "description": description, "content": {kind: {"schema": schema}}}}


_FILES = _body("multipart/form-data", _UPLOAD, "one part named files for each file.")
_STORED: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {"application/dicom+json": {}}}
    for status, words in ((200, "All stored"), (202, "Some stored"), (409, "None stored"))
}
_INSTANCES = _body(
    'multipart/related; type="application/dicom"', {"type": "string", "format": "binary"}, "one part for each instance."
)


class Service:
    """Handlers of the routes; screens up to `threads` images at the same time, one per thread."""

    def __init__(
        self, watch: RegistryWatch, key: str | None, threads: int, limits: Limits, archive: Archive | None = None
    ) -> None:
        self._watch, self.key, self._limits, self.archive = watch, key, limits, archive
        self._threads = threads
        self._workers = ThreadPoolExecutor(threads, "screening")
        self._stores = ThreadPoolExecutor(
            threads, "storing"
        )  # separate, so that a slow archive does not delay screening
        self._in_progress = 0
        self.metrics = Metrics()
        self.metrics.version.set_function(lambda: watch.version.record.version.number if watch.version else 0)
        self.metrics.checked.set_function(lambda: watch.checked)
        self.metrics.in_progress.set_function(lambda: self._in_progress)

    def require_key(self, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        """Raises ProblemError for a request without the API key."""
        sent = given.credentials if given else ""
        if self.key is None or not secrets.compare_digest(sent.encode(), self.key.encode()):
            missing = "Send the service's API key as the header Authorization: Bearer KEY."
            close = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            raise ProblemError(HTTPStatus.UNAUTHORIZED, missing, close)

    def require_loopback(self, request: Request) -> None:
        """Raises ProblemError unless the Host header names a loopback address.

        Otherwise a page of another site could reach the service through DNS rebinding.
        """
        if not is_loopback(request.headers.get("host", "")):
            other = "Without an API key the service accepts only the hosts 127.0.0.1, [::1] and localhost."
            raise ProblemError(HTTPStatus.MISDIRECTED_REQUEST, other, {"Connection": "close"})

    async def screen(
        self,
        request: Request,
        map: Annotated[bool, Query(description="Also return the explanation map of each image.")] = False,
        similar: Annotated[
            int, Query(ge=0, le=50, description="Also return this number of similar training images per class.")
        ] = 0,
        thumbnail: Annotated[bool, Query(description="Also return each image as displayed.")] = False,
        for_processing: Annotated[bool, Query(description="Also screen raw detector values (FOR PROCESSING).")] = False,
    ) -> Response:
        """Screens all images of PNG, JPEG, TIFF and DICOM files; no upload is kept."""
        async with self._admitted():
            contents = await read_uploads(request, self._limits)
            version, wanted = self._version(), Wanted(map, similar, thumbnail, for_processing)
            numbered = list(enumerate(contents))
            size = min(_FILES_A_JOB, math.ceil(len(numbered) / self._threads))
            parts = [numbered[start : start + size] for start in range(0, len(numbered), size)]
            done = await self._done(self._workers, [partial(screen_files, version, part, wanted) for part in parts])
            files = [file for part in done for file in part]
        for file in files:
            self._count((image.decision for image in file.images), len(file.unreadable))
        if not any(file.images for file in files):
            which = "The file" if len(files) == 1 else f"None of the {len(files)} files can be screened; the first"
            reason = f"{which} can't be read: {files[0].unreadable[0].detail}."
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, reason)
        answer = ScreenAnswer(model=served_model(version), files=files)
        return Response(answer.model_dump_json(), media_type="application/json")

    async def store(self, request: Request) -> Response:
        """STOW-RS: screens DICOM instances and stores each in the archive, with Structured Report and captures.

        Images that can't be screened are not stored and are listed in the Failed SOP Sequence. Instances without
        pixels, such as reports, are stored unchanged.
        """
        if self.archive is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        async with self._admitted():
            contents = await read_instances(request, self._limits)
            version = self._version()
            jobs = [partial(store_instance, version, self.archive, content) for content in contents]
            try:
                instances = await self._done(self._stores, jobs)
            except ArchiveError as error:
                log(f"medscreen: the archive of --dicom-web: {error}")
                lost = "The archive of the service can't store at present; send the instances again later."
                raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, lost, {"Retry-After": "10"}) from error
        for instance in instances:
            self._count((image.called for image in instance.images), len(instance.unreadable))
        status, answer = store_response(instances)
        return JSONResponse(answer, status, media_type="application/dicom+json")

    def model(self) -> ModelAnswer:
        """Returns the served version, its operating point and the time of the last registry check."""
        version = self._version()
        explained = version.explained
        stated = version.detector.metadata.get("explanation", {})
        return ModelAnswer(
            **served_model(version).model_dump(),
            operating_point=version.detector.metadata["operating_point"],
            image_size=version.detector.image_size,
            map=f"no map: {explained.reason}" if explained.map is None else f"{stated['map']} ({explained.unit})",
            similar_cases=not version.no_cases,
            validation=score_histogram(version),
            registry_checked=datetime.fromtimestamp(self._watch.checked, UTC),
            registry_check_failed=bool(self._watch.problem),
        )

    def healthz(self) -> dict[str, str]:
        """Returns 200 while the process is alive."""
        return {"status": "alive"}

    def readyz(self) -> dict[str, str]:
        """Returns 200 if a version is loaded and the registry was read within the last minute, else 503."""
        self._version()
        if time.time() - self._watch.checked > STALE_S:
            stale = f"The registry was not read for more than {STALE_S:g} s; the log of the service states the reason."
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, stale, {"Retry-After": "10"})
        return {"status": "ready"}

    def show_metrics(self) -> Response:
        """Returns metrics for Prometheus."""
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def _version(self) -> LoadedVersion:
        version = self._watch.version
        if version is None:
            empty = (
                f"No version of {self._watch.name} is in {self._watch.stage}; promote one and send the request again."
            )
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, empty, {"Retry-After": "10"})
        return version

    async def _done(self, workers: Executor, jobs: Sequence[Callable[[float], Result]]) -> list[Result]:
        """Runs jobs with a common deadline and returns their results; raises ProblemError if one exceeds it."""
        deadline, run = time.monotonic() + self._limits.seconds, asyncio.get_running_loop().run_in_executor
        # waits for all jobs, so that none runs on after its request is no longer counted
        done = await asyncio.gather(*(run(workers, job, deadline) for job in jobs), return_exceptions=True)
        failed = [found for found in done if isinstance(found, BaseException)]
        if any(isinstance(error, TimeoutError) for error in failed):
            late = f"Screening took more than {self._limits.seconds:g} s; send fewer files at a time."
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, late, {"Retry-After": "10"})
        if failed:
            raise failed[0]
        return [found for found in done if not isinstance(found, BaseException)]

    def _count(self, decisions: Iterable[str], unreadable: int) -> None:
        self.metrics.unreadable.inc(unreadable)
        for decision in decisions:
            self.metrics.images.labels(decision).inc()

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        """Counts a request; raises ProblemError if too many are in progress."""
        if self._in_progress >= self._limits.requests:
            busy = f"{self._limits.requests} requests are already in progress; send this one again in a second."
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, busy, {"Retry-After": "1"})
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1


def create_app(service: Service) -> FastAPI:
    """Creates the application; its documentation page is self-contained."""
    app = FastAPI(
        title="medscreen",
        description="Research use only, never diagnosis.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat host and query of the request
    )
    app.add_middleware(Monitored, metrics=service.metrics)
    keyed = [Depends(service.require_key if service.key else service.require_loopback)]
    app.post(
        "/v1/screen",
        response_model=ScreenAnswer,
        responses=_problems(400, 401, 408, 413, 415, 421, 422, 503),
        dependencies=keyed,
        openapi_extra=_FILES,
    )(service.screen)
    if service.archive is not None:
        app.post(
            "/dicom-web/studies",
            response_class=Response,
            responses=_STORED | _problems(400, 401, 408, 413, 415, 421, 503),
            dependencies=keyed,
            openapi_extra=_INSTANCES,
        )(service.store)
    app.get("/v1/model", responses=_problems(401, 421, 503), dependencies=keyed)(service.model)
    app.get("/metrics", responses=_problems(401, 421), response_class=PlainTextResponse, dependencies=keyed)(
        service.show_metrics
    )
    app.get("/healthz")(service.healthz)
    app.get("/readyz", responses=_problems(503))(service.readyz)
    app.get("/", include_in_schema=False)(lambda: HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY}))
    app.get("/docs", include_in_schema=False)(lambda: HTMLResponse(api_page(app.openapi())))

    @app.exception_handler(ProblemError)
    async def problem(_: Request, error: ProblemError) -> Response:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        names = ", ".join(sorted({str(each["loc"][-1]) for each in error.errors()}))
        detail = f"Invalid query parameter: {names}; /docs lists the allowed values."
        return problem_response(ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail))

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        detail = "The service has no such route; /docs lists the routes."
        return problem_response(ProblemError(HTTPStatus(error.status_code), detail, dict(error.headers or {})))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        log_error(error)
        detail = "Internal error; the log of the service states its location."
        return problem_response(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail))

    return app


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}
