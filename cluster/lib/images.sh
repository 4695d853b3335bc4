# shellcheck shell=bash
# The images: the pause container every pod needs, and the sample service in all its versions.
# They are made as OCI layouts in the cache and pushed with crane.

SAMPLE_REPOSITORY=sample/service
SAMPLE_TAGS="v1.0.0 v1.1.0 v1.2.0 v1.3.0 v1.4.0 v1.5.0"

sample_sources() { find "$CLUSTER/sample" -name '*.go' -o -name go.mod | LC_ALL=C sort; }

find_sample_images() {
  # shellcheck disable=SC2046 # one argument a file
  SAMPLE_IMAGES=$CACHE/images/$(sha256_of $(cd "$CLUSTER/sample" && sample_sources))
}

build_sample_image() {
  find_sample_images
  [ -d "$SAMPLE_IMAGES" ] && return
  (
    with_lock "$CACHE/images.lock"
    [ -d "$SAMPLE_IMAGES" ] && exit 0
    need_go
    step "Building the sample service"
    mkdir -p "$CACHE/images"
    work=$(mktemp -d "$CACHE/images/.new.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cd "$CLUSTER/sample" || exit 1
    export CGO_ENABLED=0 GOFLAGS=-mod=readonly
    GOOS=linux go build -trimpath -ldflags '-s -w -buildid=' -o "$work/service" ./service &&
      GOOS=linux go build -trimpath -ldflags '-s -w -buildid=' -o "$work/pause" ./pause &&
      go run ./images "$work/layouts" "$work/service" "$work/pause" &&
      mv "$work/layouts" "$SAMPLE_IMAGES" || fail "The sample service did not build."
  ) || exit 1
}

push_pause_image() {
  image_digest pause 1 | grep -qx "$(layout_digest pause)" && return
  push pause "$REGISTRY/pause:1"
}

# push_sample_images NAME…: each name gets every tag. They are pushed once and copied inside the registry,
# which shares the bytes: a name takes a tenth of a second.
push_sample_images() {
  [ $# -gt 0 ] || fail "Which repositories?" "For example: bin/cluster images payments/checkout-api"
  build_programs
  build_sample_image
  registry_answers || fail "The registry at $REGISTRY does not answer." "Start the cluster: bin/cluster up"
  local name tag pushed=0
  if ! has_sample_images "$SAMPLE_REPOSITORY"; then
    for tag in $SAMPLE_TAGS; do push "$tag" "$REGISTRY/$SAMPLE_REPOSITORY:$tag"; done
  fi
  for name in "$@"; do
    has_sample_images "$name" && continue
    "$CRANE_BIN/crane" copy --insecure --all-tags "$REGISTRY/$SAMPLE_REPOSITORY" "$REGISTRY/$name" >/dev/null 2>"$LOG_DIR/crane.log" ||
      fail "$REGISTRY/$name could not be pushed: $(tail -n 1 "$LOG_DIR/crane.log")"
    pushed=$((pushed + 1))
  done
  say "$# repositories have $SAMPLE_TAGS ($pushed pushed now)."
}

# All tags share one layer, so the first and the last of them tell whether the images are the ones we make now.
has_sample_images() {
  local tag
  for tag in v1.0.0 v1.5.0; do image_digest "$1" "$tag" | grep -qx "$(layout_digest "$tag")" || return 1; done
}

push() {
  "$CRANE_BIN/crane" push --insecure "$SAMPLE_IMAGES/$1" "$2" >/dev/null 2>"$LOG_DIR/crane.log" ||
    fail "$2 could not be pushed: $(tail -n 1 "$LOG_DIR/crane.log")"
}

layout_digest() { sed -n 's/.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p' "$SAMPLE_IMAGES/$1/index.json"; }

image_digest() {
  curl --silent --max-time 5 --head -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$REGISTRY/v2/$1/manifests/$2" |
    tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p'
}
