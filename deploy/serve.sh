#!/usr/bin/env bash
# Server and playground in the foreground. One Ctrl-C or SIGTERM stops both: the server answers what is in flight, and its
# exit status is this script's. The argument is the folder of the commands.
set -u
bin=${1:-.venv/bin}
export LENET_SERVER=${LENET_SERVER:-127.0.0.1:${LENET_PORT:-50051}}

"$bin/lenet-serve" & server=$!
"$bin/lenet" playground & page=$!
# Ctrl-C has reached all three processes already, and the server takes a second signal for impatience.
trap : INT
trap 'kill "$server"' TERM

# A signal ends `wait` before the server has ended.
while wait "$server"; status=$?; kill -0 "$server" 2>/dev/null; do :; done
kill "$page" 2>/dev/null
wait "$page"
exit "$status"
