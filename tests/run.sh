#!/usr/bin/env bash
# Installs what the tests need, then checks the format, lints and tests.
set -euo pipefail
cd "$(dirname "$0")/.."

# Programs, as command=package where the two differ.
missing=()
for program in python3 cc=gcc curl h2load=nghttp2-client slowhttptest; do
  command -v "${program%=*}" >/dev/null || missing+=("${program#*=}")
done
# Debian keeps what makes virtual environments in a package of its own.
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  missing+=(python3-venv)
fi
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq "${missing[@]}"
  else
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
fi

# Tools and clients that are not ours, in a place of their own.
tools=target/tools
[ -x "$tools/bin/python" ] || python3 -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check \
  grpcio==1.85.3 \
  h2==4.4.1 \
  redbot==2.7.1 \
  scipy==1.17.1 \
  setuptools==79.0.1 \
  slo-generator==2.6.0 \
  tombi==1.9.6 \
  websockets==17.4

# Debian's Prometheus, unpacked rather than installed: it must not start as a service.
if [ ! -x "$tools/prometheus/usr/bin/promtool" ]; then
  package=$(mktemp -d)
  (cd "$package" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; })
  dpkg -x "$package"/prometheus_*.deb "$tools/prometheus"
  rm -r "$package"
fi

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
cargo test --locked
