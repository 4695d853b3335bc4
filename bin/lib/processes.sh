# shellcheck shell=bash
# Background processes that outlive the script: each in a session of its own, with a log and a pid file.
# A pid file holds the pid and the time the process began, so that a number the system gave to
# somebody else since then is never taken for ours. Callers set RUN_DIR and LOG_DIR.

# start_process NAME COMMAND…: does nothing when NAME already runs.
start_process() {
  local name=$1 pid
  shift
  process_is_running "$name" && return
  [ -s "$LOG_DIR/$name.log" ] && mv "$LOG_DIR/$name.log" "$LOG_DIR/$name.previous.log"
  in_own_session "$@" >"$LOG_DIR/$name.log" 2>&1 </dev/null 9>&- &
  pid=$!
  printf '%s %s\n' "$pid" "$(began_at "$pid")" >"$RUN_DIR/$name.pid"
}

# The shell forks, so setsid need not: the pid stays the one the shell knows.
in_own_session() {
  if have setsid; then exec setsid "$@"; else exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV' "$@"; fi
}

began_at() { LC_ALL=C ps -o lstart= -p "$1" 2>/dev/null | tr -s ' '; }

# Ended but not yet collected by its parent (state Z) counts as gone.
process_is_running() {
  local pid began
  [ -f "$RUN_DIR/$1.pid" ] && read -r pid began <"$RUN_DIR/$1.pid" || return 1
  [ -n "$pid" ] && [ "$(began_at "$pid" | sed 's/^ //; s/ $//')" = "$began" ] || return 1
  case $(ps -o stat= -p "$pid" 2>/dev/null) in '' | Z*) return 1 ;; esac
}

process_is_gone() { ! process_is_running "$1"; }

pid_of() { cut -d' ' -f1 "$RUN_DIR/$1.pid"; }

# stop_process NAME [SECONDS]: asks, waits, insists.
stop_process() {
  local name=$1 patience=${2:-10}
  if process_is_running "$name"; then
    kill -TERM "$(pid_of "$name")" 2>/dev/null
    if ! wait_until "$patience" process_is_gone "$name"; then
      kill -KILL "$(pid_of "$name")" 2>/dev/null
      wait_until 5 process_is_gone "$name" || say "process $(pid_of "$name") ($name) does not end"
    fi
  fi
  rm -f "$RUN_DIR/$name.pid"
}

# expect_ready NAME SECONDS COMMAND…: waits; on failure shows the end of NAME's log and gives up.
expect_ready() {
  local name=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    process_is_running "$name" || give_up_on "$name" "$name ended while starting."
    [ "$SECONDS" -lt "$deadline" ] || give_up_on "$name" "$name did not become ready in time."
    sleep 0.1
  done
}

give_up_on() {
  say ""
  say "The last lines of $LOG_DIR/$1.log:"
  tail -n 20 "$LOG_DIR/$1.log" 2>/dev/null | cut -c1-400 | sed 's/^/  | /' >&2
  fail "$2" "The whole log: $LOG_DIR/$1.log" "${ADVICE_AFTER_FAILURE:-Mend the cause, then run this again.}"
}
