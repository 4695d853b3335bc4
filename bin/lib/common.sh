# shellcheck shell=bash
# What the scripts of bin/ share: how they talk, how they fail, how they find what the machine lacks.
# Source it; it changes nothing by itself.

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
  BOLD=$'\033[1m' FAINT=$'\033[2m' RED=$'\033[31m' PLAIN=$'\033[0m'
else
  BOLD='' FAINT='' RED='' PLAIN=''
fi

# Progress and remarks go to stderr, so that a script's answer on stdout can be piped.
say() { printf '%s\n' "$*" >&2; }
step() { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*" >&2; }
remark() { printf '    %s%s%s\n' "$FAINT" "$*" "$PLAIN" >&2; }

# fail WHAT [HOW TO MEND]…: one line for what went wrong, one for each thing to do.
fail() {
  printf '%serror:%s %s\n' "$RED$BOLD" "$PLAIN" "$1" >&2
  shift
  local advice
  for advice in "$@"; do printf '       %s\n' "$advice" >&2; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
is_linux() { [ "$(uname -s)" = Linux ]; }
is_root() { [ "$(id -u)" = 0 ]; }

# need_debian_packages FILE-OR-PROGRAM=PACKAGE…: installs what is missing when it may, names it when it may not.
need_debian_packages() {
  local pair probe missing=()
  for pair in "$@"; do
    probe=${pair%%=*}
    case $probe in
      /*) [ -e "$probe" ] || missing+=("${pair#*=}") ;;
      *) have "$probe" || missing+=("${pair#*=}") ;;
    esac
  done
  [ "${#missing[@]}" = 0 ] && return
  if is_root && have apt-get; then
    step "Installing ${missing[*]} (Debian packages)"
    apt_install "${missing[@]}" && return
    fail "apt-get could not install: ${missing[*]}" "Install them by hand, then run this again."
  fi
  fail "This machine lacks: ${missing[*]}" "As root on Debian or Ubuntu: apt-get install ${missing[*]}"
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 && return
  apt-get update >/dev/null 2>&1
  apt-get install -y --no-install-recommends "$@" >&2
}

# with_lock FILE: waits for the lock and holds it until this script ends, on descriptor 9.
# Whatever outlives the script must be started with 9>&-.
with_lock() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  try_lock && return
  remark "waiting for another run to finish ($1)"
  if have flock; then flock 9; else perl -e 'use Fcntl ":flock"; open(my $f, ">&=", 9); flock($f, LOCK_EX)'; fi
}

try_lock() {
  if have flock; then flock --nonblock 9; else
    perl -e 'use Fcntl ":flock"; open(my $f, ">&=", 9); exit !flock($f, LOCK_EX | LOCK_NB)'
  fi
}

# wait_until SECONDS COMMAND…: true as soon as the command is, false when time is up.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

port_is_busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

sha256_of() { cat "$@" | { if have sha256sum; then sha256sum; else shasum -a 256; fi; } | cut -c1-16; }
