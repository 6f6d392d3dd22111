#!/usr/bin/env bash
# Looks at every page of the console in a real Chromium after a demo: both themes, 390 and 1440 pixels wide, and as of an instant.
#
#   scripts/console-check.sh [URL]
#
# Without a URL it runs target/debug/dosimeter demo on a port of its own and ends it. Fails when axe-core finds something serious, the
# browser's console says something, or a page asks for something from elsewhere. Pictures and a report are left in target/console.
set -euo pipefail
cd "$(dirname "$0")/.."

port=${DOSIMETER_CONSOLE_PORT:-19187}
url=${1:-}
if [ -z "$url" ]; then
    url=http://127.0.0.1:$port
    work=$(mktemp -d)
    chmod 755 "$work"
    # Started as root the demo becomes an ordinary user, who needs a folder of its own.
    mkdir "$work/demo"
    ! [ "$(id -u)" = 0 ] || chown postgres "$work/demo" 2>/dev/null || chmod 777 "$work/demo"
    env -u DATABASE_URL target/debug/dosimeter demo --dir "$work/demo" --listen "127.0.0.1:$port" >"$work/log" 2>&1 &
    demo=$!
    trap 'kill "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; rm -rf "$work"' EXIT
    until grep -q "Serving until" "$work/log"; do
        kill -0 "$demo" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        sleep 1
    done
fi
for name in chromium chromium-browser google-chrome; do
    browser=$(command -v "$name") && break
done
mkdir -p target/console
export NODE_PATH=$PWD/target/tools/console/node_modules
node scripts/console-check.cjs "$url" "$browser" target/console
if [ -n "${demo:-}" ]; then
    # From the first token on nobody may look without one: now the pages of those who log in.
    token=$(target/debug/dosimeter token create --config "$work/demo/config.toml" --name console --role admin --by check --reason check 2>/dev/null)
    sleep 6
    TOKEN=$token node scripts/console-check.cjs "$url" "$browser" target/console
fi
