# shellcheck shell=bash
# The Rust toolchain, and building with it. Source common.sh first.

# Builds take the recorded queries of .sqlx, so that none of them needs a database. CARGO names another cargo.
cargo_offline() { SQLX_OFFLINE=true "${CARGO:-cargo}" "$@"; }

rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$CHECKOUT/Cargo.toml"; }

rust_is_new_enough() {
  local found
  found=$(rustc --version 2>/dev/null | cut -d' ' -f2)
  [ -n "$found" ] && [ "$(printf '%s\n' "$(rust_wanted)" "${found%%-*}" | sort -V | head -n 1)" = "$(rust_wanted)" ]
}

rust_advice() { echo "Rust $(rust_wanted) or newer:  get rustup from the Rust project's site (Debian 13: apt-get install rustup), then: rustup default stable"; }

need_rust() {
  rust_is_new_enough || fail "Rust is missing or too old here ($(rustc --version 2>/dev/null || echo 'no rustc'))." "$(rust_advice)"
}
