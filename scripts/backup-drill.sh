#!/usr/bin/env bash
# Loses a server and restores it from a base backup and archived log, as docs/retention.md says under "Backup".
#
#   scripts/backup-drill.sh
#
# Takes target/debug/dosimeter, or $DOSIMETER. The servers are its own, on loopback, one after the other, and end with it.
# Fails when a restore does not verify, lacks what was archived, or when a loss is not named by the anchors.
set -euo pipefail
cd "$(dirname "$0")/.."

dosimeter=${DOSIMETER:-$PWD/target/debug/dosimeter}
[ -x "$dosimeter" ] || { echo "no $dosimeter: run 'cargo build', or set DOSIMETER" >&2; exit 1; }
bin=$(dirname "$(command -v initdb 2>/dev/null || ls -d /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb \
    /usr/local/opt/postgresql*/bin/initdb /Applications/Postgres.app/Contents/Versions/latest/bin/initdb 2>/dev/null | sort -V | tail -n 1)")
[ -x "$bin/initdb" ] || { echo "no Postgres found: run 'scripts/install.sh postgres'" >&2; exit 1; }
# A link elsewhere may stand alone: the other programs are where it leads.
PATH=$(dirname "$(realpath "$bin/initdb")"):$bin:$PATH

work=$(mktemp -d /tmp/dosimeter-drill.XXXXXX)
chmod 755 "$work"
mkdir "$work/site" "$work/postgres" "$work/backup"
# Postgres refuses to run as root, and whoever restores must be the user whom the files belong to.
if [ "$(id -u)" = 0 ]; then
    user=$(id -un postgres 2>/dev/null || echo nobody)
    chown "$user" "$work"/*
    as() { (cd / && exec setpriv --reuid="$user" --regid="$(id -gn "$user")" --clear-groups "$@"); }
else
    as() { (cd / && exec "$@"); }
fi
data=$work/postgres/data
stop() { as pg_ctl -D "$data" -m immediate stop >/dev/null 2>&1 || true; }
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])' 2>/dev/null || echo $((20000 + $$ % 20000)))
unset DATABASE_OWNER_URL
export DATABASE_URL=postgres://dosimeter@127.0.0.1:$port/postgres
fail() { echo "$*" >&2; tail -n 20 "$work/postgres/log" >&2; exit 1; }
ask() { psql -qAtX "$DATABASE_URL" -c "$1"; }
await() {
    for _ in $(seq 120); do
        [ "$(ask "$1")" != t ] || return 0
        sleep 0.5
    done
    fail "in vain: $1"
}
# The machine stays up, so fsync would only cost time. There is no socket: a server that was killed leaves its lock behind.
start() {
    as pg_ctl -D "$data" -w -l "$work/postgres/log" \
        -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories='' -c fsync=off" start >/dev/null || fail "Postgres does not start"
}
run() { "$dosimeter" --log error "$@"; }
config=$work/site/config.toml
person=(--config "$config" --by drill --reason drill)
count() { ask "select format('%s predictions, %s statements of truth, good tokens: %s', (select count(*) from prediction),
    (select count(*) from assertion), (select string_agg(name, ', ' order by token_id) from token where revoked_at is null))"; }
verify() { run audit verify --config "$config" "$@" >"$work/told" 2>&1; }
sound() { verify "$@" || fail "audit verify $*: $(cat "$work/told")"; }
# An anchor of what is not there any more must be missed by its number, and nothing else.
misses() {
    local entry
    entry=$(sed 's/.*"audit_id":\([0-9]*\).*/\1/' "$1")
    ! verify --full --anchor "$1" || fail "nothing is missing of $1"
    grep -q "^dosimeter: 1 row(s) do not fit" "$work/told" || fail "$(cat "$work/told")"
    grep "^audit, audit_id $entry: is missing: an anchor has seen it" "$work/told" || fail "$(cat "$work/told")"
}

echo "A server that archives its log, with a week of data."
as initdb -D "$data" -U dosimeter -A trust -E UTF8 --locale=C >/dev/null
as mkdir -m 700 "$work/backup/wal"
# The command is that of docs/retention.md.
as tee -a "$data/postgresql.conf" >/dev/null <<END
archive_mode = on
archive_timeout = 60
archive_command = 'cmp -s %p $work/backup/wal/%f || { test ! -f $work/backup/wal/%f && cp %p $work/backup/wal/part && sync $work/backup/wal/part && mv $work/backup/wal/part $work/backup/wal/%f && sync $work/backup/wal; }'
END
start
cp config/demo.toml "$config"
run simulate --out "$work/site/inbox" --cases 600 --end 2025-01-11 >/dev/null
run import --config "$config" >/dev/null
run token create "${person[@]}" --name before --role read >/dev/null 2>&1
run audit anchor "${person[@]}" >"$work/anchor.before"
before=$(count)
echo "  $before"
as pg_basebackup --dbname "$DATABASE_URL" --pgdata "$work/backup/base" --wal-method=stream --checkpoint=fast

echo "After the base backup: a token, the rest of the data, an anchor. All of it is archived."
run token create "${person[@]}" --name behind --role read >/dev/null 2>&1
instant=$(ask "select clock_timestamp()")
at_instant=$(count)
run simulate --out "$work/site/inbox" --cases 600 >/dev/null
run import --config "$config" >/dev/null
run audit anchor "${person[@]}" >"$work/anchor.behind"
behind=$(count)
echo "  $behind"
segment=$(ask "select pg_walfile_name(pg_switch_wal())")
await "select last_archived_wal >= '$segment' from pg_stat_archiver"
[ "$(ask "select failed_count from pg_stat_archiver")" = 0 ] || fail "a segment could not be archived"

echo "A token revoked, one made, an anchor: no archive has these. Then the server is killed, and its files go."
run token revoke "${person[@]}" 1 >/dev/null 2>&1
run token create "${person[@]}" --name lost --role read >/dev/null 2>&1
run audit anchor "${person[@]}" >"$work/anchor.lost"
kill -9 "$(head -n 1 "$data/postmaster.pid")"
mv "$data" "$work/postgres/gone"

# Until the log is replayed the server only lets itself be read: dosimeter waits for it.
restore() {
    as cp -a "$work/backup/base" "$data"
    as chmod 700 "$data"
    printf '%s\n' "$@" | as tee -a "$data/postgresql.auto.conf" >/dev/null
    as touch "$data/recovery.signal"
    start
    sound
}
same() { [ "$(count)" = "$1" ] || fail "restored: $(count); expected: $1"; echo "  $1"; }
from_archive="restore_command = 'sleep 0.3; cp $work/backup/wal/%f %p'"

echo "Restored to an instant between the token and the data, on trial: the archive must not hear of it."
restore "$from_archive" "archive_mode = off" "recovery_target_time = '$instant'" "recovery_target_action = 'promote'"
same "$at_instant"
sound --full --anchor "$work/anchor.before"
misses "$work/anchor.behind"
stop && rm -rf "$data"

echo "Restored on trial without the last segment of the archive: no error, only the anchor knows."
mv "$work/backup/wal/$segment" "$work/backup/aside"
restore "$from_archive" "archive_mode = off"
sound --full --anchor "$work/anchor.before"
misses "$work/anchor.behind"
stop && rm -rf "$data"
mv "$work/backup/aside" "$work/backup/wal/$segment"

echo "Restored in earnest, to the end of the archive."
restore "$from_archive"
same "$behind"
sound --full
sound --anchor "$work/anchor.before" --anchor "$work/anchor.behind"
misses "$work/anchor.lost"
# What was archived of the trials would show here: the latest timeline is followed.
[ "$(ask "select left(pg_walfile_name(pg_current_wal_lsn()), 8)")" = 00000002 ] || fail "a trial has left a timeline in the archive"

echo "It goes on, and archives."
run import --config "$config" >/dev/null
run token create "${person[@]}" --name restored --role read >/dev/null 2>&1
sound --full --anchor "$work/anchor.behind"
segment=$(ask "select pg_walfile_name(pg_switch_wal())")
await "select last_archived_wal >= '$segment' from pg_stat_archiver"
same "$behind, restored"
echo "Everything that was archived is there and verifies; what was not is named."
