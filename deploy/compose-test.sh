#!/usr/bin/env bash
# Starts docker-compose.yml on a real Docker engine as a user would, asks server and playground from the host, and stops
# both. Passes if the server becomes healthy, both answer, and both exit with status 0. Needs Docker with Compose.
set -euo pipefail
cd "$(dirname "$0")/.."
lenet=.venv/bin/lenet

if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
compose+=(--project-name lenet-compose-test)
drawings=$(mktemp -d)
trap 'rm -r "$drawings"; "${compose[@]}" down --volumes --remove-orphans >/dev/null 2>&1' EXIT

"${compose[@]}" up --build --detach server
container=$("${compose[@]}" ps -q server)
state() { docker inspect --format "{{.State.$2}}" "$1"; }

for _ in $(seq 60); do [ "$(state "$container" Health.Status)" = healthy ] && break; sleep 1; done
[ "$(state "$container" Health.Status)" = healthy ] || { docker logs "$container"; echo "compose-test: not healthy after 60 s"; exit 1; }
echo "compose-test: healthy"

"$lenet" describe
[ "$(docker exec "$container" id -u)" != 0 ] || { echo "compose-test: the server runs as root"; exit 1; }
! docker exec "$container" python -c 'import torch' 2>/dev/null || { echo "compose-test: torch is in the image"; exit 1; }
.venv/bin/python -c '
import sys; from pathlib import Path; from clients.handwriting import Hand, png
for digit in range(10):
    (Path(sys.argv[1]) / f"{digit}.png").write_bytes(png(digit, Hand.of(seed=digit)))
' "$drawings"
"$lenet" classify "$drawings"/*.png

"${compose[@]}" up --detach playground
page=$("${compose[@]}" ps -q playground)
ask_page='from urllib.request import *; import sys; sys.exit(b"true" not in urlopen("http://127.0.0.1:8080/status").read())'
for _ in $(seq 30); do .venv/bin/python -c "$ask_page" 2>/dev/null && break; sleep 1; done
.venv/bin/python -c "$ask_page" || { echo "compose-test: the playground does not see the server"; exit 1; }
echo "compose-test: the playground is there"

"${compose[@]}" stop
for stopped in "$page" "$container"; do
  status=$(state "$stopped" ExitCode)
  [ "$status" = 0 ] || { docker logs "$stopped"; echo "compose-test: exit status $status"; exit 1; }
done
docker image inspect --format 'compose-test: image of {{.Size}} bytes' lenet-lens
echo "compose-test: passed, exit status 0"
