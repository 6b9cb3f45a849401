#!/bin/bash
# Runs fuzz targets for a time each, as many at once as there are processors. Prints
# one line a target, with the executions; what a failing one printed follows it.
set -u
source_folder=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$source_folder" || exit 69

usage() {
    cat <<'END_OF_USAGE'
Usage: tests/fuzz.sh SECONDS [TARGET...]

Runs the fuzz targets (all of fuzz/fuzz_targets, or those that are named) for so many
seconds each, beginning with the kept inputs of fuzz/corpus and with what earlier runs
have found, which is kept in target/fuzz-found. Needs nightly Rust and cargo-fuzz.
END_OF_USAGE
}

case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
'' | *[!0-9]*)
    usage >&2
    exit 64
    ;;
esac
seconds=$1
shift
target=${CARGO_TARGET_DIR:-$source_folder/target}
PATH=$PATH:$target/tools/bin
if [ $# -eq 0 ]; then
    for name in fuzz/fuzz_targets/*.rs; do
        name=${name##*/}
        set -- "$@" "${name%.rs}"
    done
fi
for name in "$@"; do
    [ -f "fuzz/fuzz_targets/$name.rs" ] || { echo "no such target: $name" >&2; exit 64; }
done

logs=$(mktemp -d)
running=()
# shellcheck disable=SC2317 # called by the trap
tidy() {
    local process
    for process in "${running[@]}"; do kill -TERM -- "-$process" 2>/dev/null; done
    wait
    rm -rf -- "$logs"
}
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

cargo +nightly fuzz build >"$logs/build" 2>&1 || {
    cat "$logs/build"
    echo "not ok - build the fuzz targets"
    exit 1
}
echo "ok - build the fuzz targets"

# one NAME: a target, its line, and its status.
one() {
    local name=$1 status=0 log=$logs/$1 executions process=
    # It has a process group of its own, and ends that with itself.
    trap '[ -z "$process" ] || kill "$process"; wait; exit 143' TERM
    mkdir -p "$target/fuzz-found/$name"
    # A process that does not end by itself has failed.
    timeout --kill-after=20 $((seconds + 300)) \
        cargo +nightly fuzz run "$name" "$target/fuzz-found/$name" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 >"$log" 2>&1 </dev/null &
    process=$!
    wait "$process" || status=$?
    process=
    executions=$(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) second.*/\1 executions in \2 s/p' "$log" | tail -n 1)
    # Without that line nothing is known to have been run.
    if [ "$status" -eq 0 ] && [ -n "$executions" ]; then
        echo "ok - fuzz $name ($executions)"
        return 0
    fi
    echo "not ok - fuzz $name: status $status"
    {
        grep -a -A 3 'panicked at\|ERROR: ' "$log" | head -n 20
        grep -a 'Base64: \|artifacts/' "$log" | head -n 4
        tail -n 5 "$log"
    } | sed 's/^/    /'
    return 1
}

# Each in a process group of its own, with what it starts.
set -m
failed=0
for name in "$@"; do
    if [ ${#running[@]} -ge "$(nproc)" ]; then
        wait -n -p ended "${running[@]}" || failed=1
        left=()
        for process in "${running[@]}"; do
            [ "$process" = "$ended" ] || left+=("$process")
        done
        running=("${left[@]}")
    fi
    one "$name" &
    running+=($!)
done
for process in "${running[@]}"; do wait "$process" || failed=1; done
running=()
exit "$failed"
