//! Programs whose connect() waits: each is connected, whatever becomes of U.

use std::time::Duration;

use aarp_lab::{Process, rootless};

use crate::NEEDED;
use crate::site::{A, Client, Counters, Failure, PATIENCE, PORT, Site, U1, U2, Variant, now};
use crate::stage::{has, python};

/// An unresponsive U is given up after 3 s, and one connect() of the kernel's takes
/// more than 60. In between there is room for a busy machine.
const WELL_BELOW_A_KERNEL_CONNECT: Duration = Duration::from_secs(30);

const REFUSALS: [Failure; 5] = [
    Failure::Reset,
    Failure::Icmp("admin-prohibited"),
    Failure::Icmp("no-route"),
    Failure::Icmp("addr-unreachable"),
    Failure::Icmp("port-unreachable"),
];

const PYTHON: &str = "
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], 80)
connection.request('GET', '/who')
assert connection.sock.getpeername()[0] == sys.argv[1], connection.sock.getpeername()
print(connection.getresponse().read().decode().strip())
";

/// Starts every blocking program at the same time.
fn start_all(site: &Site) -> Vec<Process> {
    let url = format!("http://[{A}]/who");
    let a = A.to_string();
    let shell = "exec 3<>/dev/tcp/$0/80; printf 'GET /who HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    [
        site.under_library("bash").args(["-c", shell, &a]),
        site.under_library("wget")
            .args(["-q", "-t1", "-O-", "-T0", &url]),
        site.under_library("wget")
            .args(["-q", "-t1", "-O-", "-T0", "http://www.any.test/who"]),
        site.under_library(python()).args(["-c", PYTHON, &a]),
    ]
    .map(|command| command.spawn().expect("a program starts"))
    .into()
}

/// Every packaged program connects, and so does one with time limits of its own;
/// each tries U first, and then is served by s1 on A. Returns how long the longest
/// took.
fn all_connect_to_a_of_s1(site: &Site, failure: &str) {
    let since = now();
    let processes = start_all(site);
    let limits = [
        "blocking",
        "blocking sndtimeo=25000",
        "blocking usertimeo=25000",
    ];
    let mut clients: Vec<Client> = limits.map(|_| site.program(true, &[])).into();
    for (client, limit) in clients.iter_mut().zip(limits) {
        client.begin(limit);
    }
    for (client, limit) in clients.into_iter().zip(limits) {
        let reply = client.reply();
        let context = format!("{failure}, {limit}: {reply:?}");
        assert_eq!(reply.get("result"), "OK", "{context}");
        assert_eq!(reply.get("said"), "s1", "{context}");
        assert_eq!(reply.get("peer"), A.to_string(), "{context}");
        assert_eq!(reply.number("nonblock"), 0, "{context}");
        for option in ["sndtimeo", "usertimeo"] {
            let set = limit.contains(option);
            let expected = if set { 25000 } else { 0 };
            assert_eq!(reply.number(option), expected, "{context}");
        }
        assert!(reply.elapsed() < WELL_BELOW_A_KERNEL_CONNECT, "{context}");
        let counters = client.end();
        assert_eq!(counters.get("refuted"), 1, "{context}: {}", counters.log);
    }
    let count = processes.len() + limits.len();
    for process in processes {
        let status = process
            .wait(WELL_BELOW_A_KERNEL_CONNECT)
            .expect("a program ends");
        let (out, log) = (process.stdout().unwrap(), process.stderr().unwrap());
        let context = format!("{failure}: `{}`: {out}{log}", process.line());
        assert!(status.success(), "{context}");
        assert!(out.contains("s1"), "{context}");
        assert_eq!(Counters::parse(&log).get("refuted"), 1, "{context}");
    }
    let seen = site.seen(since);
    assert_eq!(seen.tried("s1", U1).len(), count, "{failure}");
    assert_eq!(seen.served("s1", A).len(), count, "{failure}");
    assert!(seen.served("s1", U1).is_empty(), "{failure}");
    assert!(seen.tried("s2", U2).is_empty(), "{failure}");
    assert!(seen.probes() >= count, "{failure}");
}

#[test]
fn a_service_that_u_refuses_is_reached_on_a() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = Site::new(Variant::default());
        for failure in REFUSALS {
            site.break_u("s1", failure);
            all_connect_to_a_of_s1(&site, &format!("{failure:?}"));
        }
    });
}

#[test]
fn a_service_bound_to_a_alone_is_reached_on_a() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = Site::new(Variant {
            bound_to_a: true,
            ..Variant::default()
        });
        all_connect_to_a_of_s1(&site, "bound to A");
    });
}

#[test]
fn a_service_that_is_silent_on_u_is_reached_on_a() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = Site::new(Variant::default());
        site.break_u("s1", Failure::Silence);
        all_connect_to_a_of_s1(&site, "silence");
    });
}

/// A program that lives long is moved to U1. Then that fails, and the route of A
/// leads to s2: the same program is moved to U2, and stays there.
#[test]
fn when_u_fails_after_it_was_pinned_the_other_responder_serves() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let limits = [
            "blocking",
            "blocking sndtimeo=25000",
            "blocking usertimeo=25000",
        ];
        let failures = [
            Some(Failure::Reset),
            Some(Failure::Icmp("admin-prohibited")),
            Some(Failure::Silence),
            // The host is cut off.
            None,
        ];
        let site = Site::new(Variant::default());
        for failure in failures {
            site.lab
                .ip("router", &format!("-6 route replace {A} via {U1}"))
                .unwrap();
            let began = now();
            let mut clients: Vec<Client> = limits.map(|_| site.program(true, &[])).into();
            for (client, limit) in clients.iter_mut().zip(limits) {
                let reply = client.ask(limit);
                assert_eq!(reply.get("said"), "s1", "{failure:?} {reply:?}");
                assert_eq!(reply.get("peer"), A.to_string());
            }
            assert_eq!(site.seen(began).served("s1", U1).len(), limits.len());
            match failure {
                Some(failure) => site.break_u("s1", failure),
                None => {
                    site.lab.ip("s1", "link set eth0 down").unwrap();
                }
            }
            site.move_route();
            let moved = now();
            for (client, limit) in clients.iter_mut().zip(limits) {
                client.begin(limit);
            }
            for (client, limit) in clients.iter_mut().zip(limits) {
                let reply = client.reply();
                let context = format!("{failure:?}, {limit}: {reply:?}");
                assert_eq!(reply.get("result"), "OK", "{context}");
                assert_eq!(reply.get("said"), "s2", "{context}");
                assert_eq!(reply.get("peer"), A.to_string(), "{context}");
                assert!(reply.elapsed() < WELL_BELOW_A_KERNEL_CONNECT, "{context}");
            }
            let seen = site.seen(moved);
            assert_eq!(seen.served("s2", U2).len(), limits.len(), "{failure:?}");
            assert!(seen.tried("s2", A).is_empty(), "{failure:?}");
            if failure.is_some() {
                assert_eq!(seen.tried("s1", U1).len(), limits.len(), "{failure:?}");
            }
            // It is known now: U1 is not tried again, and nobody is asked.
            let known = now();
            for (mut client, limit) in clients.into_iter().zip(limits) {
                assert_eq!(client.ask(limit).get("said"), "s2", "{failure:?}");
                let counters = client.end();
                assert_eq!(counters.get("refuted"), 1, "{}", counters.log);
                // The third connection; of the first two, one asked and one failed.
                assert_eq!(counters.get("hits"), 1, "{}", counters.log);
            }
            let seen = site.seen(known);
            assert_eq!(seen.probes(), 0, "{failure:?}");
            assert!(seen.tried("s1", U1).is_empty(), "{failure:?}");
            site.lab
                .host("s1")
                .unwrap()
                .nft("table inet failure_u\ndelete table inet failure_u")
                .unwrap();
        }
    });
}

/// Both responders refuse on their U: the program is served on A, by the second.
#[test]
fn when_both_us_fail_a_serves() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = Site::new(Variant::default());
        let mut client = site.program(true, &[]);
        assert_eq!(client.ask("blocking").get("said"), "s1");
        site.break_u("s1", Failure::Reset);
        site.break_u("s2", Failure::Silence);
        site.move_route();
        let since = now();
        let reply = client.ask("blocking");
        assert_eq!(reply.get("said"), "s2", "{reply:?}");
        assert_eq!(reply.get("peer"), A.to_string());
        assert!(reply.elapsed() < WELL_BELOW_A_KERNEL_CONNECT);
        assert_eq!(client.end().get("refuted"), 2);
        let seen = site.seen(since);
        assert_eq!(seen.tried("s1", U1).len(), 1);
        assert_eq!(seen.tried("s2", U2).len(), 1);
        assert_eq!(seen.served("s2", A).len(), 1);
    });
}

/// Where nothing serves, the program hears what it hears without the library, and
/// not later: within the time that it has set.
#[test]
fn where_nothing_serves_the_error_and_its_time_are_the_kernels() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = Site::new(Variant::default());
        let limits = [
            "blocking sndtimeo=4000",
            "blocking usertimeo=4000",
            // Seven seconds and more, by the number of SYNs.
            "blocking syncnt=1",
        ];
        let both = |limit: &str| {
            let mut clients = [false, true].map(|library| site.program(library, &[]));
            for client in &mut clients {
                client.begin(limit);
            }
            clients.map(|client| {
                let reply = client.reply();
                client.end();
                reply
            })
        };
        for address in [U1, A] {
            site.block("s1", address, Failure::Silence);
        }
        let since = now();
        for limit in limits {
            let [native, ours] = both(limit);
            let context = format!("{limit}: {native:?} {ours:?}");
            for key in ["result", "peer", "nonblock", "sndtimeo", "usertimeo"] {
                assert_eq!(native.get(key), ours.get(key), "{key}, {context}");
            }
            assert_ne!(native.get("result"), "OK", "{context}");
            // Timers of the kernel, and a busy machine, add to both.
            let slack = Duration::from_secs(2);
            assert!(ours.elapsed() < native.elapsed() + slack, "{context}");
        }
        let seen = site.seen(since);
        // Each of the three was tried without us on A, and with us on U and on A.
        assert_eq!(seen.tried("s1", U1).len(), limits.len());
        assert!(seen.tried("s1", A).len() >= 2 * limits.len());
        for (failure, limit) in REFUSALS.iter().zip(limits.iter().cycle()) {
            for address in [U1, A] {
                site.block("s1", address, *failure);
            }
            let [native, ours] = both(limit);
            assert_eq!(Some(native.get("result")), failure.error(), "{native:?}");
            assert_eq!(Some(ours.get("result")), failure.error(), "{ours:?}");
        }
    });
}

#[test]
fn refuse_is_ehostunreach_and_never_a() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = Site::new(Variant::default());
        for failure in [Failure::Reset, Failure::Silence] {
            site.break_u("s1", failure);
            let since = now();
            let mut client = site.program(true, &[("AARP_ON_FAILURE", "refuse")]);
            let reply = client.ask("blocking");
            assert_eq!(reply.get("result"), "EHOSTUNREACH", "{reply:?}");
            assert_eq!(reply.number("usertimeo"), 0);
            let reply = client.ask("nonblocking how=error");
            assert_eq!(reply.get("result"), "EHOSTUNREACH", "{reply:?}");
            assert_eq!(client.end().get("refuted"), 1);
            let seen = site.seen(since);
            assert_eq!(seen.tried("s1", U1).len(), 1);
            assert!(seen.tried("s1", A).is_empty());
        }
        let wget = site.under_library("wget").env("AARP_ON_FAILURE", "refuse");
        let url = format!("http://[{A}]:{PORT}/who");
        let output = wget
            .args(["-t1", "-O-", &url])
            .limit(PATIENCE)
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{log}");
        assert!(log.contains("No route to host"), "{log}");
    });
}
