#!/usr/bin/env bash
# Install the real programs that tests/peers talks to, on Debian or Ubuntu.
# What is installed already is left alone; with nothing to do it takes well under a second.
set -euo pipefail

packages=(
  topcat      # the partner of astro_cluster.send; brings Java
  stilts      # reads our files, and lints them
  xvfb        # a screen for TOPCAT where there is none
  imagemagick # `import`: pictures of that screen
)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "install-peers.sh knows Debian and Ubuntu only. Install with your own package manager:" \
    "${packages[*]}. Without them the tests in tests/peers are skipped." >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  if ! dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then
    missing+=("$package")
  fi
done
if ((${#missing[@]} == 0)); then
  echo "All peers are installed: ${packages[*]}"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "Run this as root, or install sudo; missing: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
