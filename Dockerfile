# One recipe for three images, by target and by the extra of pyproject.toml that is installed:
#   --target serving                          the server on a CPU, and the playground: small, no torch (the default)
#   --target serving  --build-arg EXTRA=gpu   the server on an NVIDIA GPU: CUDA and cuDNN come as Python wheels, so the
#                                             host needs only its driver and the NVIDIA container toolkit
#   --target training --build-arg EXTRA=train trains and exports

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PATH=/venv/bin:$PATH
WORKDIR /app
# The same user everywhere, so that trainer and server can share the volume of models.
RUN useradd --uid 10001 --no-create-home lenet

FROM base AS packages
ARG EXTRA=serving,playground
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md ./
COPY proto proto
COPY serving serving
COPY clients clients
COPY training training
RUN pip install --no-cache-dir --constraint constraints.txt ".[${EXTRA}]" \
    && pip uninstall --yes --quiet pip setuptools

FROM base AS training
COPY --from=packages /venv /venv
COPY --chown=lenet models models
RUN install -d -o lenet data runs
USER lenet
# A cache directory that the user may write to, for libraries that want one.
ENV HOME=/tmp
CMD ["sh", "-c", "lenet-train && lenet-export"]

FROM base AS serving
COPY --from=packages /venv /venv
COPY --chown=lenet models models
USER lenet
ENV LENET_HOST=0.0.0.0
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["lenet", "health"]
CMD ["lenet-serve"]
