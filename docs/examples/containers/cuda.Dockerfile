# x86-64 with an NVIDIA GPU and a driver for CUDA 13, started with `--gpus all`. In the repository's root:
#   docker build --file docs/examples/containers/cuda.Dockerfile --tag stts-runtime:0.2.0-cuda .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/stts \
    && /opt/stts/bin/python -m pip install --no-cache-dir --constraint constraints.txt ".[cuda,serve,schema]" \
        "onnxruntime-gpu[cuda,cudnn]==1.31.1"

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/stts stts
COPY --from=build /opt/stts /opt/stts
# CUDA and cuDNN come as wheels; the driver comes from the host's NVIDIA container toolkit.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
# Where the server or `metrics:` of the camera file listens; /healthz says whether the engines' thread is alive.
ENV PATH=/opt/stts/bin:$PATH PYTHONUNBUFFERED=1 STTS_HEALTH=127.0.0.1:8080
# stts, by number, so that an orchestrator can see that it is not root.
USER 10001
WORKDIR /var/lib/stts
# Engines of many gigabytes load for minutes.
HEALTHCHECK --interval=30s --timeout=10s --start-period=15m --retries=4 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection(os.environ['STTS_HEALTH'], timeout=5); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["stts-runtime"]
CMD ["serve", "--config", "/etc/stts/cameras.yaml", "--log-format", "json"]
