#!/bin/sh
# Measures what aarpd costs: cold questions beside ping, known ones a second, memory. As
# root or where user namespaces are allowed:
#
#   benches/mapper.sh                    tables on standard output
#   benches/mapper.sh --update docs/performance.md
#
# It needs a stage (PREFIX=$PWD/target/stage ./install.sh; AARP_STAGE names another), cc,
# ip, nft, ping and taskset, two CPUs, and takes about three minutes.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
for tool in cargo cc ip nft ping taskset; do
    command -v "$tool" >/dev/null || {
        echo "benches/mapper.sh: $tool is missing (Debian: gcc, iproute2, nftables, iputils-ping, util-linux)" >&2
        exit 69
    }
done
update=
if [ "${1-}" = --update ]; then
    [ $# -ge 2 ] || { echo "benches/mapper.sh: --update needs a file" >&2; exit 64; }
    update=$2
    shift 2
fi
cargo build --quiet --locked --release -p aarp-mapper-benches >&2
exec "$target/release/aarp-mapper-benches" --stage "${AARP_STAGE:-$PWD/target/stage}" \
    ${update:+--update "$update"} asking "$@"
