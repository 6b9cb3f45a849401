//! TCP Fast Open (RFC 7413): the first data goes to U with the SYN.

use aarp_lab::Filter;

use crate::site::{A, Failure, PORT, Site, U1, Variant};
use crate::{Run, run, with_site};

const WAYS: [&str; 4] = ["sendto", "sendmsg", "nonblocking", "option"];

/// From now on both ends do it, without a cookie.
fn enable(site: &Site) {
    for host in ["client", "s1"] {
        let set = "echo 1543 >/proc/sys/net/ipv4/tcp_fastopen";
        let shell = site.lab.host(host).unwrap().command("sh");
        shell.args(["-c", set]).run().unwrap();
    }
}

/// How many SYNs with data have come in for an address.
fn fast(run: &Run, address: std::net::Ipv6Addr) -> usize {
    let mut filter = Filter::tcp().dst(address).port(PORT).flags("Sa");
    filter.data = Some(true);
    filter.count(&run.seen.s1)
}

/// However a program opens it, it goes to U, in both runs of the same; and what the
/// calls return is the kernel's.
#[test]
fn the_first_data_goes_to_u() {
    with_site(Variant::default(), |site| {
        for enabled in [false, true] {
            if enabled {
                enable(site);
            }
            for way in WAYS {
                let native = run(site, false, "fast_open", way);
                let ours = run(site, true, "fast_open", way);
                assert_eq!(fast(&native, U1), 0);
                let expected = if enabled { fast(&native, A) } else { 0 };
                assert_eq!(expected, if enabled { 3 } else { 0 }, "{way}");
                assert_eq!(fast(&ours, U1), expected, "{way}: {}", ours.counters.log);
                ours.assert_pinned();
                assert!(ours.seen.tried("s1", A).is_empty());
                for (native, ours) in native.replies.iter().zip(&ours.replies) {
                    for key in ["sent", "received", "who"] {
                        assert_eq!(native.get(key), ours.get(key), "{way} {key}");
                    }
                    assert_eq!(ours.get("who"), "s1");
                }
            }
        }
    });
}

/// A U that refuses: a call that waits for the connection goes to A; one that does not
/// hears of it from the kernel, and the next goes to A.
#[test]
fn a_u_that_refuses_is_given_up() {
    with_site(Variant::default(), |site| {
        site.break_u("s1", Failure::Reset);
        for enabled in [false, true] {
            if enabled {
                enable(site);
            }
            for way in WAYS {
                let run = run(site, true, "fast_open", way);
                let log = &run.counters.log;
                assert_eq!(run.seen.tried("s1", U1).len(), 1, "{way}: {log}");
                for (turn, reply) in run.replies.iter().enumerate() {
                    let waits = !enabled && way.starts_with("send");
                    if turn == 0 && !waits {
                        continue;
                    }
                    assert_eq!(reply.get("who"), "s1", "{way} {turn}: {log}");
                    assert_eq!(reply.get("kernel"), A.to_string(), "{way} {turn}: {log}");
                }
            }
        }
    });
}
