#!/bin/sh
# Builds and installs AARP; `./install.sh --help` says how.
set -eu
umask 022

usage() {
    cat <<'EOF'
Usage: ./install.sh [OPTION|NAME=VALUE]...

Builds AARP and installs it. Settings, as NAME=value, --name=value or
environment variables:
  PREFIX    where it goes                        [/usr/local]
  BINDIR    programs                             [PREFIX/bin]
  LIBDIR    the library, as LIBDIR/aarp/libaarp.so   [PREFIX/lib]
            and libaarp-resolve, for programs that ask on their own
            (manual pages and completions are below PREFIX/share; where PREFIX is /usr
            or /usr/local, units of systemd and the user aarp's sysusers.d file are
            below PREFIX/lib)
  DESTDIR   put before all of these while copying, for making packages

Options:
  --demo        install, then show at work what it is for (Debian: as root it
                also installs the packages that the demo needs)
  --uninstall   remove what was installed, going by the manifest
                PREFIX/share/aarp/manifest; files changed since then stay
  --build-only  build as an ordinary user, for --no-build afterwards
  --no-build    install what was built before
  --help        this text

Examples:
  ./install.sh --demo
  ./install.sh PREFIX=$HOME/.local
  ./install.sh PREFIX=/usr LIBDIR=/usr/lib64 DESTDIR=/tmp/package
  ./install.sh --uninstall

Exit status: 0 done, 64 usage, 69 something needed is missing, 77 not
permitted; with --demo that of the demo.
EOF
}

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() {
    status=$1
    shift
    for line in "$@"; do say "$line"; done
    exit "$status"
}

# --- what is wanted ----------------------------------------------------------

PREFIX=${PREFIX:-}
BINDIR=${BINDIR:-}
LIBDIR=${LIBDIR:-}
DESTDIR=${DESTDIR:-}
demo=no uninstall=no build=yes copy=yes

set_value() {
    case $1 in
    PREFIX) PREFIX=$2 ;;
    BINDIR) BINDIR=$2 ;;
    LIBDIR) LIBDIR=$2 ;;
    DESTDIR) DESTDIR=$2 ;;
    esac
}

while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
    -h | --help)
        usage
        exit 0
        ;;
    --demo) demo=yes ;;
    --uninstall) uninstall=yes ;;
    --build-only) copy=no ;;
    --no-build) build=no ;;
    PREFIX=* | BINDIR=* | LIBDIR=* | DESTDIR=*) set_value "${word%%=*}" "${word#*=}" ;;
    --prefix=* | --bindir=* | --libdir=* | --destdir=* | --prefix | --bindir | --libdir | --destdir)
        name=${word%%=*}
        name=$(printf '%s' "${name#--}" | tr '[:lower:]' '[:upper:]')
        if [ "$word" = "${word#*=}" ]; then
            [ $# -gt 0 ] || fail 64 "$word wants a value"
            set_value "$name" "$1"
            shift
        else
            set_value "$name" "${word#*=}"
        fi
        ;;
    *) fail 64 "unknown argument: $word (see ./install.sh --help)" ;;
    esac
done
[ "$build" = yes ] || [ "$copy" = yes ] || fail 64 "--build-only and --no-build leave nothing to do"
if [ "$demo" = yes ]; then
    if [ "$uninstall" = yes ] || [ "$copy" = no ]; then
        fail 64 "--demo goes neither with --uninstall nor with --build-only"
    fi
fi

PREFIX=${PREFIX:-/usr/local}
BINDIR=${BINDIR:-$PREFIX/bin}
LIBDIR=${LIBDIR:-$PREFIX/lib}
# The manifest keeps one path a line, the plan of copies separates them by tabs.
unusable=$(printf '\t\n.')
unusable=${unusable%.}
for path in "$PREFIX" "$BINDIR" "$LIBDIR" "${DESTDIR:-/}"; do
    case $path in
    *["$unusable"]*) fail 64 "a path with a tab or a line break in it: $path" ;;
    /*) ;;
    *) fail 64 "not an absolute path: $path" ;;
    esac
done
DATADIR=$PREFIX/share/aarp
DOCDIR=$PREFIX/share/doc/aarp
MANIFEST=$DATADIR/manifest
# Where systemd looks by itself; elsewhere units would be of no use, and so would they
# with a path of the program that they would have to quote.
SYSTEMDIR=
case $PREFIX:$BINDIR in
*[!A-Za-z0-9/._+:-]*) ;;
/usr:* | /usr/local:*) SYSTEMDIR=$PREFIX/lib ;;
esac
source_folder=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

# shellcheck source=packaging/debian.sh
. "$source_folder/packaging/debian.sh"

# --- tidying up --------------------------------------------------------------

scratch=
unfinished=
# shellcheck disable=SC2317 # called by the trap
tidy() {
    [ -z "$scratch" ] || rm -rf -- "$scratch"
    [ -z "$unfinished" ] || rm -f -- "$unfinished"
    packages_tidy
}
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
scratch=$(mktemp -d)

# --- removing ----------------------------------------------------------------

# Manifest lines are `file SHA256 PATH` and `dir PATH`, of final paths: DESTDIR is
# not in them.
checksum() { sha256sum <"$1" | cut -c 1-64; }

# Removes the files that the manifest lines on stdin name, if they are still what
# was installed; says which ones are not.
remove_files() {
    : >"$scratch/kept"
    while read -r kind sum path; do
        [ "$kind" = file ] || continue
        target=$DESTDIR$path
        if [ ! -e "$target" ] && [ ! -h "$target" ]; then continue; fi
        if [ -f "$target" ] && [ ! -h "$target" ] && [ "$(checksum "$target")" = "$sum" ]; then
            rm -f -- "$target"
        else
            printf '%s\n' "$target" >>"$scratch/kept"
        fi
    done
    sort -u "$scratch/kept" | while read -r target; do
        # An interrupted installation has two checksums for one file.
        if [ -e "$target" ] || [ -h "$target" ]; then
            say "left in place, changed since it was installed: $target"
        fi
    done
}

# Removes the folders that the manifest lines on stdin name, if they are empty,
# the innermost first.
remove_folders() {
    sed -n 's/^dir //p' | sort -ru | while read -r path; do
        target=$DESTDIR$path
        if [ -d "$target" ] && [ ! -h "$target" ] && [ -z "$(ls -A -- "$target")" ]; then
            rmdir -- "$target"
        fi
    done
}

if [ "$uninstall" = yes ]; then
    manifest=$DESTDIR$MANIFEST
    [ -f "$manifest" ] || fail 69 "nothing to remove: there is no $manifest" \
        "if it was installed elsewhere, give the same PREFIX and DESTDIR again"
    [ -w "$(dirname -- "$manifest")" ] || fail 77 "no permission to change $DESTDIR$PREFIX"
    cp -- "$manifest" "$scratch/old"
    remove_files <"$scratch/old"
    rm -f -- "$manifest"
    remove_folders <"$scratch/old"
    say "removed from $DESTDIR$PREFIX"
    exit 0
fi

# --- what must be there ------------------------------------------------------

is_root() { [ "$(id -u)" -eq 0 ]; }
missing_packages() {
    if [ "$build" = yes ] && ! can_link; then printf 'gcc libc6-dev '; fi
    packages_without ip:iproute2 nft:nftables nginx:nginx-light curl:curl ethtool:ethtool
}

if [ "$demo" = yes ]; then
    # One word a package.
    # shellcheck disable=SC2046
    set -- $(missing_packages)
    if [ $# -gt 0 ]; then
        if is_root && has_command apt-get; then
            say "installing packages: $*"
            install_packages "$@" || fail 69 "apt-get could not install: $*"
        else
            fail 69 "the demo needs Debian's packages: $*" \
                "as root: apt-get install $*"
        fi
    fi
fi

wanted_rust=$(sed -n 's/^rust-version *= *"\(.*\)"$/\1/p' "$source_folder/Cargo.toml")

no_rust() {
    fail 69 "$1" \
        "Rust $wanted_rust or newer is needed. With rustup (https://rustup.rs):" \
        "    rustup toolchain install stable && rustup default stable" \
        "or Debian's own, where 'apt-cache policy rustc' shows $wanted_rust or newer:" \
        "    apt-get install cargo rustc" \
        "If only your own user has it and the rest needs root:" \
        "    ./install.sh --build-only && sudo ./install.sh --no-build"
}

check_rust() {
    if ! command -v cargo >/dev/null 2>&1; then
        # Where rustup puts it; a shell that was open before does not know.
        rustup_bin=${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin
        [ -x "$rustup_bin/cargo" ] || no_rust "cargo was not found"
        PATH=$rustup_bin:$PATH
        export PATH
    fi
    version=$(rustc --version 2>/dev/null) || no_rust "rustc is not there, or has no toolchain"
    version=${version#rustc }
    version=${version%%[ -]*}
    found_major=${version%%.*}
    found_minor=${version#*.}
    found_minor=${found_minor%%.*}
    wanted_major=${wanted_rust%%.*}
    wanted_minor=${wanted_rust#*.}
    wanted_minor=${wanted_minor%%.*}
    if [ "$found_major" -lt "$wanted_major" ] ||
        { [ "$found_major" -eq "$wanted_major" ] && [ "$found_minor" -lt "$wanted_minor" ]; }; then
        no_rust "rustc is $version"
    fi
    can_link || fail 69 "no C compiler that can link a program (Rust links with it)" \
        "on Debian, as root: apt-get install gcc libc6-dev"
}

# Whether a folder can be made or written to: the first of its parents that exists
# decides.
check_writable() {
    folder=$1
    while [ ! -e "$folder" ]; do folder=$(dirname -- "$folder"); done
    if [ ! -d "$folder" ]; then fail 77 "not a folder: $folder"; fi
    # shellcheck disable=SC2016
    [ -w "$folder" ] || fail 77 "no permission to write to $folder" \
        'run it as root, or install for yourself: ./install.sh PREFIX=$HOME/.local'
}

if [ "$copy" = yes ]; then
    for folder in "$BINDIR" "$LIBDIR/aarp" "$DATADIR" "$DOCDIR" "$LIBDIR/pkgconfig" \
        "$PREFIX/include" ${SYSTEMDIR:+"$SYSTEMDIR/systemd/system" "$SYSTEMDIR/sysusers.d"}; do
        check_writable "$DESTDIR$folder"
    done
fi

# --- building ----------------------------------------------------------------

[ "$build" = no ] || check_rust
cd -- "$source_folder"
if [ "$build" = yes ]; then
    say "building"
    AARP_LIBDIR=$LIBDIR
    export AARP_LIBDIR
    cargo build --locked --profile preload -p aarp >&2
    # Alone: what another package wants of a crate must not be in libaarp.so.
    # The number of the SONAME changes with what is no longer compatible.
    cargo rustc --locked --profile preload -p aarp-resolve --crate-type cdylib,staticlib -- \
        -C link-arg=-Wl,-soname,libaarp-resolve.so.0 >&2
    cargo build --locked --release \
        -p aarpd -p aarp-run -p aarp-probe -p aarp-responder -p aarp-binding -p aarp-agent \
        -p aarp-lab >&2
fi
[ "$copy" = yes ] || exit 0

# Cargo knows where it builds; without it, for --no-build, the usual place.
output=$(cargo metadata --no-deps --format-version 1 2>/dev/null |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p') || output=
output=${output:-${CARGO_TARGET_DIR:-$source_folder/target}}
[ -z "${CARGO_BUILD_TARGET:-}" ] || output=$output/$CARGO_BUILD_TARGET

# --- copying -----------------------------------------------------------------

: >"$scratch/plan"
plan() {
    [ -f "$1" ] || fail 69 "not built: $1 (without --no-build it is)"
    [ ! -d "$DESTDIR$2" ] || fail 69 "a folder is in the way: $DESTDIR$2"
    printf '%s\t%s\t%s\n' "$3" "$1" "$2" >>"$scratch/plan"
    printf 'file %s %s\n' "$(checksum "$1")" "$2" >>"$scratch/new"
}

programs="aarpd aarp-run aarp-probe aarp-responder aarp-binding aarp-agent aarp-lab"
: >"$scratch/new"
plan "$output/preload/libaarp.so" "$LIBDIR/aarp/libaarp.so" 644
# For C. The number is that of its SONAME; by the other name the linker finds it.
plan "$output/preload/libaarp_resolve.so" "$LIBDIR/libaarp-resolve.so.0" 644
plan "$output/preload/libaarp_resolve.a" "$LIBDIR/libaarp-resolve.a" 644
echo 'INPUT(libaarp-resolve.so.0)' >"$scratch/libaarp-resolve.so"
plan "$scratch/libaarp-resolve.so" "$LIBDIR/libaarp-resolve.so" 644
plan "$source_folder/packaging/include/aarp.h" "$PREFIX/include/aarp.h" 644
# Blanks, and what pkg-config or sed would take for something else, after a backslash.
escape() { printf '%s' "$1" | sed 's/[^A-Za-z0-9_/.+@:-]/\\&/g' | sed 's/[\\&|]/\\&/g'; }
version=$(sed -n '/^\[workspace\.package\]/,/^$/s/^version *= *"\(.*\)"$/\1/p' Cargo.toml)
sed "s|@PREFIX@|$(escape "$PREFIX")|; s|@LIBDIR@|$(escape "$LIBDIR")|; s|@VERSION@|$version|" \
    packaging/aarp.pc.in >"$scratch/aarp.pc"
plan "$scratch/aarp.pc" "$LIBDIR/pkgconfig/aarp.pc" 644
plan "$source_folder/packaging/examples/connect.c" "$DOCDIR/examples/connect.c" 644
for name in $programs; do
    plan "$output/release/$name" "$BINDIR/$name" 755
done
for name in LICENSE-MIT LICENSE-APACHE README.md CHANGELOG.md docs/*.md docs/*.svg docs/adr/*.md; do
    [ ! -f "$name" ] || plan "$source_folder/$name" "$DOCDIR/${name#docs/}" 644
done
for name in docs/json-schema/*.json; do
    plan "$source_folder/$name" "$DOCDIR/${name#docs/}" 644
done
# Made by the programs themselves, from the definitions of their command lines.
generate() {
    case $1 in
    # What follows its options is the command that it starts.
    aarp-run) "$output/release/$1" "--generate-$2" "$scratch/$2" ;;
    *) "$output/release/$1" generate "$2" "$scratch/$2" ;;
    esac >"$scratch/pages" || fail 69 "cannot make the $2 of $1"
}
for name in $programs; do
    generate "$name" man
    generate "$name" completions
    plan "$scratch/completions/$name.bash" "$PREFIX/share/bash-completion/completions/$name" 644
    plan "$scratch/completions/_$name" "$PREFIX/share/zsh/site-functions/_$name" 644
    plan "$scratch/completions/$name.fish" "$PREFIX/share/fish/vendor_completions.d/$name.fish" 644
done
for page in "$scratch"/man/*.1; do plan "$page" "$PREFIX/share/man/man1/${page##*/}" 644; done
if [ -f packaging/aarp.toml ]; then
    plan "$source_folder/packaging/aarp.toml" "$DATADIR/aarp.toml.example" 644
fi

if [ -n "$SYSTEMDIR" ]; then
    mkdir "$scratch/units"
    # The units have the program where Debian would.
    for name in aarpd.service aarpd.socket; do
        sed "s|/usr/bin/aarpd|$BINDIR/aarpd|" "packaging/systemd/$name" >"$scratch/units/$name"
        plan "$scratch/units/$name" "$SYSTEMDIR/systemd/system/$name" 644
    done
    plan "$source_folder/packaging/sysusers.d/aarp.conf" "$SYSTEMDIR/sysusers.d/aarp.conf" 644
fi

# Folders that are not there yet are ours to remove one day, and those that an
# earlier installation made.
note_folder() {
    folder=$1
    while [ "$folder" != / ] && [ ! -e "$DESTDIR$folder" ]; do
        printf 'dir %s\n' "$folder" >>"$scratch/new"
        folder=$(dirname -- "$folder")
    done
}
for folder in "$BINDIR" "$LIBDIR/aarp" "$DATADIR"; do note_folder "$folder"; done
cut -f 3 "$scratch/plan" | while read -r path; do note_folder "$(dirname -- "$path")"; done
: >"$scratch/old"
if [ -f "$DESTDIR$MANIFEST" ]; then
    cp -- "$DESTDIR$MANIFEST" "$scratch/old"
    sed -n '/^dir /p' "$scratch/old" >>"$scratch/new"
fi
sort -u "$scratch/new" -o "$scratch/new"

# A whole new file takes the old one's name: a program that has the old library
# mapped, or is one of ours and running, keeps it. What programs load or run, and the
# manifest, are on the disk before they have the name: after a crash of the machine
# no program meets half a library. Pages can be installed again.
put() {
    mkdir -p -- "$(dirname -- "$3")"
    unfinished=$(mktemp -- "$3.XXXXXX")
    cp -- "$2" "$unfinished"
    chmod "$1" "$unfinished"
    case $3 in
    */lib*.so | */lib*.so.0 | "$DESTDIR$BINDIR"/* | "$DESTDIR$MANIFEST") sync -- "$unfinished" ;;
    esac
    mv -f -- "$unfinished" "$3"
    unfinished=
}

# An installation that is broken off can be removed as well: until it is done the
# manifest has the old files and the new ones.
sort -u "$scratch/old" "$scratch/new" >"$scratch/both"
put 644 "$scratch/both" "$DESTDIR$MANIFEST"
tab=$(printf '\t')
while IFS=$tab read -r mode from to; do
    if ! cmp -s -- "$from" "$DESTDIR$to" || [ "$(stat -c %a -- "$DESTDIR$to")" != "$mode" ]; then
        put "$mode" "$from" "$DESTDIR$to"
    fi
done <"$scratch/plan"
# What an earlier version had and this one has not, or has elsewhere.
cut -f 3 "$scratch/plan" | sort -u >"$scratch/paths"
while read -r kind sum path; do
    if [ "$kind" = file ] && ! grep -qxF -e "$path" "$scratch/paths"; then
        printf 'file %s %s\n' "$sum" "$path"
    fi
done <"$scratch/old" >"$scratch/stale"
remove_files <"$scratch/stale"
put 644 "$scratch/new" "$DESTDIR$MANIFEST"

say "installed $DESTDIR$LIBDIR/aarp/libaarp.so and, in $DESTDIR$BINDIR," \
    "$programs"
if [ -z "$DESTDIR" ] && is_root; then
    # Where the dynamic linker looks in its cache alone.
    case $LIBDIR in /usr/lib* | /usr/local/lib*) PATH=$PATH:/usr/sbin:/sbin ldconfig || : ;; esac
fi
if [ -n "$SYSTEMDIR" ] && [ -z "$DESTDIR" ]; then
    say "to have aarpd serve all programs of this host: see $DOCDIR/daemon.md, Starting it"
fi
if [ "$demo" = no ]; then
    if [ -z "$DESTDIR" ]; then
        case :$PATH: in
        *:"$BINDIR":*) say "try: aarp-run --check" ;;
        *) say "try: $BINDIR/aarp-run --check ($BINDIR is not in PATH)" ;;
        esac
    fi
    exit 0
fi

# --- showing -----------------------------------------------------------------

status=0
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin \
    "$DESTDIR$BINDIR/aarp-lab" run demo --stage "$DESTDIR$PREFIX" || status=$?
exit "$status"
