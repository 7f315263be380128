#!/usr/bin/env bash
# Runs the models: what threads share, in every order in which they may go on.
#
# usage: scripts/models.sh [FILTER]
#
# Each model says how many interleavings it went through; the last line tells how many models ran.
# All of them take seconds. LOOM_MAX_PREEMPTIONS (default 3) raises the number of forced switches
# in one interleaving: 4 takes minutes. A failure is replayed with LOOM_LOG=trace, one test at a
# time.
set -euo pipefail
cd "$(dirname "$0")/.."

# A folder of its own, since the flag would have everything else built anew.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/models"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"
export RUSTFLAGS="${RUSTFLAGS:-} --cfg ringbolt_loom"

output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test --release -p ringbolt-buffers -p ringbolt-runtime --lib "${1:-models}" 2>&1 |
    tee "$output"
echo "figure: loom models = $(grep -c 'model: .* interleavings' "$output") models"
