#!/bin/sh
# Measures for how long new connections fail when a responder dies, as root or where user
# namespaces are allowed:
#
#   benches/death.sh                     tables on standard output
#   benches/death.sh --update docs/performance.md
#
# The plot is docs/responder-death.svg, with --update; further options go to the program.
# It needs a stage (PREFIX=$PWD/target/stage ./install.sh; AARP_STAGE names another), BIRD,
# nginx, curl, python3, nft and ip, and takes about six minutes.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
for tool in cargo ip nft nginx curl bash python3; do
    command -v "$tool" >/dev/null || {
        echo "benches/death.sh: $tool is missing (Debian: iproute2, nftables, nginx-light, curl, python3)" >&2
        exit 69
    }
done
PATH=$PATH:/usr/sbin:/sbin
for tool in bird birdc; do
    command -v "$tool" >/dev/null || {
        echo "benches/death.sh: $tool is missing (Debian: bird2)" >&2
        exit 69
    }
done
update=
if [ "${1-}" = --update ]; then
    [ $# -ge 2 ] || { echo "benches/death.sh: --update needs a file" >&2; exit 64; }
    update=$2
    shift 2
fi
cargo build --quiet --locked --release -p aarp-mapper-benches >&2
stage=${AARP_STAGE:-$PWD/target/stage}
if [ -n "$update" ]; then
    exec "$target/release/aarp-mapper-benches" --stage "$stage" --update "$update" \
        death --svg "$(dirname "$update")/responder-death.svg" "$@"
fi
exec "$target/release/aarp-mapper-benches" --stage "$stage" death "$@"
