#!/bin/bash
# curl: whole, stream, an error
set -euo pipefail
asked='{"model":"nano","messages":[{"role":"user","content":"What is 31 + 57?"}],"temperature":0}'
curl -sS --fail "$1/v1/models" | grep -q '"nano"'
curl -sS --fail "$1/v1/chat/completions" -H 'Content-Type: application/json' -d "$asked" | grep -o '"content":"[^"]*88[^"]*"'
curl -sSN --fail "$1/chat/completions" -d "${asked%\}},\"stream\":true}" | tail -2 | grep -o 'data: \[DONE\]'
curl -sS -o /dev/null -w '%{http_code}\n' "$1/v1/chat/completions" -d '{"model":"other","messages":[{"role":"user","content":"x"}]}' | grep 404
