"""MLflow's store on a shared server, given by MLFLOW_TRACKING_URI."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from medscreen.errors import MedscreenError
from medscreen.runtime.system_errors import is_silent, status_of, without_password, without_secrets
from medscreen.workspace.layout import Layout

ADDRESS, _REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
_USER, _PASSWORD, _TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_WAIT_S = 8


def server_address(own: str) -> str | None:
    """The http or https address in MLFLOW_TRACKING_URI, None for the checkout's store at address `own`.

    User and password in it are moved to MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, since MLflow repeats
    addresses in errors, logs and locations. Raises MedscreenError for other addresses.
    """
    address = os.environ.get(ADDRESS, "").strip()
    if address in {"", own}:  # mlflow.set_tracking_uri sets the variable
        return None
    try:
        parts = urlsplit(address)
        is_http = parts.scheme in {"http", "https"} and parts.port != -1  # raises if the port is not a number
    except ValueError:
        is_http = False
    if not is_http:
        raise MedscreenError(
            f"{ADDRESS}={without_password(address)} is not an http or https address of an MLflow server. Unset it to "
            "use the checkout's store below mlruns/."
        )
    if parts.query or parts.fragment or "@" in parts.path or not parts.hostname:
        raise MedscreenError(
            f"{ADDRESS}: invalid address, with a ?, # or @ after the server's name. Set a password as "
            f"{_PASSWORD}, a token as {_TOKEN}."
        )
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if bare != address:
        if parts.username and parts.password and not os.environ.get(_PASSWORD):
            os.environ[_USER], os.environ[_PASSWORD] = unquote(parts.username), unquote(parts.password)
        os.environ[ADDRESS] = bare
    return bare


def on_server(client: MlflowClient) -> bool:
    """True if a client's store is on a server."""
    return urlsplit(client.tracking_uri).scheme in {"http", "https"}


def open_server(address: str) -> MlflowClient:
    """A client of the server; raises MedscreenError if it does not respond within seconds."""
    client = MlflowClient(address, address)
    # MLflow's default retries of minutes are for later requests
    impatient = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(_WAIT_S), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    try:
        with _restoring(*impatient):
            os.environ.update(impatient)
            client.search_experiments(max_results=1)
    except MlflowException as error:
        raise MedscreenError(
            f"{without_password(address)}: the MLflow server can't be used ({_reason(error)}). Start it, correct "
            f"{ADDRESS}, or unset it to use the checkout's store."
        ) from error
    return client


def checkout_mark(layout: Layout) -> str:
    """A random, anonymous identifier of this checkout, which marks its runs on a server."""
    path = layout.scratch / "checkout"
    with FileLock(layout.scratch / "mlflow.lock"):
        if not path.is_file():
            path.write_text(secrets.token_hex(8))
        return path.read_text()


@contextmanager
def as_default(client: MlflowClient) -> Iterator[None]:
    """Context in which MLflow's default store is the client's, for MLflow functions without a client argument.

    The former default is restored. A leftover would make MLflow create an mlflow.db in the working directory, or later
    commands use a wrong server.
    """
    with _restoring(ADDRESS, _REGISTRY):
        former: Any = mlflow.get_tracking_uri() if ADDRESS in os.environ else None
        os.environ[_REGISTRY] = client.tracking_uri
        mlflow.set_tracking_uri(client.tracking_uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(former)


@contextmanager
def _restoring(*names: str) -> Iterator[None]:
    """Context that restores these environment variables on exit."""
    given = {name: os.environ[name] for name in names if name in os.environ}
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(given)


def _reason(error: MlflowException) -> str:
    """Short reason of a server's failure, without secrets, which MLflow's messages may contain."""
    import requests

    cause = error.__cause__ or error.__context__
    if isinstance(cause, requests.exceptions.SSLError):
        return "TLS fails, or the certificate is not trusted"
    if isinstance(cause, requests.RequestException) and is_silent(cause):
        return f"no response within {_WAIT_S} s"
    if cause is not None and (status := status_of(cause)):
        return f"status {status}"
    answer = without_secrets(str(error).partition("Response body: ")[2] or str(error))
    return " ".join(answer.split())[:120].strip("'. ") or "not an MLflow server"
