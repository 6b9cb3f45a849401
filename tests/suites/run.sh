#!/bin/bash
# Runs public suites of tests natively and under the library, and compares their
# results test by test; `tests/suites/run.sh --help` says how.
# shellcheck disable=SC2154,SC2317 # suite_ variables and functions are the suites'
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
all=(cpython libuv mojolicious tornado)

usage() {
    cat <<END
Usage: tests/suites/run.sh [--write] [SUITE...]

Runs suites of Debian's packages: natively twice and under the library once, each in a
network of its own (host.toml). The same tests must come out the same, and some must
have been pinned. Prints \`ok - ...\` or \`not ok - ...\` for each promise.
The suites: ${all[*]}

  --write  also writes the table of docs/suites.md, if all is well; of all suites

AARP_STAGE names the stage that is tested, if not target/stage. Needs apt-get and
network for the packages, which are unpacked below target/suites; nothing is
installed. Exit status: 0 if all is well, 1 if not, 64 usage, 69 something is missing.
END
}

write=
if [ "${1-}" = --write ]; then
    write=yes
    shift
fi
case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
esac
for suite in "$@"; do
    case " ${all[*]} " in
    *" $suite "*) ;;
    *)
        usage >&2
        exit 64
        ;;
    esac
done
[ -z "$write" ] || [ $# -eq 0 ] || { usage >&2; exit 64; }
[ $# -gt 0 ] || set -- "${all[@]}"

export LC_ALL=C.UTF-8
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac
stage=${AARP_STAGE:-$target/stage}
library=$stage/lib/aarp/libaarp.so
folder=$target/suites
for file in "$library" "$stage/bin/aarp-lab" "$stage/bin/aarp-responder"; do
    [ -e "$file" ] || { echo "$file is missing: PREFIX=$stage ./install.sh" >&2; exit 69; }
done
for tool in apt-get dpkg-deb dpkg-source cc ar nft ip perl python3; do
    (PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null) || { echo "$tool is missing" >&2; exit 69; }
done
mkdir -p -- "$folder"

scratch=$(mktemp -d)
children=()
tidy() {
    # A lab that ends takes everybody in it along.
    [ ${#children[@]} -eq 0 ] || kill "${children[@]}" 2>/dev/null
    wait
    rm -rf -- "$scratch"
}
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Debian's packages ---------------------------------------------------------

# The system's own sources of packages, with those of sources, in lists of our own.
update_lists() {
    local apt=$folder/apt
    mkdir -p -- "$apt"/{lists/partial,archives/partial} || return
    rm -rf -- "$apt/sources"
    mkdir -- "$apt/sources" || return
    local file
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -f "$file" ] || sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$apt/sources/${file##*/}"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -f "$file" ] ||
            sed -n 's/^deb\(-src\)\? \(.*\)/deb \2\ndeb-src \2/p' "$file" >"$apt/sources/${file##*/}"
    done
    cat >"$apt/apt.conf" <<END
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt";
APT::Sandbox::User "root";
END
    export APT_CONFIG=$apt/apt.conf
    apt-get -qq update
}

# unpacked_package NAME: the file of a binary package, of the version that is current.
unpacked_package() {
    (cd -- "$work/packages" && apt-get -qq download "$1" && readlink -f "$1"_*.deb)
}

# unpacked_source NAME: makes $work/tree of a source package.
unpacked_source() {
    (
        cd -- "$work/packages" && apt-get -qq source --download-only "$1" &&
            dpkg-source --no-copy -x ./*.dsc "$work/tree" >/dev/null
    )
}

# The version of the first package, without what is particular to the machine.
version() {
    apt-cache policy "${suite_packages[0]}" | sed -n 's/^ *Candidate: //p'
}
source_version() {
    apt-cache showsrc --only-source "$1" | sed -n 's/^Version: //p' | sort -V | tail -n 1
}

# Unpacks, changes and builds a suite, unless that has been done to this version.
prepare() {
    local made
    work=$folder/$suite
    # What it is made of.
    made=$(suite_version && cat -- "$here/$suite.sh" && { [ ! -d "$here/$suite" ] || cat -- "$here/$suite"/*; })
    [ "$made" != "$(cat -- "$work/made" 2>/dev/null)" ] || return 0
    rm -rf -- "$work"
    mkdir -p -- "$work/packages" || return
    suite_prepare >"$work.log" 2>&1 || { tail -n 20 "$work.log"; return 1; }
    suite_version >"$work/version" && printf '%s\n' "$made" >"$work/made"
}

# --- running -------------------------------------------------------------------

# arm NAME KIND JOBS [UNIT...]: runs units of the suite in a network of their own.
arm() {
    local name=$1 kind=$2 jobs=$3
    shift 3
    (umask 077 && mkdir -p -- "$scratch/$suite-$name")
    # Where labs are known by name: each is to have its own.
    XDG_RUNTIME_DIR=$scratch/$suite-$name exec "$stage/bin/aarp-lab" shell \
        "$here/host.toml" host --stage "$stage" -- /bin/bash "$here/arm.sh" \
        "$kind" "$suite" "$work" "$out/$name" "$library" "$jobs" "$@" >"$out/$name.log" 2>&1
}

# begin ARM...: as above, in the background; finish: waits for them.
begin() {
    arm "$@" &
    children+=($!)
}
finish() {
    local status=0 child
    for child in "${children[@]}"; do wait "$child" || status=1; done
    children=()
    [ "$status" -eq 0 ] || tail -n 5 "$out"/*.log
    return "$status"
}

run_suite() {
    local start=$SECONDS units turn
    # shellcheck source=/dev/null
    . "$here/$suite.sh"
    if ! prepare; then
        echo "not ok - $suite_title: can be unpacked and built"
        return 1
    fi
    echo "    prepared in $((SECONDS - start)) s"
    out=$work/results
    rm -rf -- "$out"
    mkdir -p -- "$out/again"
    cp -- "$work/version" "$out/version"
    start=$SECONDS
    # Side by side, so that the machine is the same to all.
    begin native native "$suite_jobs"
    begin library library "$suite_jobs"
    begin native-again native "$suite_jobs"
    finish || { echo "not ok - $suite_title: can be run"; return 1; }
    echo "    run in $((SECONDS - start)) s"
    # What differs is run again, with nothing beside it.
    start=$SECONDS
    mapfile -t units < <("$here/results.py" unsteady "$out")
    if [ ${#units[@]} -gt 0 ]; then
        for turn in 1 2 3; do
            begin "again/native-$turn" native 1 "${units[@]}"
            finish || return
            begin "again/library-$turn" library 1 "${units[@]}"
            finish || return
        done
        echo "    again, alone: ${units[*]}, in $((SECONDS - start)) s"
    fi
    "$here/results.py" judge "$out" "$suite_title" "$suite_pinned"
}

# An ordinary user may not make networks everywhere.
status=0
mkdir -m 700 -- "$scratch/first"
XDG_RUNTIME_DIR=$scratch/first "$stage/bin/aarp-lab" shell "$here/host.toml" host \
    --stage "$stage" -- /bin/true 2>"$scratch/first.log" || status=$?
case $status in
0) ;;
77)
    echo "SKIPPED: public suites: this user may not make networks"
    exit 0
    ;;
*)
    echo "not ok - public suites: the network can be made (status $status)"
    cat -- "$scratch/first.log"
    exit 1
    ;;
esac

failed=0 results=()
if ! update_lists; then
    echo "SKIPPED: public suites: no lists of packages"
    exit 0
fi
for suite in "$@"; do
    run_suite || failed=1
    results+=("$folder/$suite/results")
done
if [ -n "$write" ] && [ "$failed" -eq 0 ]; then
    "$here/results.py" write "$root/docs/suites.md" "${results[@]}" || failed=1
fi
exit "$failed"
