# Shared by the scripts: where things lie. Sourced, not run.
# shellcheck shell=bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${INTELLICARTEL_CACHE:-$HOME/.cache/intellicartel}
RUN=${INTELLICARTEL_RUN:-$ROOT/.run}
KAFKA_PORT=${INTELLICARTEL_KAFKA_PORT:-29092}
S3_PORT=${INTELLICARTEL_S3_PORT:-28333}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# The first Java of version 17 or newer.
find_java() {
  local java
  for java in "${JAVA_HOME:-/nonexistent}/bin/java" /usr/lib/jvm/java-17-openjdk-*/bin/java "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [ -x "$java" ] || continue
    local major
    major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    [ "${major:-0}" -ge 17 ] && { printf '%s\n' "$java"; return 0; }
  done
  return 1
}
