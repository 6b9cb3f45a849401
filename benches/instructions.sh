#!/bin/sh
# Counts, under callgrind, how many instructions of the library's each hooked call
# takes, and compares that with benches/instructions.txt: one line a call. With --write
# that file is written anew. Further options go to the driver (`--only PART`).
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
objects=$target/benches
mkdir -p "$objects"

for tool in cargo cc ip nft valgrind; do
    command -v "$tool" >/dev/null || {
        echo "SKIPPED: $tool is missing (Debian: gcc, iproute2, nftables, valgrind)"
        exit 0
    }
done
[ "$(uname -m)" = x86_64 ] || {
    echo "SKIPPED: the instructions of $(uname -m) were never counted"
    exit 0
}

cargo build --quiet --locked --profile preload -p aarp >&2
cargo build --quiet --locked --release -p aarp-benches >&2
cc -O2 -Wall -Wextra -fPIC -shared -o "$objects/stub.so" benches/c/stub.c
cp "$target/preload/libaarp.so" "$objects/libaarp.so"
cc -O2 -Wall -Wextra -o "$objects/calls" \
    benches/c/calls.c benches/c/datagrams.c benches/c/exchanges.c

exec "$target/release/aarp-benches" --objects "$objects" \
    --library "$objects/libaarp.so" --instructions benches/instructions.txt "$@"
