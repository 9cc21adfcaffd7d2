# Screening service: `medscreen serve` as an ordinary user on a read-only root; docs/serving.md has the commands.
FROM python:3.11-slim AS build
WORKDIR /source
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/medscreen \
 && /opt/medscreen/bin/pip install --no-cache-dir --constraint requirements.lock '.[dicom,dicom-out]'

FROM python:3.11-slim
COPY --from=build /opt/medscreen /opt/medscreen
# nothing is written but below /tmp, so the root can be read-only
ENV PATH=/opt/medscreen/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=60s --timeout=5s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["medscreen", "serve", "--host", "0.0.0.0", "--api-key-file", "/run/secrets/medscreen-key"]
CMD ["--stage", "Production"]
