#!/usr/bin/env bash
# Runs the fuzz targets, as many at a time as there are cores.
#
# usage: scripts/fuzz.sh [seconds] [target...]      (default: 60 seconds, every target)
#        scripts/fuzz.sh --minimise [target...]
#
# Each target starts from its committed corpus and from what earlier runs of this script found, which
# is kept below the target directory. A crash fails the run and leaves its input in fuzz/artifacts;
# copied into fuzz/corpus/<target>, every `cargo test` replays it. With --minimise, the committed corpus
# becomes the fewest inputs that reach all code reached so far, and those that somebody wrote.
#
# Needs a nightly toolchain and cargo-fuzz (cargo install --locked cargo-fuzz).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# Longer inputs find little more, and would make the committed corpus large.
len_max() { if [ "$1" = http_request ]; then echo 1024; else echo 512; fi; }

# executions LOG: what the statistics at its end say.
executions() { sed -n "s/^stat::number_of_executed_units: //p" "$1"; }

fuzz() {
    local target=$1 seconds=$2 found=$3/$1 log code=0
    mkdir -p "$found"
    log=$(mktemp -p "$scratch")
    note "$target for $seconds s"
    cargo +nightly fuzz run "$target" "$found" "fuzz/corpus/$target" -- -max_total_time="$seconds" \
        -max_len="$(len_max "$target")" -rss_limit_mb=4096 -timeout=20 -print_final_stats=1 \
        >"$log" 2>&1 || code=$?
    if [ $code != 0 ]; then
        tail -n 60 "$log"
        printf 'FAILED: fuzz %s\n' "$target"
        return 1
    fi
    printf 'figure: fuzz %s = %s executions\n' "$target" "$(executions "$log")"
}

# named FOLDER: the files that somebody wrote; libFuzzer calls its own after their hash.
named() { find "$1" -type f | grep -Ev '/[0-9a-f]{40}$' || true; }

minimise() {
    local target=$1 found=$2/$1 committed=fuzz/corpus/$1 merged
    merged=$(mktemp -d -p "$scratch")
    mkdir -p "$found" "$committed"
    named "$committed" | xargs -r cp -t "$merged"
    cargo +nightly fuzz run "$target" "$merged" "$found" "$committed" -- -set_cover_merge=1 \
        -use_counters=0 -max_len="$(len_max "$target")" >"$scratch/merge" 2>&1 || {
        tail -n 40 "$scratch/merge"
        return 1
    }
    rm -rf "$committed"
    cp -r "$merged" "$committed"
    note "$target: $(find "$committed" -type f | wc -l) inputs, $(du -bs "$committed" | cut -f1) bytes"
}

main() {
    local seconds=60 targets found failed=0 target
    case ${1:-} in
        -h | --help) print_help "$0" && exit 0 ;;
        --minimise) seconds=0 && shift ;;
        [0-9]*) seconds=$1 && shift ;;
    esac
    cd "$repo"
    cargo +nightly --version >/dev/null 2>&1 || { note "SKIPPED: a nightly toolchain" && exit 77; }
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz ||
        { note "SKIPPED: cargo-fuzz, and the means to install it" && exit 77; }
    if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(cargo +nightly fuzz list); fi
    found=${CARGO_TARGET_DIR:-$repo/fuzz/target}/corpus
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # What targets leave behind when libFuzzer ends them goes with it.
    export TMPDIR=$scratch
    if [ "$seconds" = 0 ]; then
        for target in "${targets[@]}"; do minimise "$target" "$found" || failed=1; done
        exit $failed
    fi
    # Built before, since builds that run at a time only wait for one another.
    cargo +nightly fuzz build
    local jobs=()
    for target in "${targets[@]}"; do
        if [ ${#jobs[@]} -ge "$(nproc)" ]; then
            wait "${jobs[0]}" || failed=1
            jobs=("${jobs[@]:1}")
        fi
        fuzz "$target" "$seconds" "$found" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || failed=1; done
    exit $failed
}

main "$@"
