#!/usr/bin/env bash
# Looks at every page of the console in a real Chromium: both themes, 390 and 1440 pixels wide, as of an instant, and as it prints.
#
#   scripts/console-check.sh [URL]
#
# Without a URL it runs target/debug/dosimeter demo on a port of its own, looks at it without a token and by tokens of two roles, and at
# the report of an evidence bundle of it; then it looks at an installation without a record whose plan has changed once. With a URL it
# looks at the pages of that daemon: without a token, or by READ_TOKEN; and if AUDIT_TOKEN and OPERATE_TOKEN are set, by these.
# Fails when axe-core finds something serious, the browser's console says something, a page asks for something from elsewhere, is wider
# than the screen, or is dark on paper. Pictures and reports are left in target/console.
set -euo pipefail
cd "$(dirname "$0")/.."

export NODE_PATH=$PWD/target/tools/console/node_modules
[ -d "$NODE_PATH/playwright-core" ] || scripts/install.sh chromium
browser=
for name in chromium chromium-browser google-chrome; do
    browser=$(command -v "$name") && break
done
[ -n "$browser" ] || { echo "no Chromium found: run 'scripts/install.sh chromium'" >&2; exit 1; }
mkdir -p target/console
failed=0
look() { node scripts/console-check.cjs "$1" "$2" "$browser" target/console || failed=1; }

if [ -n "${1:-}" ]; then
    look open "$1"
    [ -z "${AUDIT_TOKEN:-}" ] || [ -z "${OPERATE_TOKEN:-}" ] || look people "$1"
    exit "$failed"
fi

port=${DOSIMETER_CONSOLE_PORT:-19187}
url=http://127.0.0.1:$port
work=$(mktemp -d)
chmod 755 "$work"
started=
end() { for pid in $started; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; started=; }
trap 'end; rm -rf "$work"' EXIT
# Started as root the daemon becomes an ordinary user, who needs folders of its own.
folder() { mkdir "$work/$1"; [ "$(id -u)" != 0 ] || chown postgres "$work/$1" 2>/dev/null || chmod 777 "$work/$1"; }
# Wait until the log of a process says something.
await() {
    until grep -q "$3" "$work/$2.log"; do
        kill -0 "$1" 2>/dev/null || { cat "$work/$2.log" >&2; exit 1; }
        sleep 1
    done
}

folder demo
env -u DATABASE_URL target/debug/dosimeter demo --dir "$work/demo" --listen "127.0.0.1:$port" >"$work/demo.log" 2>&1 &
started=$!
await "$started" demo "Serving until"
look open "$url"

# From the first token on nobody may look without one: now the pages of those who log in.
config=$work/demo/config.toml
token() { target/debug/dosimeter --log error token create --config "$config" --name "console-$1" --role "$1" --by check --reason check 2>>"$work/token.log"; }
AUDIT_TOKEN=$(token audit) && OPERATE_TOKEN=$(token operate) || { cat "$work/token.log" >&2; exit 1; }
export AUDIT_TOKEN OPERATE_TOKEN
# A daemon knows a token after five seconds.
sleep 6
look people "$url"

# Who has only the file: nothing may be asked for.
target/debug/dosimeter --log error bundle --config "$config" --model chest-xray --version 2.1 --from 2025-04-01 --to 2025-05-01 \
    --by check --reason check --out "$work/demo/bundle.zip"
python3 -m zipfile -e "$work/demo/bundle.zip" "$work/bundle"
look bundle "file://$(ls "$work"/bundle/*/report.html)"
end

# A daemon that has had no record yet, and whose plan has changed.
folder new
sed "s/127.0.0.1:9187/127.0.0.1:$port/" config/demo.toml >"$work/new/config.toml"
env -u DATABASE_URL target/debug/dosimeter --log info serve --config "$work/new/config.toml" >"$work/new.log" 2>&1 &
started=$!
await "$started" new "listening"
sed -i.bak 's/below = 0.80/below = 0.82/; s/severity = "ticket"/severity = "page"/' "$work/new/config.toml"
kill -HUP "$started"
await "$started" new "took up the plan"
look new "$url"
exit "$failed"
