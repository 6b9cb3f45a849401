# shellcheck shell=sh
# Debian's packages, for install.sh and tests/run.sh; read with `.`.
# The caller has a folder of its own in $scratch, and calls packages_tidy when it
# ends in whatever way.
# shellcheck disable=SC2154 # scratch is the caller's

packages_policy=
packages_tidy() {
    [ -z "$packages_policy" ] || rm -f -- "$packages_policy"
    packages_policy=
}

# Debian keeps some commands where an ordinary user does not look.
has_command() { (PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$1") >/dev/null 2>&1; }

# A compiler without libc6-dev is there and cannot link.
can_link() {
    has_command cc || return 1
    echo 'int main(void) { return 0; }' >"$scratch/link.c"
    cc -o "$scratch/link" "$scratch/link.c" 2>/dev/null
}

# packages_without COMMAND:PACKAGE...: the packages of those commands that are not
# there, each once.
packages_without() {
    for pair in "$@"; do
        has_command "${pair%%:*}" || printf '%s\n' "${pair#*:}"
    done | sort -u | tr '\n' ' '
}

# Installs packages, as root. Servers among them run in networks of their own, for
# the demo and the tests: the services of the packages are neither started on this
# machine now nor at its next start. Prints why when it fails.
install_packages() {
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        packages_policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$packages_policy"
        chmod 755 "$packages_policy"
    fi
    new_services=
    for pair in nginx:nginx.service sshd:ssh.service dnsmasq:dnsmasq.service; do
        has_command "${pair%%:*}" || new_services="$new_services $pair"
    done
    # On a terminal one sees it work, elsewhere only why it did not.
    if [ -t 2 ]; then apt_log=/dev/stderr; else apt_log=$scratch/apt.log; fi
    {
        apt-get -q update &&
            DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"
    } </dev/null >"$apt_log" 2>&1 || {
        [ -t 2 ] || cat -- "$apt_log" >&2
        return 1
    }
    for pair in $new_services; do
        service=${pair#*:}
        if has_command "${pair%%:*}" && has_command systemctl; then
            systemctl disable "$service" >/dev/null 2>&1 ||
                echo "note: could not disable $service, which is not needed here" >&2
        fi
    done
    packages_tidy
}
