# Jetson Orin with JetPack 6.1 or 6.2, started with `--runtime nvidia`; on the Jetson itself, in the repository's root:
#   docker build --file docs/examples/containers/jetson.Dockerfile --tag stts-runtime:0.2.0-jetson .
FROM nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime AS build
# hadolint ignore=DL3008  # the base image fixes the release of Ubuntu, and its archive keeps no older versions
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# TensorRT is that of the system's Python 3.10, hence its packages; docs/jetson.md says why the last three
# are older than in constraints-py310.txt.
RUN python3 -m venv --system-site-packages /opt/stts \
    && /opt/stts/bin/python -m pip install --no-cache-dir \
        ".[serve,schema]" "cuda-bindings==12.*" "numpy<2" "opencv-python-headless==4.11.0.86"

FROM nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime
# Jetson's GPU devices let in the group video.
# hadolint ignore=DL3008  # the base image fixes the release of Ubuntu, and its archive keeps no older versions
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 gstreamer1.0-tools gstreamer1.0-plugins-good \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/stts --groups video stts
COPY --from=build /opt/stts /opt/stts
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
