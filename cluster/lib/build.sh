# shellcheck shell=bash disable=SC2034 # sourced by bin/cluster, which reads what is set here
# Building the cluster's programs from their Go modules, once per set of pinned versions.
# Each folder with a go.mod gets its own folder in the cache, named after the hash of go.mod and go.sum.

CACHE=${PILOTHOUSE_CACHE:-$HOME/.cache/pilothouse}

# The API server reports v0.0.0 without these, and clients misbehave.
kubernetes_version() { sed -n 's/^\tk8s.io\/kubernetes v\([^ ]*\).*/\1/p' "$CLUSTER/kubernetes/go.mod"; }
kubernetes_version_flags() {
  local version=$1 package=k8s.io/component-base/version
  printf -- '-X %s.gitVersion=v%s -X %s.gitMajor=%s -X %s.gitMinor=%s' "$package" "$version" \
    "$package" "${version%%.*}" "$package" "$(echo "$version" | cut -d. -f2)"
}

bin_of() { printf '%s/bin/%s' "$CACHE" "$(sha256_of "$CLUSTER/$1/go.mod" "$CLUSTER/$1/go.sum")"; }

# One line per program: the folder with its go.mod, the package, the name of the binary.
programs() {
  cat <<'LIST'
kubernetes go.etcd.io/etcd/server/v3 etcd
kubernetes k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver
kubernetes k8s.io/kubernetes/cmd/kube-controller-manager kube-controller-manager
kubernetes k8s.io/kubernetes/cmd/kube-scheduler kube-scheduler
kubernetes k8s.io/kubernetes/cmd/kubectl kubectl
kubernetes sigs.k8s.io/kwok/cmd/kwok kwok
registry github.com/distribution/distribution/v3/cmd/registry registry
crane github.com/google/go-containerregistry/cmd/crane crane
LIST
  # These run containers, which only a real node does.
  is_linux && cat <<'LIST'
kubernetes k8s.io/kubernetes/cmd/kubelet kubelet
containerd github.com/containerd/containerd/v2/cmd/containerd containerd
containerd github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 containerd-shim-runc-v2
LIST
  true
}

missing_programs() {
  local module package name
  programs | while read -r module package name; do
    [ -x "$(bin_of "$module")/$name" ] || echo "$module $package $name"
  done
}

find_programs() {
  KUBERNETES_BIN=$(bin_of kubernetes)
  CONTAINERD_BIN=$(bin_of containerd)
  REGISTRY_BIN=$(bin_of registry)
  CRANE_BIN=$(bin_of crane)
}

# Builds what the cache lacks. A second build waits for the first and then finds everything done.
build_programs() {
  find_programs
  [ -z "$(missing_programs)" ] && return
  (
    with_lock "$CACHE/build.lock"
    local missing total count=0 module package name
    missing=$(missing_programs)
    [ -z "$missing" ] && exit 0
    need_go
    total=$(wc -l <<<"$missing" | tr -d ' ')
    step "Building the cluster's programs (about 6 minutes on two cores, once; kept in $CACHE)"
    while read -r module package name; do
      count=$((count + 1))
      build_program "$count/$total" "$module" "$package" "$name"
    done <<<"$missing"
  ) || exit 1
}

need_go() {
  have go || fail "Building the cluster needs Go 1.26 or newer, and there is no 'go' here." "Install it from the Go project's site (golang packages of older distributions are too old)."
}

build_program() {
  local progress=$1 module=$2 package=$3 name=$4 flags='-s -w' began=$SECONDS log="$CACHE/build-$4.log" target
  target=$(bin_of "$module")
  mkdir -p "$target"
  [ "$module" = kubernetes ] && flags="$flags $(kubernetes_version_flags "$(kubernetes_version)")"
  remark "[$progress] $name"
  # Written beside its place and moved there, so that an interrupted build leaves no half of a binary.
  (cd "$CLUSTER/$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice -n 5 \
    go build -trimpath -ldflags "$flags" -o "$target/.$name.new" "$package") >"$log" 2>&1 9>&- &
  show_time_passing $! "$name" || {
    tail -n 20 "$log" | sed 's/^/  | /' >&2
    fail "$name did not build." "The whole log: $log" "Without network the Go modules must be in the module cache already."
  }
  mv "$target/.$name.new" "$target/$name"
  rm -f "$log"
  remark "[$progress] $name built in $((SECONDS - began)) s"
}

show_time_passing() {
  local pid=$1 name=$2 began=$SECONDS next=30
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    [ $((SECONDS - began)) -lt "$next" ] && continue
    remark "      $name: $((SECONDS - began)) s so far"
    next=$((next + 30))
  done
  wait "$pid"
}
