# The explorer on a server, on the CPU: docker build -t satclip-explore . (see docs/running-a-server.md)
FROM python:3.11-slim

RUN useradd --create-home --uid 10001 reader
WORKDIR /srv/satclip
COPY requirements.lock requirements.txt pyproject.toml README.md LICENSE ./
# torch for the CPU first: pip's own choice brings several GB of CUDA.
RUN pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu \
        "$(grep -o '^torch==[^ ]*' requirements.txt)" \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock \
    && pip install --no-cache-dir --requirement requirements.txt
COPY satclip_explore satclip_explore
COPY training training
RUN pip install --no-cache-dir --no-deps .

USER reader
ENV MALLOC_ARENA_MAX=2 OMP_NUM_THREADS=2 BOKEH_ALLOW_WS_ORIGIN=localhost:8080
EXPOSE 5006
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD python -c "import urllib.request as r; r.urlopen('http://localhost:5006/healthz', timeout=9)"
# Inside of a container localhost is nobody's; outside, compose publishes nginx alone.
CMD ["panel", "serve", "satclip_explore/app.py", "--address", "0.0.0.0", "--port", "5006", \
     "--num-threads", "4", "--plugins", "satclip_explore.panes.served.routes", \
     "--use-xheaders", "--index", "app", "--websocket-max-message-size", "52428800", \
     "--keep-alive", "30000", "--unused-session-lifetime", "15000"]
