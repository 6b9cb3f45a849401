//! Programs whose connect() does not wait: each hears of the failure from the
//! kernel, or gives up when it wants to, and its next attempt avoids that U.

use std::time::Duration;

use aarp_lab::rootless;

use crate::NEEDED;
use crate::site::{A, Counters, Failure, Site, U1, U2, Variant, now};
use crate::stage::{has, python};

const FAILURES: [Failure; 4] = [
    Failure::Reset,
    Failure::Icmp("admin-prohibited"),
    Failure::Icmp("no-route"),
    Failure::Silence,
];

/// A few milliseconds of distance, as the network has: without them an error can
/// be there before connect() is back.
fn site() -> Site {
    Site::new(Variant {
        delay: Duration::from_millis(3),
        ..Variant::default()
    })
}

/// One program in C, four ways to learn what became of a connect(), and one that
/// never asks: in the same process the next attempt goes to A at once.
#[test]
fn the_next_attempt_of_a_program_avoids_that_u() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = site();
        for failure in FAILURES {
            site.break_u("s1", failure);
            for how in ["error", "connect", "read", "close"] {
                let since = now();
                let mut client = site.program(true, &[]);
                let wait = match failure {
                    Failure::Silence => " wait=700",
                    _ => "",
                };
                // Who has heard of it from these calls is not waited for to close.
                let keep = match (failure, how) {
                    (Failure::Silence, _) | (_, "read" | "close") => "",
                    _ => " keep=1",
                };
                let first = client.ask(&format!("nonblocking how={how}{wait}{keep}"));
                let context = format!("{failure:?}, {how}: {first:?}");
                assert_eq!(first.get("first"), "EINPROGRESS", "{context}");
                let told = match (failure.error(), how) {
                    (None, _) => "ETIMEDOUT",
                    (Some(_), "close") => "EIO",
                    (Some(error), _) => error,
                };
                assert_eq!(first.get("result"), told, "{context}");
                assert_eq!(first.get("peer"), "ENOTCONN", "{context}");
                let seen = site.seen(since);
                assert_eq!(seen.tried("s1", U1).len(), 1, "{context}");
                assert!(seen.tried("s1", A).is_empty(), "{context}");

                let second = client.ask("nonblocking how=error");
                let context = format!("{context}, then {second:?}");
                assert_eq!(second.get("result"), "OK", "{context}");
                assert_eq!(second.get("said"), "s1", "{context}");
                assert_eq!(second.get("peer"), A.to_string(), "{context}");
                for reply in [&first, &second] {
                    assert_eq!(reply.number("nonblock"), 1, "{context}");
                    assert_eq!(reply.number("sndtimeo"), 0, "{context}");
                    assert_eq!(reply.number("usertimeo"), 0, "{context}");
                }
                let counters = client.end();
                assert_eq!(
                    counters.get("refuted"),
                    1,
                    "{context}: {log}",
                    log = counters.log
                );
                let seen = site.seen(since);
                assert_eq!(seen.tried("s1", U1).len(), 1, "{context}");
                assert_eq!(seen.served("s1", A).len(), 1, "{context}");
            }
        }
    });
}

/// U1 dies after it was pinned, and the route moves: the first attempt fails as
/// the kernel says or is given up, and the second goes to U2.
#[test]
fn when_u_dies_the_next_attempt_goes_to_the_other_responder() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = site();
        let mut client = site.program(true, &[]);
        let pinned = client.ask("nonblocking how=error");
        assert_eq!(pinned.get("said"), "s1", "{pinned:?}");
        site.lab.ip("s1", "link set eth0 down").unwrap();
        site.move_route();
        let since = now();
        let lost = client.ask("nonblocking how=close wait=700");
        assert_ne!(lost.get("result"), "OK", "{lost:?}");
        let next = client.ask("nonblocking how=error");
        assert_eq!(next.get("said"), "s2", "{next:?}");
        assert_eq!(next.get("peer"), A.to_string());
        assert_eq!(client.end().get("refuted"), 1);
        let seen = site.seen(since);
        assert_eq!(seen.served("s2", U2).len(), 1);
        assert!(seen.tried("s2", A).is_empty());
    });
}

#[test]
fn curl_hears_it_from_the_kernel_and_its_retry_avoids_that_u() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = site();
        let url = format!("http://[{A}]/who");
        for failure in FAILURES {
            site.break_u("s1", failure);
            let curl = |words: &[&str]| {
                let curl = site
                    .under_library("curl")
                    .args(["-sS", "-g", "--connect-timeout", "3"]);
                let output = curl.args(words).arg(&url).output().unwrap();
                let log = String::from_utf8_lossy(&output.stderr).into_owned();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                (output.status.code(), text, log)
            };
            // 7 is "could not connect", 28 "timed out".
            let told = if failure == Failure::Silence { 28 } else { 7 };
            let (code, _, log) = curl(&[]);
            assert_eq!(code, Some(told), "{failure:?}: {log}");
            assert_eq!(Counters::parse(&log).get("refuted"), 1, "{log}");
            let why = match failure {
                Failure::Reset => format!("{U1} refuses port 80"),
                Failure::Silence => format!("{U1} is silent on port 80"),
                Failure::Icmp("no-route") => format!("{U1} is unreachable"),
                Failure::Icmp(_) => format!("the way to {U1} is prohibited"),
            };
            assert!(log.contains(&format!("{A}: refuted, {why}\n")), "{log}");
            let since = now();
            let (code, text, log) = curl(&["--retry", "1", "--retry-all-errors"]);
            assert_eq!(code, Some(0), "{failure:?}: {log}");
            assert_eq!(text, "s1\n", "{failure:?}");
            assert_eq!(Counters::parse(&log).get("refuted"), 1, "{log}");
            let seen = site.seen(since);
            assert_eq!(seen.tried("s1", U1).len(), 1, "{failure:?}");
            assert_eq!(seen.served("s1", A).len(), 1, "{failure:?}");
        }
    });
}

#[test]
fn nc_hears_it_from_the_kernel() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = site();
        for failure in [Failure::Reset, Failure::Icmp("no-route")] {
            site.break_u("s1", failure);
            let a = A.to_string();
            let output = site
                .under_library("nc")
                .args(["-6", "-v", "-w30", &a, "80"])
                .output()
                .unwrap();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{failure:?}: {log}");
            let told = match failure {
                Failure::Reset => "Connection refused",
                _ => "Network is unreachable",
            };
            assert!(log.contains(told), "{failure:?}: {log}");
            assert_eq!(Counters::parse(&log).get("refuted"), 1, "{log}");
        }
    });
}

const ASYNCIO: &str = "
import asyncio, errno, sys

async def attempt(limit):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(sys.argv[1], 80), limit)
    assert writer.get_extra_info('peername')[0] == sys.argv[1]
    writer.write(b'GET /who HTTP/1.0\\r\\n\\r\\n')
    answer = await reader.read()
    writer.close()
    return answer.decode().split()[-1]

async def main():
    try:
        print(await attempt(1.5))
    except (TimeoutError, asyncio.TimeoutError) as error:
        print('timeout')
    except OSError as error:
        print(errno.errorcode[error.errno])
    print(await attempt(60))

asyncio.run(main())
";

#[test]
fn asyncio_hears_it_from_the_kernel_and_its_next_attempt_avoids_that_u() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = site();
        for failure in FAILURES {
            site.break_u("s1", failure);
            let since = now();
            let output = site
                .under_library(python())
                .args(["-c", ASYNCIO, &A.to_string()])
                .output()
                .unwrap();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{failure:?}: {log}");
            let told = failure.error().unwrap_or("timeout");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text, format!("{told}\ns1\n"), "{failure:?}: {log}");
            assert_eq!(Counters::parse(&log).get("refuted"), 1, "{log}");
            let seen = site.seen(since);
            assert_eq!(seen.tried("s1", U1).len(), 1, "{failure:?}");
            assert_eq!(seen.served("s1", A).len(), 1, "{failure:?}");
        }
    });
}
