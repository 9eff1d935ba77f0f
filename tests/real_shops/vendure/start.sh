#!/usr/bin/env bash
# Starts a Vendure in the current folder, on the loopback: `start.sh TOOLS PORT DATABASE_URL`.
# TOOLS is where npm installed Vendure; the database is empty.
set -euo pipefail
ln -s "$1/node_modules" .
cp "$(dirname "$0")"/{config.js,populate.js,server.js,products.csv} .
export DATABASE_URL=$3 VENDURE_DISABLE_TELEMETRY=true
# The port answers only when the shop is ready: until then, any other one is taken.
PORT=0 node populate.js
PORT=$2 exec node server.js
