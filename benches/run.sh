#!/bin/sh
# Builds what is needed, measures, and prints the tables.
#
#   benches/run.sh                  tables on standard output
#   benches/run.sh --json           one JSON object instead
#   benches/run.sh --update docs/performance.md
#                                   and put the tables into that file
#   benches/run.sh --other LIB      measure another libaarp.so beside this one
#
# Further options go to the driver; --help shows them. As root or, where user
# namespaces are allowed, as anybody: the network that it needs is one of its own.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
objects=$target/benches
mkdir -p "$objects"

for tool in cargo cc ip nft; do
    command -v "$tool" >/dev/null || {
        echo "benches/run.sh: $tool is missing (Debian: gcc, iproute2, nftables)" >&2
        exit 69
    }
done

# Each on its own: together they would share features, and the library is no_std.
cargo build --quiet --locked --profile preload -p aarp >&2
cargo build --quiet --locked --profile preload -p redhook-peer >&2
cargo build --quiet --locked --release -p aarp-benches >&2
for object in empty naive stub; do
    cc -O2 -Wall -Wextra -fPIC -shared -o "$objects/$object.so" "benches/c/$object.c"
done
# As install.sh does: the pages of a file that was copied and those of one that the
# linker has written lie in memory otherwise, and that shows when it is loaded.
for object in libaarp libredhook_peer; do
    cp "$target/preload/$object.so" "$objects/$object.so"
done
cc -O2 -Wall -Wextra -o "$objects/calls" \
    benches/c/calls.c benches/c/datagrams.c benches/c/exchanges.c

exec "$target/release/aarp-benches" --objects "$objects" \
    --library "$objects/libaarp.so" --redhook "$objects/libredhook_peer.so" "$@"
