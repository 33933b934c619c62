#!/usr/bin/env bash
# Install the real programs that tests/peers talks to, on Debian or Ubuntu.
# What is installed already is left alone; with nothing to do it takes well under a second.
# No service is set up: the tests start servers of their own, and none is left running here.
set -euo pipefail

packages=(
  topcat       # the partner of astro_cluster.send; brings Java
  stilts       # reads our files, and lints them
  saods9       # the partner of astro_cluster.show
  xvfb         # a screen for TOPCAT and DS9 where there is none
  xdotool      # the hand of a person on that screen
  imagemagick  # `import`: pictures of that screen
  python3-gavo # DaCHS, the TAP server. gavodachs2-server would add a system service and a database for it
)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "install-peers.sh knows Debian and Ubuntu only. Install with your own package manager:" \
    "${packages[*]}, and PostgreSQL with its extensions pgsphere and q3c. Without them the tests in" \
    "tests/peers are skipped." >&2
  exit 1
fi

as_root=()
need_root() {
  ((EUID != 0)) || return 0
  if ! command -v sudo >/dev/null; then
    echo "Run this as root, or install sudo; to do: $*" >&2
    exit 1
  fi
  as_root=(sudo)
}

# The newest PostgreSQL among package names that has the extension pgsphere, which Debian builds for one.
newest_postgresql() {
  sed -n 's/^postgresql-\([0-9]\+\)-pgsphere$/\1/p' | sort -n | tail -n 1
}

running_clusters() {
  if command -v pg_lsclusters >/dev/null; then
    pg_lsclusters --no-header | awk '$4 ~ /^online/ {print $1, $2}' | sort
  fi
}

install_packages() {
  need_root "install $*"
  local before
  before=$(running_clusters)
  echo "Installing $*"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "$@"
  # Where services may start, the package of PostgreSQL has just started one that nobody needs.
  comm -13 <(echo "$before") <(running_clusters) | while read -r version name; do
    [ -z "$version" ] || "${as_root[@]}" pg_ctlcluster "$version" "$name" stop </dev/null
  done
}

# pgSphere 1.2.0 (Debian 12) gives two of its operators, `bigint @ smoc` and `spoint @ smoc`, the commutator
# and the negator of `<@`. Those belong to one operator only; PostgreSQL 15.20 (15.18 did not yet) looks, and
# CREATE EXTENSION pg_sphere ends with "operator @> is already the commutator of operator <@". The two hints
# help the planner and change no result, so they are taken out.
repair='s/(CREATE OPERATOR \@ \(\s+LEFTARG\s*= \w+,\s+RIGHTARG\s*= smoc,\s+PROCEDURE\s*= \w+,)\s+COMMUTATOR\s*= \S+,\s+NEGATOR\s*= \S+,/$1/g'

repair_pgsphere() {
  local script
  for script in /usr/share/postgresql/*/extension/pg_sphere--1.2.0.sql; do
    [ -f "$script" ] || continue
    perl -0ne "exit !($repair)" "$script" || continue
    need_root "repair $script"
    echo "Repairing $script"
    "${as_root[@]}" perl -0pi -e "$repair" "$script"
  done
}

installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
postgresql=$(newest_postgresql <<<"$installed")

missing=()
for package in "${packages[@]}" ${postgresql:+"postgresql-$postgresql-q3c"}; do
  grep -qxF "$package" <<<"$installed" || missing+=("$package")
done

if [ -z "$postgresql" ] || ((${#missing[@]} > 0)); then
  need_root "apt-get update"
  "${as_root[@]}" apt-get update -q
  if [ -z "$postgresql" ]; then
    postgresql=$(apt-cache pkgnames postgresql- | newest_postgresql)
    if [ -z "$postgresql" ]; then
      echo "No package source of this system has PostgreSQL with pgsphere (on Ubuntu: universe)." >&2
      exit 1
    fi
    missing+=("postgresql-$postgresql" "postgresql-$postgresql-pgsphere" "postgresql-$postgresql-q3c")
  fi
  install_packages "${missing[@]}"
else
  echo "All peers are installed: ${packages[*]} postgresql-$postgresql-{pgsphere,q3c}"
fi
repair_pgsphere
