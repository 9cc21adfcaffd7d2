"""MLflow's store on a server that a team shares: MLFLOW_TRACKING_URI names it."""

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
    """The http or https address of the server to use, None for the checkout's own store, whose address is `own`.

    A user and a password in it move to MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: MLflow would repeat them
    in its errors, logs and locations. Raises MedscreenError where the variable holds another kind of address.
    """
    address = os.environ.get(ADDRESS, "").strip()
    if address in {"", own}:  # mlflow.set_tracking_uri, as the README has it, writes the variable
        return None
    try:
        parts = urlsplit(address)
        is_http = parts.scheme in {"http", "https"} and parts.port != -1  # raises where the port is no number
    except ValueError:
        is_http = False
    if not is_http:
        raise MedscreenError(
            f"{ADDRESS}={without_password(address)} is no http or https address of an MLflow server; unset it to use "
            "the checkout's own store below mlruns/."
        )
    if parts.query or parts.fragment or "@" in parts.path or not parts.hostname:
        raise MedscreenError(
            f"{ADDRESS} is no address that MLflow can use: it has a ?, # or @ behind the server's name. Give a "
            f"password as {_PASSWORD}, a token as {_TOKEN}."
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
    """A client of the server; raises MedscreenError where none answers within seconds."""
    client = MlflowClient(address, address)
    # MLflow's own patience, retries for minutes, is for a server that was there a moment ago
    impatient = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(_WAIT_S), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    try:
        with _restoring(*impatient):
            os.environ.update(impatient)
            client.search_experiments(max_results=1)
    except MlflowException as error:
        raise MedscreenError(
            f"No MLflow server can be used at {without_password(address)} ({_reason(error)}); start it, correct "
            f"{ADDRESS}, or unset it to use the checkout's own store."
        ) from error
    return client


def checkout_mark(layout: Layout) -> str:
    """A random name that this checkout keeps: it tells runs on a server apart and identifies nobody."""
    path = layout.scratch / "checkout"
    with FileLock(layout.scratch / "mlflow.lock"):
        if not path.is_file():
            path.write_text(secrets.token_hex(8))
        return path.read_text()


@contextmanager
def as_default(client: MlflowClient) -> Iterator[None]:
    """MLflow's default store is the client's, for those of its functions that look things up there and take no client.

    Afterwards it is what it was before, or unset: else MLflow would make an mlflow.db in the working directory, or
    later commands would take what is left in the environment for a server.
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
    """Puts these environment variables back in the end."""
    given = {name: os.environ[name] for name in names if name in os.environ}
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(given)


def _reason(error: MlflowException) -> str:
    """Reason of a server's failure, in a few words; MLflow's messages may hold the address with its password."""
    import requests

    cause = error.__cause__ or error.__context__
    if isinstance(cause, requests.exceptions.SSLError):
        return "TLS fails there, or its certificate is not trusted"
    if isinstance(cause, requests.RequestException) and is_silent(cause):
        return f"nothing answers within {_WAIT_S} s"
    if cause is not None and (status := status_of(cause)):
        return f"it answers with status {status}"
    answer = without_secrets(str(error).partition("Response body: ")[2] or str(error))
    return " ".join(answer.split())[:120].strip("'. ") or "another kind of server"
