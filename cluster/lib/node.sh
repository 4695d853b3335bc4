# shellcheck shell=bash disable=SC2034 # sourced by bin/cluster, which reads what is set here
# The real node: a bridge, containerd and a kubelet, all of them this cluster's own.
# There can be one on a machine, because the bridge, its addresses and the kubelet's control groups are the machine's.

RUNTIME=/run/pilothouse # sockets and mounts; short, because a socket's path may have 107 characters at most
NODE_PACKAGES="runc=runc /usr/lib/cni/bridge=containernetworking-plugins ip=iproute2 mount=mount"

claim_the_machine() {
  mkdir -p "$RUNTIME"
  local other
  other=$(cat "$RUNTIME/owner" 2>/dev/null)
  if [ -n "$other" ] && [ "$other" != "$STATE" ] && node_of_other_state_runs "$other"; then
    local other_checkout
    other_checkout=$(cat "$other/checkout" 2>/dev/null)
    fail "This machine's real node belongs to the cluster in ${other%/cluster}; there can be only one." \
      "Stop that one:  ${other_checkout:-$CHECKOUT}/bin/cluster down --state ${other%/cluster}" \
      "or have a cluster without real containers beside it:  bin/cluster up --simulated (with ports of its own: bin/cluster --help)"
  fi
  [ "$other" = "$STATE" ] || clear_the_machine
  mkdir -p "$RUNTIME"
  echo "$STATE" >"$RUNTIME/owner"
}

node_of_other_state_runs() (
  RUN_DIR="$1/run"
  process_is_running kubelet || process_is_running containerd
)

check_lengths() {
  [ "${#STATE}" -le 75 ] || fail "The state folder's path is too long for the kubelet's sockets: $STATE" \
    "Choose a shorter one with --state DIR or PILOTHOUSE_STATE."
}

make_bridge() {
  # The kubelet refuses a loopback address as the node's, so the bridge comes before the first pod.
  ip link show "$BRIDGE" >/dev/null 2>&1 && return
  ip -4 -o address show | grep -q " $NODE_IP/" &&
    fail "Another interface of this machine has the address $NODE_IP." "Choose another network: PILOTHOUSE_POD_CIDR=10.89.0.0/16 bin/cluster up"
  if ! { ip link add "$BRIDGE" type bridge && ip address add "$NODE_IP/${POD_CIDR#*/}" dev "$BRIDGE" && ip link set "$BRIDGE" up; }; then
    fail "The bridge $BRIDGE could not be made." "It needs the right to configure the network (CAP_NET_ADMIN)."
  fi
}

# overlayfs cannot lie on overlayfs, which is what a container's own disk usually is.
snapshotter() { [ "$(stat -f -c %T "$STATE")" = overlayfs ] && echo native || echo overlayfs; }

start_containerd() {
  PATH="$CONTAINERD_BIN:$PATH" start_process containerd "$CONTAINERD_BIN/containerd" --config "$STATE/config/containerd.toml"
}

start_kubelet() {
  NODE_STARTED_AT=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  start_process kubelet "$KUBERNETES_BIN/kubelet" --config="$STATE/config/kubelet.yaml" \
    --kubeconfig="$STATE/config/node.kubeconfig" --root-dir="$STATE/kubelet" --cert-dir="$STATE/kubelet/pki" \
    --hostname-override="$NODE_NAME" --node-ip="$NODE_IP"
}

# The object may still say Ready from an earlier run: only a report made since the start counts.
node_is_ready() {
  local reported
  reported=$(kubectl_as_admin get node "$NODE_NAME" \
    -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}' 2>/dev/null)
  [ "${reported%% *}" = True ] && [[ ! "${reported#* }" < "${NODE_STARTED_AT:-}" ]]
}

stop_node() {
  stop_process kubelet 5
  stop_process containerd 5
  [ "$(cat "$RUNTIME/owner" 2>/dev/null)" = "$STATE" ] && clear_the_machine
  true
}

# Shims outlive containerd by design. Ours are the ones that talk to our socket; their children are the containers.
our_shims() { grep -lsz -- "^$RUNTIME/containerd.sock$" /proc/[0-9]*/cmdline | cut -d/ -f3 | while read -r pid; do
  case $(readlink "/proc/$pid/exe") in */containerd-shim-runc-v2*) echo "$pid" ;; esac
done; }

end_our_containers() {
  local shims
  shims=$(our_shims)
  [ -n "$shims" ] || return 0
  ps -eo pid=,ppid= | awk 'NR == FNR { shim[$1]; next } $2 in shim { print $1 }' <(echo "$shims") - | xargs -r kill -KILL 2>/dev/null
  echo "$shims" | xargs kill -KILL 2>/dev/null
}

# containerd fixes where shims listen, whatever its own state folder is.
remove_shim_sockets() {
  grep -rhos --include=bootstrap.json '/run/containerd/s/[0-9a-f]*' "$RUNTIME/containerd" | sort -u | xargs -r rm -f
  rmdir /run/containerd/s /run/containerd 2>/dev/null
  true
}

no_shim_is_left() { [ -z "$(our_shims)" ]; }

# Ends containers, mounts, bridge and control groups of a node that has stopped or died.
clear_the_machine() {
  end_our_containers
  wait_until 5 no_shim_is_left || say "some containers do not end: $(our_shims | tr '\n' ' ')"
  remove_shim_sockets
  unmount_at_and_below "$RUNTIME"
  unmount_at_and_below "$STATE/kubelet"
  ip link delete "$BRIDGE" 2>/dev/null
  remove_empty_control_groups
  rm -rf "$RUNTIME"
}

# The kubelet also mounts its own folder onto itself.
unmount_at_and_below() {
  cut -d' ' -f5 /proc/self/mountinfo | grep -E -- "^$1(/|$)" | sort -r | while read -r mounted; do umount -l "$mounted"; done
}

remove_empty_control_groups() {
  local groups
  for groups in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    [ -d "$groups" ] && find "$groups" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  true
}
