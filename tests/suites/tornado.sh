# shellcheck shell=bash
# The own tests of Tornado, a web server and client in Python; read by run.sh and arm.sh.
# shellcheck disable=SC2034,SC2154 # what is the caller's, and for the caller
suite_title="Tornado's own tests"
suite_pinned=1
suite_jobs=2
suite_packages=(python3-tornado)

suite_version() { version; }

suite_prepare() {
    dpkg-deb --extract "$(unpacked_package python3-tornado)" "$work/tree" || return
    cd -- "$work/tree/usr/lib/python3/dist-packages/tornado" || return
    # What resolvers give is of their families.
    mv test/netutil_test.py . || return
    sed -i -E -f "$here/tornado/tests.sed" testing.py test/*.py && mv netutil_test.py test
}

suite_units() {
    printf '%s_test\n' iostream httpserver simple_httpclient websocket web httpclient tcpclient \
        tcpserver http1connection ioloop netutil process routing testing wsgi asyncio
}

suite_run() {
    PYTHONPATH=$work/tree/usr/lib/python3/dist-packages ASYNC_TEST_TIMEOUT=30 \
        bounded /usr/bin/python3 "$here/tornado/main.py" "tornado.test.$1"
}

suite_results() { "$here/results.py" tap "$1" "$2" "$out/$1.log"; }
