# The server and the commands in one small image. The store is a volume.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md config.example.toml requirements.lock ./
COPY hubsync ./hubsync
COPY migrations ./migrations
RUN python -m venv /opt/hubsync \
    && /opt/hubsync/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/hubsync/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /srv/hubsync hubsync \
    && install -d -o hubsync -g hubsync /srv/hubsync
COPY --from=build /opt/hubsync /opt/hubsync
ENV PATH=/opt/hubsync/bin:$PATH HUBSYNC_ROOT=/srv/hubsync
USER hubsync
VOLUME /srv/hubsync
EXPOSE 8090
ENTRYPOINT ["hubsync"]
CMD ["serve", "--host", "0.0.0.0"]
