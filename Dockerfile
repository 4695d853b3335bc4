# The portal in one small image: one binary, nothing to write to, no root.
#   docker build -t pilothouse .
#   docker run --read-only -p 127.0.0.1:8080:8080 -v $PWD/pilothouse.toml:/etc/pilothouse/pilothouse.toml:ro pilothouse

# --- The sample service in all its versions, and what pushes it; only docker-compose.yml asks for this stage.
FROM golang:1.26-trixie AS build-samples
WORKDIR /src
ENV GOCACHE=/var/cache/go-build
COPY cluster/crane cluster/crane
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/var/cache/go-build \
    cd cluster/crane && CGO_ENABLED=0 go build -trimpath -o /out/crane github.com/google/go-containerregistry/cmd/crane
COPY cluster/sample cluster/sample
RUN --mount=type=cache,target=/var/cache/go-build \
    cd cluster/sample && export CGO_ENABLED=0 && \
    go build -trimpath -ldflags '-s -w -buildid=' -o /tmp/service ./service && \
    go build -trimpath -ldflags '-s -w -buildid=' -o /tmp/pause ./pause && \
    go run ./images /out/layouts /tmp/service /tmp/pause

FROM debian:trixie-slim AS samples
COPY --from=build-samples /out /samples
COPY demo/images.txt /samples/
USER 65532:65532
WORKDIR /samples
ENV REGISTRY=127.0.0.1:5000
CMD ["sh", "-euc", "while read -r name; do for tag in layouts/v*; do ./crane push --insecure $tag $REGISTRY/$name:${tag#layouts/}; done; done < images.txt"]

# --- The portal.
FROM rust:1.95-slim-trixie AS build
# The allocator is built from its C source.
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Queries are checked against the recorded schema in .sqlx, so that no database is needed to build.
ENV SQLX_OFFLINE=true
# The caches stay on the builder, so the binary has to leave them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin platform && \
    cp target/release/platform /usr/local/bin/platform

FROM debian:trixie-slim AS portal
# The identity provider, the registries and the clusters are asked over TLS; freezes name time zones.
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates tzdata && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/platform /usr/local/bin/platform
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["platform"]
CMD ["serve", "--config", "/etc/pilothouse/pilothouse.toml"]
