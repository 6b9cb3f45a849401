# shellcheck shell=bash
# libuv's own tests; read by run.sh and arm.sh.
# shellcheck disable=SC2034,SC2154 # what is the caller's, and for the caller
suite_title="libuv's own tests"
suite_pinned=1
# Its ports are its own.
suite_jobs=1

suite_version() { source_version libuv1; }

suite_prepare() {
    unpacked_source libuv1 || return
    cd -- "$work/tree" || return
    local file files=() flags=(-O1 -w -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Isrc)
    for file in test/*.c; do
        case ${file##*/} in
        # Addresses as such, IPv4's multicast, and what no test needs.
        test-ip[46]-addr.c | test-ip-name.c | test-platform-output.c | test-getnameinfo.c) ;;
        test-udp-multicast-*.c | *ipv6*.c | *6.c | benchmark-*.c | run-benchmarks.c) ;;
        *) files+=("$file") ;;
        esac
    done
    sed -i -E -f "$here/libuv/tests.sed" "${files[@]}" test/task.h || return
    files=(src/*.c)
    for file in async core dl fs getaddrinfo getnameinfo loop-watcher loop pipe poll process \
        random-devurandom signal stream tcp thread tty udp linux-core linux-inotify \
        linux-syscalls procfs-exepath proctitle random-getrandom random-sysctl-linux epoll; do
        files+=("src/unix/$file.c")
    done
    for file in test/*.c; do
        case ${file##*/} in
        benchmark-* | run-benchmarks.c | runner-win.c) ;;
        *) files+=("$file") ;;
        esac
    done
    mkdir -p objects/{src/unix,test} || return
    printf '%s\n' "${files[@]}" |
        sed 's|.*|-c & -o objects/&.o|' |
        xargs -P "$(nproc)" -L 1 cc "${flags[@]}" || return
    # Some tests bring their own copies of what is in the library.
    ar rcs libuv.a objects/src/*.o objects/src/unix/*.o &&
        cc -o run-tests objects/test/*.o libuv.a -lpthread -ldl -lrt -lutil
}

suite_units() { echo all; }

# What its Debian package sets, too: no questions to name servers, and more time.
suite_run() {
    mkdir test && cp -r -- "$work/tree/test/fixtures" test && cp -- "$work/tree/run-tests" . || return
    UV_RUN_AS_ROOT=1 RES_OPTIONS=attempts:0 UV_TEST_TIMEOUT_MULTIPLIER=2 \
        bounded ./run-tests
}

suite_results() { "$here/results.py" tap "$1" "$2" "$out/$1.log"; }
