#!/bin/sh
# Measures lookups in the mapping table, as anybody:
#
#   benches/table.sh                     tables on standard output
#   benches/table.sh --update docs/performance.md
#
# Further options go to the program; --help shows them. It needs 300 MB of memory and
# takes about a minute.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
# On its own: together with others it would share features.
cargo build --quiet --locked --release -p aarp-table-benches >&2
exec "$target/release/aarp-table-benches" "$@"
