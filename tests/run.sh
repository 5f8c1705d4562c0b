#!/usr/bin/env bash
# Installs what the tests need, then formats, lints and tests.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for program in python3 cc; do
  command -v "$program" >/dev/null || missing+=("$program")
done
# Debian keeps what makes virtual environments in a package of its own.
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  missing+=(python3-venv)
fi
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

# The language tool that tests/schema.rs asks about the JSON schema, in a place of its own.
tombi=1.9.6
if [ "$(target/tools/bin/tombi --version 2>/dev/null | cut -d' ' -f2)" != "$tombi" ]; then
  python3 -m venv --clear target/tools
  target/tools/bin/pip install --quiet --disable-pip-version-check "tombi==$tombi"
fi

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
cargo test --locked
