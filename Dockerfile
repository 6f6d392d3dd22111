# Needs BuildKit (the default since Docker 23): the cache mounts keep the registry and the compiled dependencies.

FROM rust:1.95-bookworm AS builder
WORKDIR /build
COPY . .
# The queries are checked against the committed description in .sqlx, not against a database.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin dosimeter \
    && install -D --mode=0755 target/release/dosimeter /out/dosimeter

FROM debian:bookworm-slim
# /inbox and /var/lib/dosimeter exist in the image because a named volume takes over the owner of the folder it is mounted on.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 dosimeter \
    && useradd --system --uid 10001 --gid dosimeter --home-dir /var/lib/dosimeter --shell /usr/sbin/nologin dosimeter \
    && install --directory --owner=dosimeter --group=dosimeter --mode=0750 /var/lib/dosimeter \
    && install --directory --owner=dosimeter --group=dosimeter --mode=0755 /inbox \
    && install --directory --mode=0755 /etc/dosimeter
COPY --from=builder /out/dosimeter /usr/local/bin/dosimeter
USER dosimeter
WORKDIR /var/lib/dosimeter
EXPOSE 9187
ENTRYPOINT ["dosimeter"]
CMD ["serve", "--config", "/etc/dosimeter/config.toml"]
