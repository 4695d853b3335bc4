# shellcheck shell=bash
# The SQL in the source is checked against a real schema while it compiles. Where there is no database, the compiler
# takes what was recorded in .sqlx: one file a query, named after its text. Source common.sh and postgres.sh first.

# record_queries FOLDER PORT COMMAND…: runs the command, a cargo that compiles everything, against an empty database
# with the migrations on the Postgres at PORT, and leaves what it learned about each query in FOLDER.
record_queries() {
  local folder=$1 port=$2 database=pilothouse_queries_$$ status=0 file
  shift 2
  local psql=("$PG_PROGRAMS/psql" --host=127.0.0.1 --port="$port" --username=pilothouse --no-psqlrc --quiet --set=ON_ERROR_STOP=1)
  rm -rf "$folder" && mkdir -p "$folder" || return 1
  "${psql[@]}" --dbname=postgres --command="create database $database" || return 1
  for file in "$CHECKOUT"/migrations/*.sql; do
    "${psql[@]}" --dbname="$database" --single-transaction --file="$file" || { status=1; break; }
  done
  if [ "$status" = 0 ]; then
    look_changed
    SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$folder DATABASE_URL=postgres://pilothouse@127.0.0.1:$port/$database "$@" || status=1
    look_unchanged
  fi
  "${psql[@]}" --dbname=postgres --command="drop database $database with (force)"
  return "$status"
}

# What is compiled already would not look at its queries again. Afterwards the files are as old as they were, so that
# other builds, which have no need to, do not start over.
ROOTS="src/lib.rs src/main.rs tests/main.rs"
look_changed() {
  local file
  TIMES=$(mktemp -d)
  for file in $ROOTS; do touch -r "$CHECKOUT/$file" "$TIMES/${file//\//-}" && touch "$CHECKOUT/$file"; done
}
look_unchanged() {
  local file
  for file in $ROOTS; do touch -r "$TIMES/${file//\//-}" "$CHECKOUT/$file"; done
  rm -rf "$TIMES"
}

# compare_queries FOLDER: says which recorded queries differ from .sqlx, which are missing there and which nobody asks any more.
compare_queries() {
  mkdir -p "$CHECKOUT/.sqlx"
  diff --brief --recursive "$CHECKOUT/.sqlx" "$1" >&2 && return
  say "The queries in the source are not the ones recorded in .sqlx. Record them: bin/prepare-queries"
  return 1
}
