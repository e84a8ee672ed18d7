# The captioner as a service: docker build -t captioner . && docker run --read-only -p 127.0.0.1:8000:8000 captioner
# Not root, nothing is written, nothing is fetched when it runs. Options follow the image's name; see docs/serving.md.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY captioner captioner
RUN python -m venv /captioner && /captioner/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.13-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin captioner
COPY --from=build /captioner /captioner
USER 10001
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/captioner/bin/python", "-c", \
    "import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:8000/readyz'), timeout=2)"]
ENTRYPOINT ["/captioner/bin/captioner", "serve", "--host", "0.0.0.0", "--port", "8000"]
