# The operator, with the Lambda and Glue artifacts that it deploys inside.
#
#   make artifacts && docker build --tag weir:0.1.0 .
#
# Name the base by digest where builds must repeat to the byte:
#   --build-arg BASE=python:3.11-slim@sha256:...
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG UV=0.13.9
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy
RUN pip install "uv==${UV}"
WORKDIR /build
# Dependencies first: they change less often than we do, and every one is checked by its hash.
COPY operator/requirements.lock ./
RUN uv venv /opt/weir/venv \
    && uv pip sync --python /opt/weir/venv/bin/python --require-hashes requirements.lock
COPY contract ./contract
COPY operator ./operator
RUN uv pip install --python /opt/weir/venv/bin/python --no-deps ./contract ./operator

FROM ${BASE}
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Data pipelines on AWS as Kubernetes resources"
ENV PATH=/opt/weir/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WEIR_ARTIFACTS=/opt/weir/artifacts
COPY --from=build /opt/weir/venv /opt/weir/venv
COPY dist/artifacts /opt/weir/artifacts
# By number, since the API server can only then see that it is not root.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
CMD ["python", "-m", "weir"]
