# shellcheck shell=bash
# The cluster's certificates: one authority, servers, and a client certificate per identity.
# Made once per state folder and node address; they last ten years, the cluster does not.

make_certificates() {
  [ "$(cat "$STATE/pki/made-for" 2>/dev/null)" = "$NODE_IP" ] && return
  step "Making certificates"
  mkdir -p "$STATE/pki" && chmod 700 "$STATE/pki"
  make_authority
  openssl genrsa -out "$STATE/pki/service-account.key" 2048 2>/dev/null
  openssl rsa -in "$STATE/pki/service-account.key" -pubout -out "$STATE/pki/service-account.pub" 2>/dev/null

  certificate apiserver "/CN=kube-apiserver" "IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc"
  certificate kubelet-client "/O=pilothouse:kubelet-clients/CN=kube-apiserver-kubelet-client"
  certificate node "/O=system:nodes/CN=system:node:$NODE_NAME" "IP:$NODE_IP,IP:127.0.0.1,DNS:$NODE_NAME"
  certificate controller-manager "/CN=system:kube-controller-manager" "IP:127.0.0.1"
  certificate scheduler "/CN=system:kube-scheduler" "IP:127.0.0.1"
  certificate simulator "/O=system:masters/CN=pilothouse:simulator" "IP:127.0.0.1"
  certificate admin "/O=system:masters/CN=cluster-admin"
  # The portal's own identity: what it may do is install/rbac.yaml and nothing else.
  certificate pilothouse "/O=pilothouse:portal/CN=pilothouse"
  echo "$NODE_IP" >"$STATE/pki/made-for"
}

make_authority() {
  openssl ecparam -genkey -name prime256v1 -noout -out "$STATE/pki/ca.key"
  openssl req -x509 -new -key "$STATE/pki/ca.key" -sha256 -days 3650 -subj "/CN=pilothouse-development-cluster" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$STATE/pki/ca.crt"
}

# certificate NAME SUBJECT [ADDRESSES]
certificate() {
  local file="$STATE/pki/$1" extensions="extendedKeyUsage=clientAuth,serverAuth"
  [ -n "${3:-}" ] && extensions="$extensions"$'\n'"subjectAltName=$3"
  openssl ecparam -genkey -name prime256v1 -noout -out "$file.key"
  openssl req -new -key "$file.key" -subj "$2" -out "$file.csr"
  openssl x509 -req -in "$file.csr" -CA "$STATE/pki/ca.crt" -CAkey "$STATE/pki/ca.key" -CAcreateserial -sha256 -days 3650 \
    -extfile <(printf '%s\n' "$extensions") -out "$file.crt" 2>/dev/null
  rm "$file.csr"
}

# kubeconfig FILE CERTIFICATE: everything inside the file, so that it can be copied and mounted.
kubeconfig() {
  local encoded_authority encoded_certificate encoded_key
  encoded_authority=$(base64 <"$STATE/pki/ca.crt" | tr -d '\n')
  encoded_certificate=$(base64 <"$STATE/pki/$2.crt" | tr -d '\n')
  encoded_key=$(base64 <"$STATE/pki/$2.key" | tr -d '\n')
  (umask 077 && cat >"$1") <<KUBECONFIG
apiVersion: v1
kind: Config
current-context: pilothouse
clusters: [{name: pilothouse, cluster: {server: "https://127.0.0.1:$API_PORT", certificate-authority-data: $encoded_authority}}]
contexts: [{name: pilothouse, context: {cluster: pilothouse, user: $2}}]
users: [{name: $2, user: {client-certificate-data: $encoded_certificate, client-key-data: $encoded_key}}]
KUBECONFIG
}
