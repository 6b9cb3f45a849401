//! The monitor with real services that change.
#![allow(missing_docs)]

mod servers;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aarp_health::{Check, Event, Monitor, State, Subject};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use servers::*;

use State::{Down, Unknown, Up};

fn quick(text: &str) -> Check {
    Check {
        interval: Duration::from_millis(10),
        ..check(text)
    }
}

/// Waits as a poll loop does.
fn next_events(monitor: &Monitor) -> Vec<Event> {
    let fd = PollFd::new(monitor, PollFlags::IN);
    let time = Timespec::try_from(PATIENCE).expect("not long");
    let ready = poll(&mut [fd], Some(&time)).expect("poll");
    assert_eq!(
        ready,
        1,
        "no event within {PATIENCE:?}: {:?}",
        monitor.status()
    );
    monitor.events()
}

/// What changes of a service, in order.
struct Service<'m> {
    monitor: &'m Monitor,
    /// What has been fetched and not been looked at: several changes may come together.
    fetched: VecDeque<(State, String)>,
}

impl<'m> Service<'m> {
    fn of(monitor: &'m Monitor) -> Self {
        Self {
            monitor,
            fetched: VecDeque::new(),
        }
    }

    /// What changes, until it is `last`.
    fn until(&mut self, last: State) -> Vec<(State, String)> {
        let mut seen = Vec::new();
        loop {
            while let Some(change) = self.fetched.pop_front() {
                let is_last = change.0 == last;
                seen.push(change);
                if is_last {
                    return seen;
                }
            }
            let events = next_events(self.monitor).into_iter();
            let service = events.filter(|event| event.subject == Subject::Service);
            self.fetched
                .extend(service.map(|event| (event.to, event.reason)));
        }
    }
}

fn answers(statuses: &[u16]) -> Vec<String> {
    let answer = |status| format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
    statuses.iter().map(answer).collect()
}

#[test]
fn a_service_without_checks_is_up() {
    let monitor = Monitor::start(Vec::new(), HERE).expect("no threads");
    let mut service = Service::of(&monitor);
    assert_eq!(monitor.state(), Up);
    assert_eq!(service.until(Up), [(Up, "no checks".into())]);
}

#[test]
fn three_failures_in_a_row_take_it_down_and_two_successes_bring_it_up() {
    let script = [200, 503, 503, 200, 503, 500, 503, 200, 503, 200, 200];
    let server = Tcp::answering(answers(&script));
    let check = quick(&format!("http:{}/health", server.port));
    let label = check.to_string();
    let monitor = Monitor::start(vec![check], HERE).expect("a thread");
    let mut service = Service::of(&monitor);
    // One success; two failures are not enough; three are; one success is not.
    assert_eq!(service.until(Up), [(Up, "all checks succeed".into())]);
    assert_eq!(
        service.until(Down),
        [(Down, format!("{label}: HTTP 503, expected 200-399"))]
    );
    let answered = server.accepted.load(Ordering::SeqCst);
    assert!(answered >= 7, "down after {answered} answers");
    assert_eq!(service.until(Up), [(Up, "all checks succeed".into())]);
    let answered = server.accepted.load(Ordering::SeqCst);
    assert!(answered >= 11, "up after {answered} answers");
    let status = monitor.status();
    assert_eq!((status[0].failures, status[0].state), (6, Up));
    assert!(status[0].successes >= 5);
}

#[test]
fn what_does_not_answer_at_first_is_down_at_once() {
    let server = Tcp::answering(answers(&[503]));
    let check = quick(&format!("http:{}", server.port));
    let check = Check {
        interval: PATIENCE * 10,
        ..check
    };
    let monitor = Monitor::start(vec![check], HERE).expect("a thread");
    let mut service = Service::of(&monitor);
    assert_eq!(service.until(Down).len(), 1);
    assert_eq!(monitor.status()[0].failures, 1);
}

#[test]
fn all_checks_must_be_up() {
    let good = Tcp::answering(answers(&[200]));
    // Good, then not, then good for ever.
    let other = Tcp::answering(answers(&[200, 200, 503, 503, 503, 200]));
    let (good, bad) = (
        format!("http:{}/a", good.port),
        format!("http:{}/b", other.port),
    );
    let monitor = Monitor::start(vec![quick(&good), quick(&bad)], HERE).expect("threads");
    let mut service = Service::of(&monitor);
    assert_eq!(service.until(Up).len(), 1);
    let expected = [(Down, format!("{bad}: HTTP 503, expected 200-399"))];
    assert_eq!(service.until(Down), expected);
    assert_eq!(service.until(Up), [(Up, "all checks succeed".into())]);
    assert_eq!(monitor.status()[0].failures, 0);
}

#[test]
fn one_that_does_not_answer_yet_keeps_it_unknown_and_another_that_fails_does_not() {
    let silent = Tcp::start(hold);
    let (good, bad) = (
        Tcp::answering(answers(&[200])),
        Tcp::answering(answers(&[500])),
    );
    let silent = quick(&format!("http:{}", silent.port));
    let good = quick(&format!("http:{}", good.port));
    let monitor = Monitor::start(vec![silent.clone(), good], HERE).expect("threads");
    let events = next_events(&monitor);
    let expected = (Subject::Check(1), Unknown, Up);
    assert_eq!((events[0].subject, events[0].from, events[0].to), expected);
    assert_eq!((events.len(), monitor.state()), (1, Unknown));
    let bad = quick(&format!("http:{}", bad.port));
    let monitor = Monitor::start(vec![silent, bad], HERE).expect("threads");
    let mut service = Service::of(&monitor);
    assert_eq!(service.until(Down).len(), 1);
}

#[test]
fn dropping_it_waits_for_no_service() {
    let silent = Tcp::start(hold);
    let unanswered = Udp::start(|_| Vec::new());
    let checks = [
        format!("http:{}", silent.port),
        format!("udp:{}", unanswered.port),
        format!("dns:{}/example.test", unanswered.port),
    ];
    let monitor = Monitor::start(checks.iter().map(|c| quick(c)).collect(), HERE);
    let monitor = monitor.expect("threads");
    eventually("it is asked", || silent.accepted.load(Ordering::SeqCst) > 0);
    let start = Instant::now();
    drop(monitor);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn another_unicast_address_is_followed() {
    let (first, second) = ("2001:db8:1::1", "2001:db8:1::2");
    in_network(&[first, second], || {
        let [one, two] = [first, second].map(|u| u.parse().expect("an address"));
        let server = Tcp::answering_at(one, answers(&[200]));
        let mut check = quick(&format!("http:{}", server.port));
        // What it is asked once at its address, and no more.
        check.interval = Duration::from_secs(3600);
        let mut fixed = check.clone();
        fixed.address = Some(one);
        let monitor = Monitor::start(vec![check, fixed], one).expect("threads");
        let mut service = Service::of(&monitor);
        assert_eq!(service.until(Up).len(), 1);
        // Nobody is there; it is known at once, and after one result.
        monitor.set_unicast(two);
        let seen = service.until(Down);
        assert!(seen[0].1.ends_with(": connection refused"), "{seen:?}");
        monitor.set_unicast(one);
        assert_eq!(service.until(Up).len(), 1);
        let status = monitor.status();
        assert_eq!((status[0].successes, status[0].failures), (2, 1));
        // The other one has an address of its own.
        assert_eq!((status[1].successes, status[1].failures), (1, 0));
    });
}

#[test]
fn an_address_that_hangs_is_left_at_once() {
    let (first, second) = ("2001:db8:1::1", "2001:db8:1::2");
    in_network(&[first, second], || {
        let [one, two] = [first, second].map(|u| u.parse().expect("an address"));
        let silent = Tcp::at(one, hold);
        let other = std::net::TcpListener::bind((two, silent.port)).expect("the same port");
        let mut check = quick(&format!("http:{}", silent.port));
        check.timeout = PATIENCE * 10;
        let monitor = Monitor::start(vec![check], one).expect("a thread");
        let mut service = Service::of(&monitor);
        eventually("it is asked", || silent.accepted.load(Ordering::SeqCst) > 0);
        monitor.set_unicast(two);
        other.set_nonblocking(true).expect("it can wait");
        let mut asked = None;
        eventually("the other is asked", || {
            asked = other.accept().ok();
            asked.is_some()
        });
        let (mut stream, _) = asked.expect("it was");
        stream.set_nonblocking(false).expect("it can wait");
        read_request(&mut stream);
        assert!(write_or_be_left(&mut stream, answers(&[200])[0].as_bytes()));
        let seen = service.until(Up);
        assert_eq!(seen.len(), 1, "{seen:?}");
        // What the first did not answer is no failure of the second's.
        assert_eq!(monitor.status()[0].failures, 0);
        // Back to the one that hangs: what was known stays until it is known better.
        let asked = silent.accepted.load(Ordering::SeqCst);
        monitor.set_unicast(one);
        eventually("it is asked again", || {
            silent.accepted.load(Ordering::SeqCst) > asked
        });
        assert_eq!((monitor.state(), monitor.events().len()), (Up, 0));
    });
}
