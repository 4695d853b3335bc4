# shellcheck shell=bash
# Simulated nodes: kwok reports them and their pods as running, and nothing really runs.

SIMULATED_NODES="sim-1 sim-2 sim-3"

start_simulator() {
  start_process kwok "$KUBERNETES_BIN/kwok" --kubeconfig="$STATE/config/simulator.kubeconfig" --config="$STATE/config/kwok.yaml" \
    --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --cidr=10.99.0.0/16 \
    --node-ip=127.0.0.1 --node-port="$SIMULATOR_PORT" --server-address="127.0.0.1:$SIMULATOR_PORT" \
    --tls-cert-file="$STATE/pki/simulator.crt" --tls-private-key-file="$STATE/pki/simulator.key" --node-lease-duration-seconds=40
}

# Beside a real node they are tainted, so that only pods which ask for it are simulated. Alone, they take everything.
create_simulated_nodes() {
  local name taints='[]'
  [ "$MODE" = real ] && taints='[{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]'
  for name in $SIMULATED_NODES; do
    sed -e "s|@NAME@|$name|g" -e "s|@TAINTS@|$taints|g" "$CLUSTER/config/simulated-node.yaml"
    echo "---"
  done | kubectl_as_admin apply -f - >/dev/null || fail "The simulated nodes could not be created."
}

simulated_nodes_are_ready() {
  # shellcheck disable=SC2086 # one argument a node
  [ "$(kubectl_as_admin get node $SIMULATED_NODES -o 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}')" = "True True True" ]
}
