#!/bin/sh
# Run a command with DATABASE_URL naming a Postgres server: the one it already names, or a throw-away one on loopback.
# It forgets everything at a crash of the machine unless POSTGRES_FSYNC=on.
# usage: scripts/with-postgres.sh COMMAND [ARGUMENT ...]
set -eu
if [ -n "${DATABASE_URL:-}" ]; then exec "$@"; fi

bin=$(dirname "$(command -v initdb 2>/dev/null || ls -d /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb \
    /usr/local/opt/postgresql*/bin/initdb /Applications/Postgres.app/Contents/Versions/latest/bin/initdb 2>/dev/null | sort -V | tail -n 1)")
[ -x "$bin/initdb" ] || { echo "no Postgres found: run 'scripts/install.sh postgres', or set DATABASE_URL" >&2; exit 1; }

dir=$(mktemp -d /tmp/dosimeter-pg.XXXXXX)
# Postgres refuses to run as root, so root hands the directory to an ordinary user.
if [ "$(id -u)" = 0 ]; then
    user=$(id -un postgres 2>/dev/null || echo nobody)
    chown "$user" "$dir"
    as() { setpriv --reuid="$user" --regid="$(id -gn "$user")" --clear-groups "$@"; }
else
    as() { "$@"; }
fi
stop() { cd /; as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"; }
trap stop EXIT
trap 'exit 130' INT TERM

port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])' 2>/dev/null || echo $((20000 + $$ % 20000)))
(cd "$dir" && as "$bin/initdb" -D "$dir/data" -U dosimeter -A trust -E UTF8 --locale=C >/dev/null)
(cd "$dir" && as "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$dir -c fsync=${POSTGRES_FSYNC:-off} -c max_connections=200" start >/dev/null)
PATH="$bin:$PATH" DATABASE_URL="postgres://dosimeter@127.0.0.1:$port/postgres" "$@"
