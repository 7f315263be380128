#!/usr/bin/env bash
# The adversary at the scale of a release: hours, and every mutant.
#
# usage: scripts/soak.sh [STEP...]
#        (default: simulate gates storm abuse models address mutants fuzz old-kernel)
#
# The steps are those of scripts/ci.sh, with RINGBOLT_SCALE=release: a hundred million schedules, a
# thousand million operations on the real kernel, all mutants, an hour for each fuzz target, four forced
# switches in a model. Prints the figures at the end; the exit code is 0 when nothing failed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

case ${1:-} in -h | --help) print_help "$0" && exit 0 ;; esac
[ $# -gt 0 ] || set -- simulate gates storm abuse models address mutants fuzz old-kernel
export RINGBOLT_SCALE=release RINGBOLT_SCHEDULES_ASAN=2000000
export RINGBOLT_MUTANTS=1000000 RINGBOLT_FUZZ_S=3600 LOOM_MAX_PREEMPTIONS=4
exec "$repo/scripts/ci.sh" "$@"
