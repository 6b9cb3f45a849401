//! Real programs that use datagrams, and some that cannot be helped, under the ARL.
//!
//! For each program first what becomes of it without us, which is what the other half
//! is about; then under the ARL. Captures at both responders and at the client are the
//! evidence. What was found is also recorded for docs/programs.md.
#[path = "../common/site.rs"]
mod base;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod dialogue;
mod flow;
mod question;
#[path = "../common/record.rs"]
mod record;
mod refused;
mod service;
mod several;
mod transfer;

use aarp_lab::{Proto, rootless};

use crate::dialogue::{Break, Shown, Talker};
use crate::question::{Asker, dig, kdig, ntpdig};
use crate::service::{DNS, DTLS, ECHO, NTP};
use crate::transfer::Transfer;

macro_rules! askers {
    ($($module:ident: $asker:expr,)*) => {$(
        mod $module {
            use super::*;

            const ASKER: Asker = $asker;

            #[test]
            fn goes_to_a_without_us() {
                rootless::test(|| question::goes_to_a_without_us(&ASKER));
            }

            #[test]
            fn is_pinned() {
                rootless::test(|| question::is_pinned(&ASKER));
            }
        }
    )*};
}

askers! {
    dig: Asker {
        name: "dig",
        command: &["dig", "+tries=1", "+time=20", "@HOST", "WHO", "TXT"],
        answer: |node| dig(node, "UDP"),
        protocols: &[Proto::Udp],
        port: DNS,
        calls: "connected, does not block; `sendmmsg` by `syscall`, `recvmsg`",
    },
    dig_tcp: Asker {
        name: "dig +tcp",
        command: &["dig", "+tcp", "+tries=1", "+time=20", "@HOST", "WHO", "TXT"],
        answer: |node| dig(node, "TCP"),
        protocols: &[Proto::Tcp],
        port: DNS,
        calls: "TCP, does not block; `writev`, `read`",
    },
    dig_truncated: Asker {
        name: "dig, answer truncated",
        command: &["dig", "+bufsize=512", "+tries=1", "+time=20", "@HOST", "LONG", "TXT"],
        answer: |node| dig(node, "TCP"),
        protocols: &[Proto::Udp, Proto::Tcp],
        port: DNS,
        calls: "connected; then TCP; neither blocks",
    },
    kdig: Asker {
        name: "kdig",
        command: &["kdig", "+retry=0", "+time=20", "@HOST", "WHO", "TXT"],
        answer: |node| kdig(node, "UDP"),
        protocols: &[Proto::Udp],
        port: DNS,
        calls: "unconnected, does not block; `sendmsg`, `recvfrom`",
    },
    kdig_truncated: Asker {
        name: "kdig, answer truncated",
        command: &["kdig", "+bufsize=512", "+retry=0", "+time=20", "@HOST", "LONG", "TXT"],
        answer: |node| kdig(node, "TCP"),
        protocols: &[Proto::Udp, Proto::Tcp],
        port: DNS,
        calls: "unconnected; then TCP: `sendmsg` with an address, `recv`; neither blocks",
    },
    kdig_fast_open: Asker {
        name: "kdig +fastopen",
        command: &["kdig", "+tcp", "+fastopen", "+retry=0", "+time=20", "@HOST", "WHO", "TXT"],
        answer: |node| kdig(node, "TCP"),
        protocols: &[Proto::Tcp],
        port: DNS,
        calls: "TCP, does not block; `sendmsg` with `MSG_FASTOPEN`",
    },
    ntpdig: Asker {
        name: "ntpdig",
        command: &["ntpdig", "-t", "20", "HOST"],
        answer: ntpdig,
        protocols: &[Proto::Udp],
        port: NTP,
        calls: "unconnected, blocks; `sendto`, `recvfrom`",
    },
}

macro_rules! talkers {
    ($($(#[$kept:meta])? $module:ident: $talker:expr,)*) => {$(
        mod $module {
            use super::*;

            pub(super) const TALKER: Talker = $talker;

            #[test]
            $(#[$kept])?
            fn breaks_without_us() {
                rootless::test(|| dialogue::breaks_without_us(&TALKER));
            }

            #[test]
            $(#[$kept])?
            fn stays_pinned() {
                rootless::test(|| dialogue::stays_pinned(&TALKER));
            }
        }
    )*};
}

/// What most of them have in common.
const DATAGRAMS: Talker = Talker {
    name: "",
    command: &[],
    shown: Shown::Shortened,
    protocol: Proto::Udp,
    port: ECHO,
    breaks: Break::Moves,
    calls: "",
};

talkers! {
    nc: Talker {
        name: "nc -u",
        // It asks for nothing and ends with its input.
        command: &["nc.openbsd", "-u", "-q", "0", "HOST", "PORT"],
        shown: Shown::Not,
        calls: "connected, does not block; `write`, `read`",
        ..DATAGRAMS
    },
    python_connected: Talker {
        name: "python3 socket, connected",
        command: &["python3", "@dialogue.py", "HOST", "PORT", "connected"],
        calls: "connected, blocks; `sendto` and `recv` without an address",
        ..DATAGRAMS
    },
    python_unconnected: Talker {
        name: "python3 socket, sendto",
        command: &["python3", "@dialogue.py", "HOST", "PORT", "unconnected"],
        calls: "unconnected, blocks; `sendto`, `recvfrom`",
        ..DATAGRAMS
    },
    python_messages: Talker {
        name: "python3 socket, sendmsg",
        command: &["python3", "@dialogue.py", "HOST", "PORT", "messages"],
        calls: "unconnected, blocks; `sendmsg`, `recvmsg`",
        ..DATAGRAMS
    },
    asyncio_connected: Talker {
        name: "python3 asyncio datagrams, connected",
        command: &["python3", "@asyncio_dialogue.py", "HOST", "PORT", "connected"],
        calls: "connected, does not block; `sendto` without an address, `recvfrom`",
        ..DATAGRAMS
    },
    asyncio_unconnected: Talker {
        name: "python3 asyncio datagrams, unconnected",
        command: &["python3", "@asyncio_dialogue.py", "HOST", "PORT", "unconnected"],
        calls: "unconnected, does not block; `sendto`, `recvfrom`",
        ..DATAGRAMS
    },
    node_connected: Talker {
        name: "node dgram, connected",
        command: &["node", "@dialogue.js", "HOST", "PORT", "connected"],
        calls: "connected, does not block; `sendmsg` without an address, `recvmsg`",
        ..DATAGRAMS
    },
    node_unconnected: Talker {
        name: "node dgram, unconnected",
        command: &["node", "@dialogue.js", "HOST", "PORT", "unconnected"],
        calls: "unconnected, does not block; `sendmsg`, `recvmsg`",
        ..DATAGRAMS
    },
    openssl: Talker {
        name: "openssl s_client -dtls",
        command: &["openssl", "s_client", "-dtls", "-connect", "HOST:PORT"],
        shown: Shown::Not,
        port: DTLS,
        breaks: Break::Silence,
        calls: "connected, blocks; `write`, `recvfrom`",
        ..DATAGRAMS
    },
    gnutls: Talker {
        name: "gnutls-cli --udp (DTLS)",
        command: &["gnutls-cli", "--udp", "--insecure", "-p", "PORT", "HOST"],
        shown: Shown::Not,
        port: DTLS,
        breaks: Break::Silence,
        calls: "connected, blocks; `sendmsg` without an address, `recv`",
        ..DATAGRAMS
    },
    #[ignore = "kept for the full tier: needs Java"]
    java_connected: Talker {
        name: "java DatagramSocket, connected",
        command: &["java", "@Dialogue.java", "HOST", "PORT", "connected"],
        shown: Shown::Full,
        calls: "connected, blocks; `sendto` without an address, `recvfrom`",
        ..DATAGRAMS
    },
    #[ignore = "kept for the full tier: needs Java"]
    java_unconnected: Talker {
        name: "java DatagramSocket",
        command: &["java", "@Dialogue.java", "HOST", "PORT", "unconnected"],
        shown: Shown::Full,
        calls: "unconnected, blocks; `sendto`, `recvfrom`",
        ..DATAGRAMS
    },
    #[ignore = "kept for the full tier: needs Java"]
    java_channel: Talker {
        name: "java DatagramChannel",
        command: &["java", "@Dialogue.java", "HOST", "PORT", "channel"],
        shown: Shown::Full,
        calls: "connected, blocks; `write`, `read`",
        ..DATAGRAMS
    },
    #[ignore = "kept for the full tier: needs Java"]
    java_socket: Talker {
        name: "java Socket",
        command: &["java", "@Dialogue.java", "HOST", "PORT", "tcp"],
        shown: Shown::Full,
        protocol: Proto::Tcp,
        breaks: Break::Ends,
        calls: "TCP, does not block while it connects; `write`, `read`",
        ..DATAGRAMS
    },
}

mod long_exchange {
    use super::*;

    #[test]
    #[ignore = "long: in tests/run.sh --full"]
    fn of_a_connected_socket_outlives_its_mapping() {
        rootless::test(|| dialogue::outlives_its_mapping(&python_connected::TALKER));
    }

    #[test]
    fn of_an_unconnected_socket_outlives_its_mapping() {
        rootless::test(|| dialogue::outlives_its_mapping(&python_unconnected::TALKER));
    }

    #[test]
    fn asks_again_after_a_pause() {
        rootless::test(|| dialogue::asks_again_after_a_pause(&python_unconnected::TALKER));
    }
}

macro_rules! transfers {
    ($($module:ident: $transfer:ident,)*) => {$(
        mod $module {
            use super::*;

            #[test]
            #[ignore = "long: in tests/run.sh --full"]
            fn breaks_without_us() {
                rootless::test(|| transfer::breaks_without_us(Transfer::$transfer));
            }

            #[test]
            fn stays_pinned() {
                rootless::test(|| transfer::stays_pinned(Transfer::$transfer));
            }
        }
    )*};
}

transfers! {
    iperf3_tcp: IperfTcp,
    iperf3_udp: IperfUdp,
    iperf3_reverse: IperfReverse,
    quic: Quic,
}

mod one_socket {
    use super::*;

    #[test]
    fn is_answered_by_all_without_us() {
        rootless::test(several::without_us);
    }

    #[test]
    fn speaks_to_two_anycast_addresses_of_one_responder() {
        rootless::test(several::two_anycast_addresses);
    }

    #[test]
    fn speaks_to_an_anycast_address_and_to_what_is_behind_it() {
        rootless::test(several::anycast_and_unicast_address);
    }
}

#[test]
fn a_static_program_is_refused() {
    rootless::test(refused::static_program);
}

#[test]
fn the_resolver_of_the_c_library_is_out_of_reach() {
    rootless::test(refused::resolver_of_the_c_library);
}

#[test]
#[ignore = "kept for the full tier: needs Go"]
fn a_program_in_go_is_helped_by_rewriting_names() {
    rootless::test(refused::go_program);
}
