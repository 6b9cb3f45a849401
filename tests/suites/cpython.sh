# shellcheck shell=bash
# CPython's own tests of everything that speaks to a network; read by run.sh and arm.sh.
#
# The interpreter, its library and its tests are Debian's packages of one version,
# unpacked into a folder of their own, where tests.sed makes the tests speak to A.
# shellcheck disable=SC2034,SC2154 # what is the caller's, and for the caller
suite_title="CPython's own tests"
# The least that must be pinned for the run to be worth something.
suite_pinned=1001
suite_jobs=2
# Its own time limits are in proportion.
seconds=1200
suite_packages=(python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib
    libpython3.11-testsuite)

suite_version() { version; }

suite_prepare() {
    local package
    for package in "${suite_packages[@]}"; do
        dpkg-deb --extract "$(unpacked_package "$package")" "$work/tree" || return
    done
    local python=$work/tree/usr/lib/python3.11 name
    local files=("$python"/test/{ssl_servers,support/socket_helper}.py)
    for name in socket socketserver selectors epoll poll httplib ftplib smtplib xmlrpc ssl \
        httpservers imaplib poplib urllib2_localnet docxmlrpc; do
        files+=("$python/test/test_$name.py")
    done
    # Those with mocks in the place of sockets are left as they are.
    for name in "$python"/test/test_asyncio/*.py; do
        case ${name##*/} in
        test_base_events.py | test_selector_events.py | test_proactor_events.py | test_windows_*) ;;
        *) files+=("$name") ;;
        esac
    done
    sed -i -E -f "$here/cpython/tests.sed" "${files[@]}" || return
    sed -i '/^class BaseLoopSockSendfileTests/,$ s/socket\.AF_INET\b/socket.AF_INET6/' \
        "$python/test/test_asyncio/test_base_events.py" || return
    # The families that are meant where none is said.
    sed -i -E 's/^( +family = )AF_INET$/\1AF_INET6/; s/^(def create_server.*family=)AF_INET\b/\1AF_INET6/
        s/^_LOCALHOST += .*/_LOCALHOST = "2001:db8:a::53"/' "$python/socket.py" || return
    sed -i 's/address_family = socket\.AF_INET$/&6/' "$python/socketserver.py" || return
    cat -- "$here/cpython/pairs.py" >>"$python/socket.py"
    sed -e '/^#/d' -e 's/\t.*//' "$here/cpython/excluded" >"$work/excluded"
}

# The longest first.
suite_units() {
    printf '%s\n' test_imaplib test_asyncio.test_events test_ssl test_socket test_asyncio.test_ssl
    local file name
    for file in "$work"/tree/usr/lib/python3.11/test/test_asyncio/test_*.py; do
        name=$(basename "$file" .py)
        case $name in test_events | test_ssl | test_windows_*) ;; *) echo "test_asyncio.$name" ;; esac
    done
    printf 'test_%s\n' poplib xmlrpc urllib2_localnet ftplib selectors docxmlrpc poll epoll \
        httpservers httplib smtplib socketserver
}

suite_run() {
    # Its own limit first, which says where it was.
    bounded "$work/tree/usr/bin/python3.11" -m test -v -u network \
        --timeout "$((seconds - 20))" --ignorefile "$work/excluded" \
        --tempdir "$TMPDIR" --junit-xml "$out/$1.xml" "$1"
}

suite_results() { "$here/results.py" junit "$1" "$2" "$out/$1.xml"; }
