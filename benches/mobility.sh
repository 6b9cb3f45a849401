#!/bin/sh
# Measures the home anycast agent, as root or where user namespaces are allowed:
#
#   benches/mobility.sh                  tables on standard output
#   benches/mobility.sh --update docs/performance.md
#
# It needs a stage (PREFIX=$PWD/target/stage ./install.sh; AARP_STAGE names another),
# iperf3, nft, ip and taskset, and takes about a minute and a half.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
for tool in cargo ip nft iperf3 taskset; do
    command -v "$tool" >/dev/null || {
        echo "benches/mobility.sh: $tool is missing (Debian: iproute2, nftables, iperf3, util-linux)" >&2
        exit 69
    }
done
cargo build --quiet --locked --release -p aarp-mobility-benches >&2
cargo build --quiet --locked --release -p aarp-core --features bindings --example binding-cost >&2
exec "$target/release/aarp-mobility-benches" --stage "${AARP_STAGE:-$PWD/target/stage}" \
    --binding-cost "$target/release/examples/binding-cost" "$@"
