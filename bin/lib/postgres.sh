# shellcheck shell=bash
# A Postgres of the checkout's own: data, socket and log in one folder, loopback only, user `pilothouse` without
# a password. Source common.sh first.
#
#   pg_start DIR PORT   start it (made on first use); already running is fine
#   pg_stop DIR         stop it; the data stays
#   pg_url PORT         the address to connect to

# Postgres refuses to run as root, and another user cannot enter a checkout in a private home. In a user
# namespace of its own it is user 1000, while outside the files stay ours.
pg_run() {
  if is_root; then unshare --user --map-user=1000 --map-group=1000 "$@" 9>&-; else "$@" 9>&-; fi
}

pg_url() { echo "postgres://pilothouse@127.0.0.1:$1/pilothouse"; }

pg_start() {
  local folder=$1 port=$2
  (umask 077 && mkdir -p "$folder") || fail "The folder $folder cannot be made."
  folder=$(cd "$folder" && pwd -P)
  [ "${#folder}" -le 85 ] || fail "The folder's path is too long for Postgres' socket: $folder" "Choose a shorter one with PILOTHOUSE_STATE."
  pg_find_programs "$folder"
  pg_forget_dead_server "$folder"
  if pg_is_running "$folder"; then
    [ "$(sed -n 4p "$folder/data/postmaster.pid")" = "$port" ] && return
    fail "Postgres in $folder already runs, on port $(sed -n 4p "$folder/data/postmaster.pid")." "Stop it first, or use that port."
  fi
  if port_is_busy "$port"; then
    fail "Port $port on 127.0.0.1 is taken by another program; Postgres wants it." "${PG_PORT_ADVICE:-Choose another port.}"
  fi
  [ -f "$folder/data/PG_VERSION" ] || pg_create "$folder"

  pg_run "$PG_PROGRAMS/pg_ctl" start --wait --timeout=60 --silent --pgdata="$folder/data" --log="$folder/postgres.log" \
    --options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='$folder' ${PG_OPTIONS:-}" >/dev/null || {
    tail -n 20 "$folder/postgres.log" | sed 's/^/  | /' >&2
    fail "Postgres did not start." "The whole log: $folder/postgres.log"
  }
  pg_create_database "$folder" "$port"
}

pg_stop() {
  local folder=$1
  [ -f "$folder/data/postmaster.pid" ] || return 0
  folder=$(cd "$folder" && pwd -P)
  pg_find_programs "$folder"
  pg_forget_dead_server "$folder"
  pg_is_running "$folder" || return 0
  # `fast` ends connections and keeps what was committed.
  pg_run "$PG_PROGRAMS/pg_ctl" stop --wait --timeout=30 --mode=fast --silent --pgdata="$folder/data"
}

# Sets PG_PROGRAMS: the folder of the version that made the data, else of the newest, installed now if there is none.
pg_find_programs() {
  local version
  version=$(cat "$1/data/PG_VERSION" 2>/dev/null)
  PG_PROGRAMS=$(pg_installed "$version")
  [ -n "$PG_PROGRAMS" ] && return
  [ -z "$version" ] || fail "The data in $1 was made by Postgres $version, which is not installed." \
    "As root on Debian or Ubuntu: apt-get install postgresql-$version"
  pg_install
  PG_PROGRAMS=$(pg_installed '')
  [ -n "$PG_PROGRAMS" ] || fail "There is no Postgres here." "As root on Debian or Ubuntu: apt-get install postgresql"
}

# Debian keeps its versions side by side; elsewhere whatever is on the PATH is the one.
pg_installed() {
  local folder newest=''
  for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
    [ -x "$folder/pg_ctl" ] || continue
    if [ -z "$1" ] || [ "$folder" = "/usr/lib/postgresql/$1/bin" ]; then newest=$folder; fi
  done
  if [ -n "$newest" ]; then echo "$newest"; elif have pg_ctl; then dirname "$(command -v pg_ctl)"; fi
}

# Debian's package would start a server of its own; this machine asked for none.
pg_install() {
  is_root && have apt-get || return 0
  step "Installing Postgres (Debian package)"
  apt_install postgresql-common &&
    sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf &&
    apt_install postgresql
}

pg_is_running() { pg_run "$PG_PROGRAMS/pg_ctl" status --pgdata="$1/data" >/dev/null 2>&1; }

# After a crash the pid file and the socket's lock name a process that is gone, or has become somebody else's.
pg_forget_dead_server() {
  local pid_file="$1/data/postmaster.pid" pid
  [ -f "$pid_file" ] || return 0
  pid=$(head -n 1 "$pid_file")
  case $(ps -o args= -p "$pid" 2>/dev/null) in *"$1/data"*) ;; *) rm -f "$pid_file" "$1"/.s.PGSQL.* ;; esac
}

pg_create() {
  step "Making a Postgres database in $1"
  pg_run "$PG_PROGRAMS/initdb" --pgdata="$1/data" --username=pilothouse --auth=trust --encoding=UTF8 --no-locale --no-instructions \
    >"$1/initdb.log" 2>&1 || {
    tail -n 20 "$1/initdb.log" | sed 's/^/  | /' >&2
    rm -rf "$1/data"
    fail "Postgres could not make its database." "The whole log: $1/initdb.log"
  }
}

pg_create_database() {
  local psql=("$PG_PROGRAMS/psql" --host="$1" --port="$2" --username=pilothouse --no-psqlrc --quiet --tuples-only --no-align --dbname=postgres)
  [ "$("${psql[@]}" --command="select 1 from pg_database where datname = 'pilothouse'")" = 1 ] ||
    "${psql[@]}" --command='create database pilothouse' || fail "The database pilothouse could not be made."
}
