# shellcheck shell=bash
# A Keycloak for the tests: a real identity provider on loopback, with an administrator and no realm of ours. Each test
# makes a realm of its own from install/keycloak-realm.json. Source common.sh and processes.sh first.
#
#   keycloak_packages         what the machine has to have, in the words of need_debian_packages
#   keycloak_start DIR PORT   begins it anew; DIR holds its database and log
#   keycloak_stop DIR         stops it
#   keycloak_url PORT         where it answers

KEYCLOAK_VERSION=26.7.3
KEYCLOAK_SHA256=77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47
KEYCLOAK_HOME=${PILOTHOUSE_CACHE:-$HOME/.cache/pilothouse}/keycloak/$KEYCLOAK_VERSION
# The administrator's, on the loopback and as long as the tests; tests/support/keycloak.rs knows it as well.
KEYCLOAK_PASSWORD=only-for-this-machine

keycloak_url() { echo "http://127.0.0.1:$1"; }

keycloak_packages() {
  printf 'java=default-jre-headless'
  [ -d "$KEYCLOAK_HOME" ] || printf ' mvn=maven'
}

keycloak_start() {
  local folder=$1 port=$2 began=$SECONDS
  local RUN_DIR=$folder/run LOG_DIR=$folder/log
  keycloak_stop "$folder"
  port_is_busy "$port" && fail "Port $port on 127.0.0.1 is taken by another program; Keycloak wants it." "${KEYCLOAK_PORT_ADVICE:-Choose another port.}"
  keycloak_prepare
  if ! { rm -rf "$folder" && mkdir -p "$RUN_DIR" "$LOG_DIR"; }; then fail "The folder $folder cannot be made."; fi
  # Programs are shared, the database is this run's own. kc.sh finds its home by its own place, so it has to be a copy.
  if ! { cp -R "$KEYCLOAK_HOME/bin" "$KEYCLOAK_HOME/conf" "$KEYCLOAK_HOME/data" "$folder/" &&
    ln -s "$KEYCLOAK_HOME/lib" "$KEYCLOAK_HOME/providers" "$KEYCLOAK_HOME/themes" "$folder/"; }; then
    fail "$folder cannot be filled."
  fi
  # Without a hostname the issuer follows the address it is asked at, so that a test can put something in between.
  keycloak_settings start_process keycloak "$folder/bin/kc.sh" start --optimized --cache=local --log-level=warn \
    --http-enabled=true --http-host=127.0.0.1 --http-port="$port" --hostname-strict=false
  expect_ready keycloak 180 keycloak_answers "$port"
  say "Keycloak $KEYCLOAK_VERSION answers at $(keycloak_url "$port") after $((SECONDS - began)) s"
}

keycloak_stop() {
  local RUN_DIR=$1/run LOG_DIR=$1/log
  [ ! -d "$RUN_DIR" ] || stop_process keycloak 20
}

keycloak_answers() {
  curl --silent --fail --output /dev/null --max-time 5 "$(keycloak_url "$1")/realms/master/.well-known/openid-configuration"
}

# Small, and quick to begin: it serves a few sign-ins and is gone.
keycloak_settings() {
  KEYCLOAK_PASSWORD=$KEYCLOAK_PASSWORD JAVA_OPTS="-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true" "$@"
}

# Once a version: fetched, built for its embedded database, and that database made, all of it kept in the cache. It is
# put together beside its place and moved there, so that an interrupted run leaves no half of it.
keycloak_prepare() {
  [ -d "$KEYCLOAK_HOME" ] && return
  (
    mkdir -p "$(dirname "$KEYCLOAK_HOME")"
    with_lock "$(dirname "$KEYCLOAK_HOME")/lock"
    [ -d "$KEYCLOAK_HOME" ] && exit 0
    draft=$KEYCLOAK_HOME.new began=$SECONDS
    rm -rf "$draft" && mkdir -p "$draft"
    step "Fetching Keycloak $KEYCLOAK_VERSION (176 MB, once; kept in $KEYCLOAK_HOME)"
    keycloak_fetch "$draft/keycloak.tar.gz"
    tar -xzf "$draft/keycloak.tar.gz" -C "$draft" --strip-components=1 && rm "$draft/keycloak.tar.gz" || fail "Keycloak's archive cannot be unpacked in $draft."
    remark "fetched in $((SECONDS - began)) s"
    step "Building Keycloak and its database (under a minute, once)"
    keycloak_settings "$draft/bin/kc.sh" build --db=dev-file --health-enabled=false --metrics-enabled=false >&2 || fail "Keycloak did not build."
    keycloak_settings "$draft/bin/kc.sh" bootstrap-admin user --optimized --username=admin --password:env=KEYCLOAK_PASSWORD --no-prompt >&2 ||
      fail "Keycloak could not make its database."
    mv "$draft" "$KEYCLOAK_HOME"
    remark "ready after $((SECONDS - began)) s"
  ) || exit 1
}

keycloak_fetch() {
  mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact=org.keycloak:keycloak-quarkus-dist:"$KEYCLOAK_VERSION":tar.gz -DoutputDirectory="$(dirname "$1")" -Dmdep.stripVersion >&2 ||
    fail "Maven could not fetch Keycloak $KEYCLOAK_VERSION." "The tests want it: check the network, or the mirror in ~/.m2/settings.xml."
  mv "$(dirname "$1")/keycloak-quarkus-dist.tar.gz" "$1"
  [ "$({ sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -d' ' -f1)" = "$KEYCLOAK_SHA256" ] ||
    fail "What Maven fetched is not the Keycloak $KEYCLOAK_VERSION that was asked for: its SHA-256 differs." "If the version was changed on purpose, change KEYCLOAK_SHA256 beside it."
}
