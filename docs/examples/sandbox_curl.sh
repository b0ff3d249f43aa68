#!/usr/bin/env bash
# A trading session against the sandbox with nothing but curl and openssl:
#   jackstay sandbox --quiet &  bash docs/examples/sandbox_curl.sh http://127.0.0.1:8787
set -euo pipefail
url=${1:-http://127.0.0.1:8787}
key=${SANDBOX_KEY:-sandbox-key} secret=${SANDBOX_SECRET:-sandbox-secret}

# signed METHOD PATH PARAMETERS: a Binance request with timestamp and HMAC-SHA256 signature
signed() {
  local query="$3&timestamp=$(date +%s%3N)&recvWindow=10000"
  local signature
  signature=$(printf %s "$query" | openssl dgst -sha256 -hmac "$secret" | sed 's/^.* //')
  curl -sS -X "$1" -H "X-MBX-APIKEY: $key" "$url$2?$query&signature=$signature" && echo
}

echo "## the time, and the best prices"
curl -sS "$url/api/v3/time"; echo
curl -sS "$url/api/v3/ticker/bookTicker?symbol=BTCUSDT"; echo

echo "## an order, looked at, and cancelled"
signed POST /api/v3/order "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=40000&newClientOrderId=curl-1"
signed GET /api/v3/order "symbol=BTCUSDT&origClientOrderId=curl-1"
signed DELETE /api/v3/order "symbol=BTCUSDT&origClientOrderId=curl-1"

echo "## a market order, and what it cost"
signed POST /api/v3/order "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01"
signed GET /api/v3/myTrades "symbol=BTCUSDT"

echo "## an order whose answer is lost: it was executed all the same"
curl -sS -X POST "$url/admin/faults" -d '{"kind": "reset_after", "route": "POST /api/v3/order", "count": 1}'; echo
signed POST /api/v3/order "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=41000&newClientOrderId=curl-2" || echo "no answer"
signed GET /api/v3/order "symbol=BTCUSDT&origClientOrderId=curl-2"

echo "## what the exchange saw"
curl -sS "$url/admin/ledger?path=/api/v3/order&method=POST"; echo
curl -sS "$url/admin/checks"; echo
