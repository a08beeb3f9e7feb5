# dslocal on the CPU. Everything that is kept lies in /data.
#
#     docker build -t dslocal .
#     docker run --rm -it -v dslocal:/data dslocal chat
#     docker run --rm -p 127.0.0.1:11435:11435 -v dslocal:/data -e DSLOCAL_API_KEY \
#         dslocal serve --host 0.0.0.0
#
# The server needs a key that clients give; the last command passes the shell's DSLOCAL_API_KEY on.
#
# llama.cpp is compiled for the processor that builds the image. For an image that runs elsewhere
# too:
#     docker build --build-arg CMAKE_ARGS=-DGGML_NATIVE=off -t dslocal .
# With llama-cpp-python from an index of prebuilt wheels, which saves compiling it:
#     docker build --build-arg PIP_EXTRA_INDEX_URL=URL -t dslocal .
FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ make \
    && rm -rf /var/lib/apt/lists/*
ARG CMAKE_ARGS=""
# pip reads these two from the environment.
ARG PIP_EXTRA_INDEX_URL=""
ARG PIP_FIND_LINKS=""
RUN python -m venv /opt/dslocal
ENV PATH=/opt/dslocal/bin:$PATH
WORKDIR /source
COPY constraints.txt .
# A layer of its own: a change of dslocal does not compile llama.cpp again.
RUN CMAKE_ARGS="$CMAKE_ARGS" pip install --no-cache-dir -c constraints.txt llama-cpp-python
COPY . .
RUN pip install --no-cache-dir -c constraints.txt '.[server]'

FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 dslocal && install -d -o dslocal /data
COPY --from=build /opt/dslocal /opt/dslocal
ENV PATH=/opt/dslocal/bin:$PATH DSLOCAL_HOME=/data HF_HOME=/data/huggingface
USER dslocal
VOLUME /data
WORKDIR /data
EXPOSE 11435
ENTRYPOINT ["dslocal"]
CMD ["chat"]
