# shellcheck shell=bash
# etcd, the API server, the controllers, the scheduler, and the image registry beside them.

start_etcd() {
  # --unsafe-no-fsync: this is a development cluster, and waiting for the disk is most of what etcd does.
  start_process etcd "$KUBERNETES_BIN/etcd" --name=pilothouse --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls="http://127.0.0.1:$ETCD_PORT" --advertise-client-urls="http://127.0.0.1:$ETCD_PORT" \
    --listen-peer-urls="http://127.0.0.1:$ETCD_PEER_PORT" --initial-advertise-peer-urls="http://127.0.0.1:$ETCD_PEER_PORT" \
    --initial-cluster="pilothouse=http://127.0.0.1:$ETCD_PEER_PORT" \
    --auto-compaction-mode=periodic --auto-compaction-retention=30m --quota-backend-bytes=4294967296
}

start_apiserver() {
  local pki="$STATE/pki"
  start_process kube-apiserver "$KUBERNETES_BIN/kube-apiserver" \
    --etcd-servers="http://127.0.0.1:$ETCD_PORT" --bind-address=127.0.0.1 --secure-port="$API_PORT" \
    --advertise-address=127.0.0.1 --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-client-certificate="$pki/kubelet-client.crt" \
    --kubelet-client-key="$pki/kubelet-client.key" --kubelet-preferred-address-types=InternalIP,Hostname \
    --service-account-key-file="$pki/service-account.pub" --service-account-signing-key-file="$pki/service-account.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction,PodSecurity,ResourceQuota,LimitRanger \
    --audit-policy-file="$CLUSTER/config/audit-policy.yaml" --audit-log-path="$STATE/audit.log" \
    --audit-log-maxsize=200 --audit-log-maxbackup=5 \
    --shutdown-delay-duration=0s --event-ttl=2h
}

api_is_ready() { kubectl_as_admin get --raw /readyz; }

start_controllers() {
  start_process kube-controller-manager "$KUBERNETES_BIN/kube-controller-manager" \
    --kubeconfig="$STATE/config/controller-manager.kubeconfig" --leader-elect=false --use-service-account-credentials \
    --service-account-private-key-file="$STATE/pki/service-account.key" --root-ca-file="$STATE/pki/ca.crt" \
    --bind-address=127.0.0.1 --secure-port="$CONTROLLERS_PORT" \
    --tls-cert-file="$STATE/pki/controller-manager.crt" --tls-private-key-file="$STATE/pki/controller-manager.key" \
    --kube-api-qps=200 --kube-api-burst=400
  start_process kube-scheduler "$KUBERNETES_BIN/kube-scheduler" \
    --kubeconfig="$STATE/config/scheduler.kubeconfig" --leader-elect=false \
    --bind-address=127.0.0.1 --secure-port="$SCHEDULER_PORT" \
    --tls-cert-file="$STATE/pki/scheduler.crt" --tls-private-key-file="$STATE/pki/scheduler.key" \
    --kube-api-qps=200 --kube-api-burst=400
}

# Every port is asked for its health as the programs define it: an HTTPS GET that answers "ok".
answers_ok() { curl --silent --fail --output /dev/null --insecure --max-time 2 "https://127.0.0.1:$1/healthz"; }

start_registry() {
  OTEL_TRACES_EXPORTER=none start_process registry "$REGISTRY_BIN/registry" serve "$STATE/config/registry.yml"
}

registry_answers() { curl --silent --fail --output /dev/null --max-time 2 "http://$REGISTRY/v2/"; }

# The API server calls the kubelet as a client that may do just that.
allow_api_server_to_reach_nodes() {
  kubectl_as_admin get clusterrolebinding pilothouse-kubelet-client >/dev/null 2>&1 && return
  kubectl_as_admin create clusterrolebinding pilothouse-kubelet-client \
    --clusterrole=system:kubelet-api-admin --user=kube-apiserver-kubelet-client >/dev/null
}

# Applied at every start: the file is the truth about the portal's rights, also after somebody edited it.
grant_portal_rights() {
  [ -f "$CHECKOUT/install/rbac.yaml" ] || return 0
  kubectl_as_admin apply --server-side --force-conflicts -f "$CHECKOUT/install/rbac.yaml" >/dev/null ||
    fail "install/rbac.yaml was refused by the API server."
}
