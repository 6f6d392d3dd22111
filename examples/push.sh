#!/bin/sh
# Send a file of predictions, packed. usage: DOSIMETER=http://127.0.0.1:9187 TOKEN=... examples/push.sh FILE.ndjson
gzip --stdout "$1" | curl --fail-with-body --silent --show-error --retry 10 --data-binary @- \
    --header "Authorization: Bearer ${TOKEN:-}" --header "Content-Type: application/x-ndjson" --header "Content-Encoding: gzip" \
    "${DOSIMETER:-http://127.0.0.1:9187}/api/v1/models/chest-xray/predictions"
