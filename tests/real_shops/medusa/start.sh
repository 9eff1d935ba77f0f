#!/usr/bin/env bash
# Starts a Medusa in the current folder, on the loopback: `start.sh TOOLS PORT DATABASE_URL`.
# TOOLS is where npm installed Medusa; the database is empty.
set -euo pipefail
ln -s "$1/node_modules" "$1/package.json" .
cp "$(dirname "$0")/medusa-config.js" .
export DATABASE_URL=$3 NODE_ENV=production MEDUSA_DISABLE_TELEMETRY=1
medusa=node_modules/@medusajs/cli/cli.js
node "$medusa" db:migrate
node "$medusa" user --email admin@example.test --password made-up-pass
exec node "$medusa" start --host 127.0.0.1 --port "$2"
