# shellcheck shell=bash
# shellcheck disable=SC2034 # the benches read what is set here
# What both benches need: figures, a portal of the release build with 10,000 services on a real cluster, and load on it.
# Source bin/lib's common.sh, processes.sh, postgres.sh and rust.sh first.

# The folder, the lock, the release build, the cluster and an empty database. Sets FOLDER, PLATFORM and SHORT.
begin_bench() {
  FOLDER=$CHECKOUT/.pilothouse/bench
  RUN_DIR=$FOLDER/run LOG_DIR=$FOLDER/logs SHORT=0
  mkdir -p "$RUN_DIR" "$LOG_DIR"
  with_lock "$FOLDER/lock"
  need_debian_packages wrk=wrk node=nodejs curl=curl cc=gcc make=make
  need_rust
  trap 'stop_all' EXIT
  trap 'exit 130' INT TERM HUP

  step "Building the release"
  SQLX_OFFLINE=true "${CARGO:-cargo}" build --release --bin platform 9>&- || fail "The portal did not build."
  PLATFORM=${CARGO_TARGET_DIR:-$CHECKOUT/target}/release/platform
  start_cluster
  stop_process portal
  stop_process sign-in
  pg_stop "$FOLDER/postgres"
  rm -rf "$FOLDER/postgres" "$FOLDER/catalogue"
  pg_start "$FOLDER/postgres" "$POSTGRES_PORT"
  make_catalogue
  write_configuration
}

# figure NAME VALUE UNIT OP GOAL
figure() {
  local verdict=ok
  awk -v value="$2" -v op="$4" -v goal="$5" 'BEGIN { exit !(op == ">=" ? value >= goal : op == "<=" ? value <= goal : value < goal) }' || verdict=short
  [ "$verdict" = ok ] || SHORT=$((SHORT + 1))
  echo "$1 $2 $3 (goal $4 $5) $verdict"
}

median() { sort -n | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }

# seconds_of COMMAND…: its output goes to the log.
seconds_of() {
  local name=$1 began=$EPOCHREALTIME
  shift
  "$@" >"$LOG_DIR/$name.log" 2>&1 9>&- || { tail -n 20 "$LOG_DIR/$name.log" >&2; return 1; }
  since "$began"
}

since() { awk -v began="$1" -v ended="$EPOCHREALTIME" 'BEGIN { printf "%.3f", ended - began }'; }

# Without starting a program for it, which would take longer than some answers.
answers_200() {
  local status=''
  exec 3<>"/dev/tcp/127.0.0.1/$PORT" || return
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&3
  read -r _ status _ <&3
  exec 3>&-
  [ "$status" = 200 ]
} 2>/dev/null

# The first pages after a start wait for the catalogue and for the cluster's objects to be there. WHO is the header of
# whoever asks: a cookie or a token.
shows() {
  [ "$(curl --silent --output "$LOG_DIR/$1.html" --write-out '%{http_code}' --header "$WHO" "http://localhost:$PORT$2")" = 200 ]
}

hit() {
  wrk --threads 2 --connections "$CONNECTIONS" --duration "${2}s" --latency --script bench/report.lua \
    --header "$WHO" "http://127.0.0.1:$PORT$1" | tee "$LOG_DIR/wrk.log" | grep FIGURES
}

make_catalogue() {
  local i
  mkdir -p "$FOLDER/catalogue" "$FOLDER/empty"
  (cd "$FOLDER/catalogue" && mkdir -p $(seq -f %03g 0 199) && awk -v n="$SERVICES" -f "$CHECKOUT/bench/world.awk" |
    awk '/^### / { close(file); file = $2; next } { print > file }')
  for ((i = 0; i < 50; i++)); do
    printf -- '---\napiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: team-%02d}\nspec: {type: team, children: []}\n' "$i"
  done >"$FOLDER/catalogue/teams.yaml"
  cat >"$FOLDER/catalogue/bench.yaml" <<YAML
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: bench-portal
  annotations: {backstage.io/kubernetes-namespace: $NAMESPACE}
spec: {type: service, lifecycle: production, owner: payments}
YAML
}

write_configuration() {
  sed -e "s|@PORT@|$PORT|g" -e "s|@SIGN_IN_PORT@|$SIGN_IN_PORT|g" -e "s|@DATABASE@|$(pg_url "$POSTGRES_PORT")|g" \
    -e "s|@STATE@|$CLUSTER_STATE|g" -e "s|@CHECKOUT@|$CHECKOUT|g" -e "s|@REGISTRY@|$(bin/cluster registry-host)|g" \
    -e "s|^paths = .*|paths = [\"$FOLDER/catalogue\", \"$CHECKOUT/demo/catalogue\"]|" demo/pilothouse.toml >"$FOLDER/pilothouse.toml"
}

# Maya, in a browser: sets COOKIE and WHO.
sign_in() {
  start_sign_in
  start_portal
  COOKIE=$(node bench/portal.mjs sign-in "http://localhost:$PORT" maya) || fail "Maya could not sign in." "The portal's log: $LOG_DIR/portal.log"
  WHO="Cookie: $COOKIE"
}

start_sign_in() {
  start_process sign-in "$PLATFORM" identity-provider --listen "127.0.0.1:$SIGN_IN_PORT" --issuer "http://localhost:$SIGN_IN_PORT" --people demo/people.toml
  expect_ready sign-in 10 curl --silent --fail "http://127.0.0.1:$SIGN_IN_PORT/.well-known/openid-configuration"
}

start_portal() {
  start_process portal "$PLATFORM" serve --config "$FOLDER/pilothouse.toml"
  expect_ready portal 30 answers_200 /readyz
}

start_cluster() {
  CLUSTER_STATE=${PILOTHOUSE_BENCH_STATE:-$FOLDER}
  CLUSTER_STATE=$(cd "$CLUSTER_STATE" && pwd -P) || fail "There is no folder $CLUSTER_STATE."
  export PILOTHOUSE_STATE=$CLUSTER_STATE
  if [ -n "${PILOTHOUSE_BENCH_STATE:-}" ]; then
    bin/cluster status >/dev/null 2>&1 || fail "No cluster runs in $CLUSTER_STATE."
  else
    CLUSTER_STARTED=yes
    bin/cluster up 9>&- || fail "The cluster did not start." "While bin/demo runs, its cluster can be used: PILOTHOUSE_BENCH_STATE=.pilothouse bench/run"
  fi
  # shellcheck disable=SC2046 # one argument a repository
  if ! bin/cluster images $(cat demo/images.txt) 9>&- || ! demo/apply >&2 9>&-; then
    fail "The sample world could not be put on the cluster."
  fi
}

