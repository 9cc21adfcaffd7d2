"""Command serve: HTTP service of a registered detector."""

from pathlib import Path

import click

from medscreen.cli.registry_access import model_or_default


@click.command()
@click.option("--name", help="Registered model; by default that of the active data set.")
@click.option("--stage", default="Production", show_default=True, help="Staging, Production or Archived.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; all but loopback require an API key.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 for any free one."
)
@click.option("--api-key-file", type=click.Path(path_type=Path), help="File with the API key of requests.")
@click.option("--dicom-web", help="DICOMweb address of the archive to which POST /dicom-web/studies stores.")
def serve(name: str | None, stage: str, host: str, port: int, api_key_file: Path | None, dicom_web: str | None) -> None:
    """Serves the version in a stage over HTTP until Ctrl-C.

    The service follows promotions and rollbacks. `POST /v1/screen` screens the files of a request; `/docs` lists the
    other routes.

    Example: `medscreen serve --stage Staging --port 8080`
    """
    from medscreen.serving.server import serve as run

    run(model_or_default(name), stage, (host, port), api_key_file, dicom_web=dicom_web)
