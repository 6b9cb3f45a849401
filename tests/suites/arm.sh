#!/bin/bash
# Runs units of a suite in the host of host.toml; run.sh starts it there.
#
#   arm.sh native|library SUITE WORK OUT LIBRARY JOBS [UNIT...]
#
# Leaves in OUT, for each unit: UNIT.results (a line `UNIT<tab>TEST<tab>RESULT` for each
# test) and UNIT.log; and `statistics`, what the library says of itself at the end of
# each process.
set -u
# shellcheck disable=SC2034 # for the suites
arm=$1 suite=$2 work=$3 out=$4 library=$5 jobs=$6
shift 6
here=$(cd "$(dirname "$0")" && pwd -P)
A=2001:db8:a::53 U=2001:db8:1::53
export A LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# What goes to U has its source from the route of host.toml from now on.
ip -6 route delete local "$U" dev lo table local proto kernel metric 0 || exit 69
rm -rf -- "$out"
mkdir -p -- "$out/home" || exit 69
export HOME=$out/home
printf '%s\n' "$A localhost ip6-localhost" '127.0.0.1 ip4-localhost' >"$out/hosts"
mount --bind "$out/hosts" /etc/hosts || exit 69

# Before a command: for the suite's use.
under=(env)
if [ "$arm" = library ]; then
    under=(env LD_PRELOAD="$library" AARP_CONFIG="$out/aarp.toml" AARP_STATS=1
        AARP_FILE="$out/statistics")
    # As long as in configured prefixes: what is asked about is not to depend on the machine.
    printf '[resolve]\ninclude_local = true\n[times]\nbudget_unconfigured = "1s"\n' >"$out/aarp.toml"
fi
# Nobody of the suite outlives it.
seconds=600
# shellcheck disable=SC2317 # for the suites
bounded() { timeout --kill-after=10 "$seconds" "${under[@]}" "$@"; }

# shellcheck source=/dev/null
. "$here/$suite.sh"
[ $# -gt 0 ] || mapfile -t words < <(suite_units)
[ $# -gt 0 ] || set -- "${words[@]}"

# one UNIT: runs it, and says how it ended and how long it took.
one() {
    local unit=$1 status=0 start=$SECONDS
    # Short, for sockets have names in it.
    TMPDIR=$(mktemp -d /tmp/unit.XXXXXX)
    export TMPDIR
    (cd -- "$TMPDIR" && suite_run "$unit") >"$out/$unit.log" 2>&1 </dev/null || status=$?
    rm -rf -- "$TMPDIR"
    suite_results "$unit" "$status" >"$out/$unit.results" 2>>"$out/$unit.log"
    printf '%s\t%s\t%s\n' "$unit" "$status" "$((SECONDS - start))" >>"$out/units"
}
running=0
for unit in "$@"; do
    [ "$running" -lt "$jobs" ] || { wait -n; running=$((running - 1)); }
    one "$unit" &
    running=$((running + 1))
done
wait
