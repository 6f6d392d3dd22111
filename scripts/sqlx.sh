#!/bin/sh
# Describe the SQL statements for builds without a database: .sqlx/, as `cargo sqlx prepare` writes it.
# usage: scripts/sqlx.sh [--check]     with --check, fail when what is committed differs
set -eu
cd "$(dirname "$0")/.."
if [ "${1:-}" != --inside ]; then exec scripts/with-postgres.sh "$0" --inside "$@"; fi
[ "${2:-}" = --check ] && check=yes || check=no

# A database of its own, with the schema.
base=${DATABASE_URL%/*}
name=dosimeter_sqlx_$$
psql "$DATABASE_URL" -qc "create database $name" >/dev/null
out=$(mktemp -d)
trap 'psql "$DATABASE_URL" -qc "drop database $name" >/dev/null; rm -rf "$out"' EXIT
for migration in migrations/*.sql; do psql "$base/$name" -q -v ON_ERROR_STOP=1 -f "$migration" >/dev/null; done

# The macros write a description per statement while the library is checked.
touch src/lib.rs
DATABASE_URL="$base/$name" SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$out" cargo check --locked --lib
touch src/lib.rs
if [ $check = yes ]; then
    diff -r .sqlx "$out" || { echo "the descriptions in .sqlx differ: run 'make sqlx' and commit the result" >&2; exit 1; }
else
    rm -rf .sqlx && mkdir .sqlx && cp "$out"/*.json .sqlx/
fi
