# One image for every part: the whole service, the web tier, or AI workers, by its command.
FROM python:3.11-slim AS packages

# A package index to take torch from: one with CPU builds makes a small image, others fit other CUDA versions.
# Empty: pip's usual index, whose build runs on CPUs and on NVIDIA cards.
ARG TORCH_INDEX=""
# 1: also the optional libraries for NVIDIA cards.
ARG GPU="0"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt requirements-gpu.txt constraints.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" torch==2.13.0; fi \
    && pip install -r requirements.txt -c constraints.txt \
    && if [ "$GPU" = 1 ]; then pip install -r requirements-gpu.txt -c constraints.txt; fi

FROM python:3.11-slim

RUN groupadd --gid 10001 maquette \
    && useradd --uid 10001 --gid maquette --no-create-home --home-dir /tmp maquette \
    && install -d -o maquette -g maquette /data /var/cache/maquette
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MAQUETTE_DATA_DIR=/data \
    NUMBA_CACHE_DIR=/var/cache/maquette

WORKDIR /app
COPY configs configs
COPY storage storage
COPY geometry geometry
COPY networks networks
COPY pipelines pipelines
COPY jobs jobs
COPY workers workers
COPY web web
COPY maquette_client maquette_client
COPY doctor doctor
COPY LICENSE requirements.txt constraints.txt api.py ai_worker.py wsgi.py gunicorn_config.py ./
RUN python -m compileall -q .

USER 10001:10001
# numba wants to write where its kernels are, so they are compiled into a volume: a new one starts with these.
RUN python -c 'import pipelines, pipelines.slat.kernels as k; pipelines.load("relief", pipelines.Machine("cpu")); k.compile_kernels()'
VOLUME ["/data", "/var/cache/maquette"]
EXPOSE 6006
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "doctor.health", "http://127.0.0.1:6006/health/ready"]
CMD ["gunicorn", "-c", "gunicorn_config.py", "wsgi:app"]
