# shellcheck shell=bash
# The own tests of Mojolicious, a web framework in Perl with servers and clients of
# HTTP and WebSocket, some of which fork and exec; read by run.sh and arm.sh.
# shellcheck disable=SC2034,SC2154 # what is the caller's, and for the caller
suite_title="Mojolicious' own tests"
suite_pinned=1
suite_jobs=2

suite_version() { source_version libmojolicious-perl; }

suite_prepare() {
    unpacked_source libmojolicious-perl || return
    cd -- "$work/tree" || return
    sed -i -E -f "$here/mojolicious/tests.sed" lib/Mojo/IOLoop/{Client,Server}.pm \
        lib/Mojo/UserAgent/Server.pm lib/Mojo/Server/Daemon.pm t/mojolicious/*.t \
        t/mojo/{user_agent,websocket,daemon,ioloop,prefork,proxy,websocket_proxy}.t
}

# Those that speak to a network. Not hypnotoad and morbo, which wait for ever for
# their servers at 127.0.0.1.
suite_units() {
    printf 'mojo.%s\n' user_agent websocket daemon ioloop prefork proxy websocket_proxy subprocess
    printf 'mojolicious.%s_lite_app\n' longpolling upload upload_stream websocket
    printf 'mojolicious.%s\n' lite_app app proxy_app
}

suite_run() {
    cd -- "$work/tree" || return
    TEST_IPV6=1 TEST_PREFORK=1 TEST_SUBPROCESS=1 TEST_UNIX=1 bounded perl -Ilib "t/${1/.//}.t"
}

suite_results() { "$here/results.py" tap "$1" "$2" "$out/$1.log"; }
