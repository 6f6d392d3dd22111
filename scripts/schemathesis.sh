#!/bin/sh
# Ask a running daemon whatever docs/openapi.json allows, and what it forbids: no answer may be a failure of the daemon's (5xx), or other
# than described. usage: scripts/schemathesis.sh [OPTION OF schemathesis run ...]
#
# Needs Python 3.10 or later and PyPI; the program goes into target/tools/schemathesis. The daemon, its database and its data are made for it
# and removed again. DOSIMETER_EXAMPLES bounds the examples for each operation.
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" != --inside ]; then exec scripts/with-postgres.sh "$0" --inside "$@"; fi
shift

venv=target/tools/schemathesis
if [ ! -x "$venv/bin/schemathesis" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==4.*"
fi

work=$(mktemp -d)
daemon=
stop() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    [ -z "$daemon" ] || wait "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
name=dosimeter_schemathesis_$$
psql "$DATABASE_URL" -qc "create database $name" >/dev/null
export DATABASE_URL="${DATABASE_URL%/*}/$name"
bin=$PWD/target/debug/dosimeter
"$bin" simulate --out "$work/inbox" --cases 2000 --seed 7 --start 2025-01-01 --end 2025-02-01 >/dev/null
sed -e "s#/inbox#$work/inbox#; s#^listen = .*#listen = \"127.0.0.1:$port\"#; s#^data_dir = .*#data_dir = \"$work/data\"#" \
    -e "s#^behind_proxy = .*#requests_per_second = 0#; s#127.0.0.1:9187#127.0.0.1:$port#" config/compose.toml \
    | sed '/^\[notify\]/,$d' > "$work/dosimeter.toml"
# Started as root, the daemon becomes an ordinary user.
chmod -R a+rwX "$work"
"$bin" import --config "$work/dosimeter.toml" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
token=$("$bin" token create --config "$work/dosimeter.toml" --name schemathesis --role admin --by schemathesis --reason "a test" 2>>"$work/log")
"$bin" serve --config "$work/dosimeter.toml" >>"$work/log" 2>&1 &
daemon=$!
python3 - "$port" <<'PY'
import sys, time, urllib.request
for _ in range(300):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/readyz").read()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("the daemon is not ready after half a minute")
PY
if ! "$venv/bin/schemathesis" --config-file scripts/schemathesis.toml run "http://127.0.0.1:$port/api/v1/openapi.json" --header "Authorization: Bearer $token" \
    --max-examples "${DOSIMETER_EXAMPLES:-50}" --seed 7 --request-timeout 20 "$@"; then
    grep -E "ERROR|panicked" "$work/log" >&2 || true
    exit 1
fi
kill -0 "$daemon" || { echo "the daemon has ended" >&2; cat "$work/log" >&2; exit 1; }
