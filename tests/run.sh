#!/usr/bin/env bash
# Installs what the tests need, then formats, lints and tests.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for program in python3 cc; do
  command -v "$program" >/dev/null || missing+=("$program")
done
if [ "${#missing[@]}" -gt 0 ]; then
  # `cc` comes with gcc; everything else is called as its package.
  packages=("${missing[@]/#cc/gcc}")
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq "${packages[@]}"
  else
    echo "please install: ${packages[*]}" >&2
    exit 1
  fi
fi

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
cargo test --locked
