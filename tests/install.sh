#!/bin/bash
# Tests install.sh by installing into folders of its own. Prints one line a test;
# SKIPPED for what cannot be tested here.
# shellcheck disable=SC2317 # functions that are called by check
# shellcheck disable=SC2016 # words for others to expand
set -u
source_folder=$(cd "$(dirname "$0")/.." && pwd -P)
install=$source_folder/install.sh
failed=0

scratch=$(mktemp -d)
chmod 755 "$scratch"
mapped_process=
tidy() {
    [ -z "$mapped_process" ] || kill "$mapped_process" 2>/dev/null
    rm -rf "$scratch"
}
trap tidy EXIT
unset PREFIX BINDIR LIBDIR DESTDIR AARP_LIBRARY LD_PRELOAD LD_LIBRARY_PATH
: >"$scratch/empty.toml"
export AARP_CONFIG=$scratch/empty.toml XDG_CONFIG_HOME=$scratch/none

# check NAME COMMAND...: one test.
check() {
    local name=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then
        echo "ok - $name"
    else
        echo "not ok - $name: $* (status $?)"
        sed 's/^/    /' "$scratch/log"
        failed=1
    fi
}
skipped() { echo "SKIPPED: $1: $2"; }

# exits STATUS WORD COMMAND...: the exit status, and the word in what is printed.
exits() {
    local wanted=$1 word=$2 status=0
    shift 2
    "$@" >"$scratch/output" 2>&1 || status=$?
    cat "$scratch/output"
    [ "$status" -eq "$wanted" ] || { echo "exit status $status, not $wanted"; return 1; }
    grep -qF -e "$word" "$scratch/output" || { echo "not said: $word"; return 1; }
}
is_empty() { ls -lAR "$1" && [ -z "$(ls -A "$1")" ]; }
mode_is() { [ "$(stat -c %a "$2")" = "$1" ]; }
listing() { (cd "$1" && find . -printf '%p %y %m %i\n' | sort); }
loads() { "$@" grep -q '/libaarp\.so' /proc/self/maps; }

# --- a package's folder ------------------------------------------------------

dest=$scratch/dest
mkdir "$dest"
before=$(cat /etc/ld.so.preload 2>&1)
check "installs below DESTDIR" "$install" DESTDIR="$dest"
root=$dest/usr/local
check "the library is in a folder of its own" test -f "$root/lib/aarp/libaarp.so"
check "and alone there" test "$(ls -A "$root/lib/aarp")" = libaarp.so
for name in aarpd aarp-run aarp-probe aarp-responder aarp-binding aarp-agent aarp-lab; do
    check "$name is executable by all" mode_is 755 "$root/bin/$name"
done
check "the licences are there" test -f "$root/share/doc/aarp/LICENSE-MIT" \
    -a -f "$root/share/doc/aarp/LICENSE-APACHE"
for name in aarp-run aarp-probe aarp-probe-watch aarp-responder aarp-responder-run aarp-binding \
    aarp-binding-run aarp-agent aarp-lab aarpd aarpd-run; do
    check "there is a manual page $name" grep -q '^\.SH SYNOPSIS' "$root/share/man/man1/$name.1"
done
check "no page for what is hidden" test ! -e "$root/share/man/man1/aarp-probe-generate.1"
for name in bash-completion/completions/aarp-probe zsh/site-functions/_aarp-probe \
    fish/vendor_completions.d/aarp-probe.fish; do
    check "there is $name" grep -q census "$root/share/$name"
done
for name in aarpd aarp-run aarp-responder aarp-binding aarp-agent aarp-lab; do
    for file in bash-completion/completions/$name zsh/site-functions/_$name \
        fish/vendor_completions.d/$name.fish; do
        check "there is $file" grep -q "$name" "$root/share/$file"
    done
done
check "the schemas of records are there" test -f "$root/share/doc/aarp/json-schema/resolve.json"
check "aarpd runs" exits 0 --user-daemon "$root/bin/aarpd" run --help
check "its service starts what was installed" \
    grep -qx 'ExecStart=/usr/local/bin/aarpd run' "$root/lib/systemd/system/aarpd.service"
check "and there is its socket" \
    grep -q '^ListenSequentialPacket=' "$root/lib/systemd/system/aarpd.socket"
check "there are a header, a library and an example for C" test -f "$root/include/aarp.h" \
    -a -f "$root/lib/libaarp-resolve.so.0" -a -f "$root/lib/libaarp-resolve.a" \
    -a -f "$root/share/doc/aarp/examples/connect.c"
check "pkg-config would find it where it goes" \
    grep -qx 'libdir=/usr/local/lib' "$root/lib/pkgconfig/aarp.pc"
if command -v systemd-sysusers >/dev/null; then
    mkdir "$scratch/host" "$scratch/host/etc"
    cp -R "$root/lib/sysusers.d" "$scratch/host/etc"
    check "systemd makes the user aarp" systemd-sysusers --root="$scratch/host"
    check "who has no shell" \
        grep -q '^aarp:x:[0-9]*:[0-9]*:[^:]*:/:.*/nologin$' "$scratch/host/etc/passwd"
    # Whoever made it may not read it.
    chmod u+r -- "$scratch/host/etc/shadow"
    check "nor a password" grep -q '^aarp:[!*]' "$scratch/host/etc/shadow"
else
    skipped "systemd makes the user aarp" "systemd-sysusers is not installed"
fi
check "nothing outside the prefix" test -z "$(find "$dest" -type f ! -path "$root/*")"
check "the manifest has final paths" \
    grep -q '^file [0-9a-f]\{64\} /usr/local/lib/aarp/libaarp.so$' "$root/share/aarp/manifest"
check "aarp-run finds its library" loads "$root/bin/aarp-run"
check "LD_LIBRARY_PATH and the bare name work together" loads \
    env LD_LIBRARY_PATH="$root/lib/aarp" LD_PRELOAD=libaarp.so
check "/etc/ld.so.preload is left alone" test "$before" = "$(cat /etc/ld.so.preload 2>&1)"

# Unchanged files keep their inodes; only the manifest is written anew.
first=$(listing "$dest" | grep -v manifest)
check "installs a second time" "$install" --no-build DESTDIR="$dest"
check "and changes nothing" test "$first" = "$(listing "$dest" | grep -v manifest)"
check "uninstalls" "$install" DESTDIR="$dest" --uninstall
check "and leaves nothing" is_empty "$dest"
check "a second time there is nothing to remove" \
    exits 69 "nothing to remove" "$install" DESTDIR="$dest" --uninstall

# --- a prefix, with a space in it, and LIBDIR ---------------------------------

prefix="$scratch/my prefix"
mkdir "$prefix"
check "installs into another prefix and LIBDIR" \
    "$install" --prefix="$prefix" --libdir "$scratch/libraries"
check "no units where systemd does not look" test ! -e "$prefix/lib/systemd"
check "that for C too" test -f "$scratch/libraries/libaarp-resolve.so.0"
check "pkg-config is told" grep -qx "libdir=$scratch/libraries" \
    "$scratch/libraries/pkgconfig/aarp.pc"
check "the library is in LIBDIR" test -f "$scratch/libraries/aarp/libaarp.so"
check "aarp-run finds it by the path compiled in" loads "$prefix/bin/aarp-run"
check "installs with LIBDIR by default" env PREFIX="$prefix" "$install"
check "the library is below the prefix" test -f "$prefix/lib/aarp/libaarp.so"
check "the one in the former LIBDIR is gone" test ! -e "$scratch/libraries/aarp/libaarp.so"
check "aarp-run finds it below a folder with a space" loads "$prefix/bin/aarp-run"

# --- replacing what is in use --------------------------------------------------

# An older library: the same with something appended.
library=$prefix/lib/aarp/libaarp.so
cp "$library" "$scratch/older.so"
echo older >>"$scratch/older.so"
mv "$scratch/older.so" "$library"
mkfifo "$scratch/ready" "$scratch/hold"
timeout 300 env LD_LIBRARY_PATH="$prefix/lib/aarp" LD_PRELOAD=libaarp.so bash -c '
    echo ready >"$1"
    read -r _ <"$2"
    grep "/libaarp\.so" /proc/$$/maps
    exit 5' _ "$scratch/ready" "$scratch/hold" >"$scratch/mapped" 2>&1 &
mapped_process=$!
# Open both ways, so that only the reading waits, and that not for ever.
check "a program starts with the library" read -r -t 60 _ <>"$scratch/ready"
inode=$(stat -c %i "$library")
check "installs over a library in use" "$install" --no-build PREFIX="$prefix"
check "the library is another file" test "$inode" != "$(stat -c %i "$library")"
check "and whole" exits 0 "$(sha256sum <"$library" | cut -c 1-64)" cat "$prefix/share/aarp/manifest"
check "no unfinished file is left" test "$(ls -A "$prefix/lib/aarp")" = libaarp.so
exec 3<>"$scratch/hold"
echo go >&3
wait "$mapped_process"
status=$?
mapped_process=
exec 3>&-
check "the program that had the old one runs on" test "$status" -eq 5
check "with the old one" grep -q '(deleted)' "$scratch/mapped"

# --- what is not ours stays ---------------------------------------------------

echo changed >>"$prefix/share/doc/aarp/LICENSE-MIT"
echo mine >"$prefix/bin/mine"
check "uninstalls and names what was changed" \
    exits 0 "LICENSE-MIT" "$install" PREFIX="$prefix" --uninstall
check "a changed file stays" test -f "$prefix/share/doc/aarp/LICENSE-MIT"
check "somebody else's file stays" test -f "$prefix/bin/mine"
check "the library is gone" test ! -e "$prefix/lib"
check "the former LIBDIR is gone" test ! -e "$scratch/libraries"

# An installation that was broken off: a manifest of both, one file still old.
check "installs for the next test" "$install" --no-build PREFIX="$scratch/broken"
manifest=$scratch/broken/share/aarp/manifest
echo older >>"$scratch/broken/bin/aarp-lab"
echo "file $(sha256sum <"$scratch/broken/bin/aarp-lab" | cut -c 1-64) $scratch/broken/bin/aarp-lab" \
    >>"$manifest"
rm "$scratch/broken/bin/aarp-probe"
check "removes what was broken off" "$install" PREFIX="$scratch/broken" --uninstall
check "without a rest" test ! -e "$scratch/broken"

# --- what is missing ----------------------------------------------------------

# tools FOLDER EXCEPT...: links to the commands that the script uses, but not these.
tools() {
    local folder=$1 name
    shift
    mkdir "$folder"
    for name in sh sed cut sort id mktemp dirname tr rm cat ls mkdir cp chmod mv sync cmp stat \
        grep sha256sum cargo rustc cc; do
        case " $* " in
        *" $name "*) ;;
        *) ln -s "$(command -v "$name")" "$folder/$name" ;;
        esac
    done
}
tools "$scratch/no-cargo" cargo rustc
check "without Rust it says what to do" exits 69 rustup \
    env HOME=/nonexistent CARGO_HOME= PATH="$scratch/no-cargo" "$install" PREFIX="$scratch/x"
tools "$scratch/no-cc" cc
check "without a C compiler too" exits 69 "apt-get install gcc libc6-dev" \
    env PATH="$scratch/no-cc" "$install" PREFIX="$scratch/x"
tools "$scratch/bad-cc" cc
printf '#!/bin/sh\nexit 1\n' >"$scratch/bad-cc/cc"
chmod 755 "$scratch/bad-cc/cc"
check "and with one that cannot link" exits 69 "apt-get install gcc libc6-dev" \
    env PATH="$scratch/bad-cc" "$install" PREFIX="$scratch/x"
tools "$scratch/old-rust" rustc
printf '#!/bin/sh\necho "rustc 1.63.0 (4b91a6ea7 2022-08-08)"\n' >"$scratch/old-rust/rustc"
chmod 755 "$scratch/old-rust/rustc"
check "an old Rust is named" exits 69 "rustc is 1.63.0" \
    env PATH="$scratch/old-rust" "$install" PREFIX="$scratch/x"
check "nothing was written" test ! -e "$scratch/x"

check "an unknown argument is refused" exits 64 --bogus "$install" --bogus
check "a relative prefix is refused" exits 64 "not an absolute path" "$install" PREFIX=here
check "help is given" exits 0 LIBDIR "$install" --help

# What root has built may be in a folder of root's alone: another user gets a copy.
users_folder=$source_folder
as_user=(env)
if [ "$(id -u)" -eq 0 ]; then
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups env -u CARGO_TARGET_DIR)
    users_folder=$scratch/copy
    mkdir -p "$users_folder"/target/{preload,release}
    (
        cd "$source_folder" &&
            cp -R install.sh Cargo.toml README.md CHANGELOG.md LICENSE-* docs packaging "$users_folder" &&
            cd "${CARGO_TARGET_DIR:-$source_folder/target}" &&
            cp preload/libaarp{.so,_resolve.so,_resolve.a} "$users_folder/target/preload" &&
            cd release && cp aarpd aarp-{run,probe,responder,binding,agent,lab} \
                "$users_folder/target/release" && chmod -R a+rX "$users_folder"
    ) || exit 1
fi
if "${as_user[@]}" test ! -w /usr/local; then
    check "a prefix that cannot be written is refused" exits 77 'PREFIX=$HOME/.local' \
        "${as_user[@]}" "$users_folder/install.sh" --no-build
else
    skipped "a prefix that cannot be written" "this user may write to /usr/local"
fi
# An ordinary user installs into a folder of their own what is built already.
mkdir "$scratch/home"
[ "$(id -u)" -ne 0 ] || chown 65534:65534 "$scratch/home"
check "an ordinary user installs at home" "${as_user[@]}" HOME="$scratch/home" \
    "$users_folder/install.sh" --no-build PREFIX="$scratch/home/.local"
check "and runs programs from there" loads "${as_user[@]}" "$scratch/home/.local/bin/aarp-run"
check "and removes it" "${as_user[@]}" HOME="$scratch/home" \
    "$users_folder/install.sh" --uninstall PREFIX="$scratch/home/.local"
check "without a rest at home" is_empty "$scratch/home"
if command -v shellcheck >/dev/null; then
    check "shellcheck has nothing to say" shellcheck -x -P "$source_folder" "$install"
else
    skipped "shellcheck" "not installed"
fi
exit "$failed"
