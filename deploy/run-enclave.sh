#!/usr/bin/env bash
# Starts the enclave of a nitro-cli configuration whose name is symphony, and stays for as long as it runs: nitro-cli
# leaves it to itself, and nobody would see its end. Exits 1 when it has ended.
set -euo pipefail

readonly CONFIG=${1:?expected the configuration of the enclave}
readonly SECONDS_BETWEEN=10
# nitro-cli may fail to answer while the enclave runs on.
readonly MISSES_MAX=3

nitro-cli run-enclave --config "$CONFIG"
misses=0
while [ "$misses" -lt "$MISSES_MAX" ]; do
  sleep "$SECONDS_BETWEEN"
  # All of it before any is looked at: a nitro-cli whose reader has gone fails, with the enclave running.
  described=$(nitro-cli describe-enclaves) || described=
  case $described in *'"EnclaveName": "symphony"'*) misses=0 ;; *) misses=$((misses + 1)) ;; esac
done
echo "run-enclave: expected the enclave symphony to run, got its end" >&2
exit 1
