#!/bin/bash
# Runs the tests; `tests/run.sh --help` says how.
set -u
source_folder=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$source_folder" || exit 69

usage() {
    cat <<'END'
Usage: tests/run.sh [--full | --long]

Runs every test that fits ten minutes after Debian's packages are there; as root
on Debian it installs those that are missing (and starts none of their services).
An ordinary user's run skips what needs root, and says so in lines that begin with
`SKIPPED:`. A run by root that skips anything fails.

  --full   also: fuzzing (needs nightly Rust), more cases of the property tests,
           tests that depend on timing several times, and the own tests of CPython
           and other programs (docs/suites.md); about 70 minutes on two processors
  --long   also: fuzzing for hours, and everything again and again
  --help   this text

Logs are left in target/test-logs. The last line is
`N passed, N failed, N skipped`. Exit status: 0 if nothing failed, 1 if something
did, 64 usage, 69 something needed is missing.
END
}

tier=first
case ${1-} in
'') ;;
--full) tier=full ;;
--long) tier=long ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 64
    ;;
esac
[ $# -le 1 ] || { usage >&2; exit 64; }

# --- the surroundings --------------------------------------------------------

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
command -v cargo >/dev/null || PATH=${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin:$PATH
export PATH LC_ALL=C.UTF-8 CARGO_TERM_COLOR=never
# Nothing of the user's own settings.
unset LD_PRELOAD LD_LIBRARY_PATH PREFIX BINDIR LIBDIR DESTDIR RUSTFLAGS RUSTDOCFLAGS \
    PROPTEST_CASES RUST_TEST_THREADS RUST_BACKTRACE XDG_CONFIG_HOME
advisory_database=${AARP_ADVISORY_DB:-}
for name in $(compgen -e AARP_); do unset "$name"; done

# Most tests wait for something most of the time. Of programs that run alone; of
# those that run together, each has fewer.
RUST_TEST_THREADS=$((2 * $(nproc) + 1))
together=(env RUST_TEST_THREADS=$(($(nproc) + 1)) tests/together.py --locked)
export RUST_TEST_THREADS

target=${CARGO_TARGET_DIR:-$source_folder/target}
case $target in /*) ;; *) target=$source_folder/$target ;; esac
# Relative to the folder in which cargo runs, and that changes.
[ -z "${CARGO_TARGET_DIR:-}" ] || export CARGO_TARGET_DIR=$target
stage=$target/stage
export AARP_STAGE=$stage
# Pays at the second build only; where there was one already, its parts are used.
[ -d "$target/debug/incremental" ] || export CARGO_INCREMENTAL=0
logs=$target/test-logs
rm -rf -- "$logs"
# What is found about programs, for docs/programs.md.
export AARP_RECORDS=$logs/programs
mkdir -p -- "$AARP_RECORDS" || exit 69

scratch=$(mktemp -d)
running=
# shellcheck source=packaging/debian.sh
. "$source_folder/packaging/debian.sh"
# shellcheck disable=SC2317 # called by the trap
tidy() {
    if [ -n "$running" ]; then
        kill "$running" 2>/dev/null
        wait "$running" 2>/dev/null
    fi
    packages_tidy
    rm -rf -- "$scratch"
}
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# Labs are known by name in a folder of their own: what another run left behind, or
# is doing now, does not matter to this one.
mkdir -m 700 "$scratch/run"
export XDG_RUNTIME_DIR=$scratch/run

is_root() { [ "$(id -u)" -eq 0 ]; }
missing() {
    can_link || printf 'gcc libc6-dev '
    packages_without ip:iproute2 nft:nftables ethtool:ethtool nginx:nginx-light curl:curl \
        wget:wget python3:python3 ssh:openssh-client sshd:openssh-server git:git \
        nc.openbsd:netcat-openbsd tcpdump:tcpdump ping:iputils-ping strace:strace \
        setcap:libcap2-bin shellcheck:shellcheck man:man-db sysctl:procps script:bsdutils pkg-config:pkg-config \
        dnsmasq:dnsmasq-base dig:bind9-dnsutils kdig:knot-dnsutils ntpdig:ntpsec-ntpdig \
        node:nodejs iperf3:iperf3 openssl:openssl gnutls-cli:gnutls-bin \
        gtlsclient:ngtcp2-client gtlsserver:ngtcp2-server bash-static:bash-static \
        tshark:tshark systemd-analyze:systemd systemd-sysusers:systemd
    python3 -c 'import jsonschema' 2>/dev/null || /usr/bin/python3 -c 'import jsonschema' \
        2>/dev/null || printf 'python3-jsonschema '
    python3 -c 'import scapy' 2>/dev/null || /usr/bin/python3 -c 'import scapy' \
        2>/dev/null || printf 'python3-scapy '
    # Libraries, which have no command, for tests/context.
    for library in libjemalloc.so.2:libjemalloc2 libtcmalloc_minimal.so.4:libtcmalloc-minimal4 \
        libmimalloc.so.2:libmimalloc2.0 libsocket_wrapper.so:libsocket-wrapper; do
        [ -e "/usr/lib/$(uname -m)-linux-gnu/${library%%:*}" ] || printf '%s ' "${library#*:}"
    done
    # Some hundred megabytes.
    [ "$tier" = first ] || packages_without javac:default-jdk-headless go:golang-go \
        valgrind:valgrind chromium:chromium dpkg-source:dpkg-dev
}
# One word a package.
# shellcheck disable=SC2046
set -- $(missing)
if [ $# -gt 0 ]; then
    if is_root && has_command apt-get; then
        echo "installing packages: $*"
        install_packages "$@" || { echo "apt-get could not install: $*" >&2; exit 69; }
    else
        printf '%s\n' "Debian's packages are missing: $*" "as root: apt-get install $*" >&2
        exit 69
    fi
fi
for tool in cargo rustc rustfmt cargo-clippy; do
    command -v "$tool" >/dev/null && continue
    echo "$tool is missing; with rustup: rustup component add rustfmt clippy" >&2
    exit 69
done

# A run that was killed may have left networks: they bear the id of its process.
if is_root; then
    for namespace in $(ip netns list | sed -n 's/^\(aarpt-[cs]-[0-9]*-[0-9]*\).*/\1/p'); do
        owner=${namespace#aarpt-[cs]-}
        [ -e "/proc/${owner%-*}" ] && continue
        for process in $(ip netns pids "$namespace"); do kill -KILL "$process"; done
        ip netns delete "$namespace" && echo "removed what an earlier run left: $namespace"
    done
fi

# --- running and counting ----------------------------------------------------

passed=0 failed=0 skipped=0 number=0
failing=()
began=$SECONDS
# Seconds after which a part has failed.
limit=900

# part KIND NAME COMMAND...: runs a part of the tests and counts its cases.
#   one     the command itself is the one case
#   cargo   cases as in cargo's `test result:` lines
#   lines   a line `ok - ...` or `not ok - ...` for each case
# A line `SKIPPED: ...` is a case that was skipped, in any kind.
part() {
    local kind=$1 name=$2 log status=0 good=0 bad=0 left=0 start=$SECONDS
    shift 2
    number=$((number + 1))
    log=$logs/$(printf '%02d-%s' "$number" "${name//[^[:alnum:]]/-}").log
    printf '%-44s ' "$name"
    # With job control, or it would be started with SIGINT ignored.
    set -m
    timeout --kill-after=20 "$limit" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    set +m
    wait "$running" || status=$?
    running=
    # A test harness with one thread has begun its own line.
    left=$(grep -cE '(^|\.\.\. )SKIPPED:' "$log")
    case $kind in
    cargo)
        # The last result of each program is its own; those before it are of tests
        # that it started anew, alone.
        read -r good bad < <(awk '
            function count() { good += passed; bad += failed; passed = failed = 0 }
            /^ +(Running|Doc-tests) / { count() }
            /^test result: / { passed = $4; failed = $6 }
            END { count(); print good + 0, bad + 0 }' "$log")
        # For the harness a test that skips itself has passed.
        good=$((good > left ? good - left : 0))
        ;;
    lines)
        good=$(grep -c '^ok' "$log")
        bad=$(grep -c '^not ok' "$log")
        ;;
    one) [ "$status" -ne 0 ] || [ "$left" -gt 0 ] || good=1 ;;
    esac
    [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    # Nothing at all was run: that is not a success.
    [ $((good + bad + left)) -gt 0 ] || bad=1
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
    if [ "$bad" -eq 0 ]; then printf 'ok  '; else printf 'FAIL'; fi
    printf ' %4d passed' "$good"
    [ "$bad" -eq 0 ] || printf ', %d failed' "$bad"
    [ "$left" -eq 0 ] || printf ', %d skipped' "$left"
    [ "$status" -ne 124 ] || printf ', ended after %d s' "$limit"
    printf ' (%d s)\n' $((SECONDS - start))
    grep -oE '(^|\.\.\. )SKIPPED:.*' "$log" | sed 's/^\.\.\. //' | sort | uniq -c |
        sed -E 's/^ *1 (.*)/    \1/; t; s/^ *([0-9]+) (.*)/    \2 (\1 times)/'
    if [ "$bad" -gt 0 ]; then failing+=("$name" "$log"); fi
}
skip() {
    printf '%-44s skip\n    SKIPPED: %s: %s\n' "$1" "$1" "$2"
    skipped=$((skipped + 1))
}

# --- the first tier ----------------------------------------------------------

part one "format" cargo fmt --all --check
part lines "sources" tests/tree.sh
licences() { cargo metadata --locked --format-version 1 | tests/licences.py; }
export -f licences
part lines "licences" bash -o pipefail -c licences
part one "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
part one "clippy, the library as it is shipped" \
    cargo clippy --locked --profile preload -p aarp -- -D warnings
part one "build and install a stage" env PREFIX="$stage" ./install.sh
# With the tests of every package, and the kept inputs of the fuzz targets.
part cargo "tests of the workspace" "${together[@]}" --workspace
part lines "docs/programs.md" tests/compatibility.py check "$AARP_RECORDS"
part lines "install.sh" tests/install.sh

# The demo needs networks: root, or a user namespace.
demo() {
    local status=0
    "$stage/bin/aarp-lab" run demo --stage "$stage" || status=$?
    if [ "$status" -eq 77 ] && ! is_root; then
        echo "SKIPPED: demo: this user may not make networks"
        return 0
    fi
    return "$status"
}
export -f demo is_root
export stage
part one "demo" bash -c demo

# --- the longer tiers --------------------------------------------------------

# Finds cargo-fuzz, or builds it.
find_cargo_fuzz() {
    PATH=$target/tools/bin:$PATH
    command -v cargo-fuzz >/dev/null && return
    part one "build cargo-fuzz" cargo install --locked --root "$target/tools" cargo-fuzz
    command -v cargo-fuzz >/dev/null
}

# fuzz SECONDS: each target for so long.
fuzz() {
    local seconds=$1
    if ! cargo +nightly --version >/dev/null 2>&1; then
        skip "fuzzing" "no nightly Rust (rustup toolchain install nightly)"
        return
    fi
    find_cargo_fuzz || return
    part lines "fuzzing, $seconds s each target" tests/fuzz.sh "$seconds"
}

# The crates without system calls, in an interpreter that knows the memory model: few
# cases of the properties, and none of the tests that would take minutes.
interpreted() {
    if ! cargo +nightly --version >/dev/null 2>&1; then
        skip "Miri" "no nightly Rust (rustup toolchain install nightly)"
        return
    fi
    if ! cargo +nightly miri --version >/dev/null 2>&1 &&
        ! rustup component add --toolchain nightly miri rust-src >/dev/null 2>&1; then
        skip "Miri" "rustup component add --toolchain nightly miri rust-src"
        return
    fi
    # Of the tests of the table the one that has threads: the others would take an hour,
    # and a model checker has looked at its words (table/model.rs).
    part cargo "Miri" env PROPTEST_CASES=2 MIRIFLAGS=-Zmiri-disable-isolation \
        cargo +nightly miri test --locked -p aarp-wire -p aarp-core --lib -- --skip table::tests
    part cargo "Miri, readers of the table" env MIRIFLAGS=-Zmiri-disable-isolation \
        cargo +nightly miri test --locked -p aarp-core --lib -- \
        --exact table::tests::readers_look_on
}

# again TIMES NAME COMMAND...: the same tests several times.
again() {
    local times=$1 name=$2 turn
    shift 2
    for turn in $(seq "$times"); do part cargo "$name, turn $turn" "$@"; done
}

# Known weaknesses of what we use, by a clone of RustSec's database: nothing is fetched.
advisories() {
    if [ -z "${advisory_database:-}" ]; then
        printf '%-44s not checked: AARP_ADVISORY_DB names no clone of RustSec'"'"'s database\n' \
            "advisories"
    elif ! command -v cargo-audit >/dev/null; then
        printf '%-44s not checked: cargo-audit is not installed\n' "advisories"
    else
        part one "advisories" cargo audit --no-fetch --db "$advisory_database"
    fi
}

if [ "$tier" != first ]; then
    limit=3600
    advisories
    part one "documentation" \
        env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
    part lines "instructions of each hooked call" benches/instructions.sh
    part cargo "property tests, more cases" env PROPTEST_CASES=10000 \
        cargo test --locked -p aarp-wire -p aarp-core
    # Bindings are a feature that the line above is without; their simulations are slower.
    part cargo "property tests of bindings, more cases" env PROPTEST_CASES=2000 \
        cargo test --locked -p aarp-core --features aarp-core/bindings -p aarp-mobility
    if grep -q '^test .* \.\.\. ignored' "$logs"/*tests-of-the-workspace.log; then
        part cargo "tests kept for this tier" \
            cargo test --locked --workspace --no-fail-fast -- --ignored
        # Some of what an ordinary user skips has a row.
        ! is_root || part lines "docs/programs.md, every row" \
            tests/compatibility.py check "$AARP_RECORDS" --whole
    fi
    again 2 "tests that depend on timing" \
        "${together[@]}" -p aarp -p aarp-lab -p aarp-responder
    part lines "public suites" tests/suites/run.sh
    part cargo "the mapping table in a model checker" \
        env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target/loom" \
        cargo test --locked --release -p aarp-core --lib table::model
    interpreted
    fuzz 45
fi
if [ "$tier" = long ]; then
    limit=7200
    again 20 "soak" "${together[@]}" --workspace
    for turn in $(seq 10); do part one "demo, turn $turn" bash -c demo; done
    limit=$((10 * 3600))
    fuzz 1800
fi

# --- the end -----------------------------------------------------------------

# What a log says of its failures: of tests by Rust's harness what they have printed.
# And its end, which names programs that died.
why() {
    local ending=400
    if grep -q '^failures:$' "$1"; then
        awk '/^failures:$/ { on = 1 } on; /^test result: / { on = 0 }' "$1" | head -n 400
        ending=12
    elif grep -q '^not ok' "$1"; then
        grep -A 20 '^not ok' "$1" | head -n 400
        ending=12
    fi
    echo "(the last of $(wc -l <"$1") lines)"
    tail -n "$ending" "$1"
}
for ((at = 0; at < ${#failing[@]}; at += 2)); do
    log=${failing[at + 1]}
    printf '\n=== %s failed; %s\n' "${failing[at]}" "$log"
    why "$log"
done
echo
if is_root && [ "$skipped" -gt 0 ]; then
    echo "Root skips nothing: what was skipped counts as failed."
    failed=$((failed + skipped))
fi
minutes=$(((SECONDS - began) / 60)) seconds=$(((SECONDS - began) % 60))
printf '%s in %d:%02d, as %s, on %d processors\n' "tests/run.sh, tier $tier," \
    "$minutes" "$seconds" "$(id -un)" "$(nproc)"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
