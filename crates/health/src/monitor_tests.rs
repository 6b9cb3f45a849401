use std::net::Ipv6Addr;

use super::*;

/// A monitor of these checks that has no threads: results are given by hand.
fn by_hand(checks: &[&str]) -> Monitor {
    let monitor = Monitor::start(Vec::new(), Ipv6Addr::LOCALHOST).unwrap();
    assert_eq!(monitor.events().len(), 1);
    let checks = checks.iter().map(|text| text.parse::<Check>().unwrap());
    let mut held = monitor.shared.held();
    held.service = State::Unknown;
    held.entries = checks
        .map(|check| Entry::new(&check, Ipv6Addr::LOCALHOST, Duration::ZERO))
        .collect();
    drop(held);
    monitor
}

fn outcome(result: Result<(), &str>) -> Outcome {
    Outcome {
        result: result.map_err(str::to_owned),
        latency: Duration::from_millis(3),
    }
}

fn is_readable(monitor: &Monitor) -> bool {
    let fd = rustix::event::PollFd::new(monitor, rustix::event::PollFlags::IN);
    let at_once = rustix::event::Timespec::default();
    rustix::event::poll(&mut [fd], Some(&at_once)).unwrap() == 1
}

#[test]
fn changes_of_checks_and_of_the_service_are_told_with_their_reasons() {
    let monitor = by_hand(&["tcp:80", "http:80/health"]);
    assert!(!is_readable(&monitor));
    monitor.shared.record(0, 0, outcome(Ok(())));
    assert!(is_readable(&monitor));
    assert_eq!(monitor.state(), State::Unknown);
    monitor.shared.record(1, 0, outcome(Ok(())));
    for _ in 0..3 {
        monitor
            .shared
            .record(1, 0, outcome(Err("HTTP 503, expected 200-399")));
    }
    for _ in 0..3 {
        monitor
            .shared
            .record(0, 0, outcome(Err("connection refused")));
    }
    let seen: Vec<_> = monitor
        .events()
        .into_iter()
        .map(|event| (event.subject, event.from, event.to, event.reason))
        .collect();
    use State::{Down, Unknown, Up};
    use Subject::{Check, Service};
    let expected = [
        (Check(0), Unknown, Up, "it answers"),
        (Check(1), Unknown, Up, "it answers"),
        (Service, Unknown, Up, "all checks succeed"),
        (Check(1), Up, Down, "HTTP 503, expected 200-399"),
        (
            Service,
            Up,
            Down,
            "http:80/health: HTTP 503, expected 200-399",
        ),
        (Check(0), Up, Down, "connection refused"),
    ];
    assert_eq!(
        seen,
        expected.map(|(s, from, to, why)| (s, from, to, why.to_owned()))
    );
    assert!(!is_readable(&monitor));
    assert_eq!((monitor.events(), monitor.state()), (Vec::new(), Down));

    let status = monitor.status();
    assert_eq!((status[0].successes, status[0].failures), (1, 3));
    assert_eq!(
        (status[1].check.as_str(), status[1].state),
        ("http:80/health", Down)
    );
    assert_eq!(status[1].reason, "HTTP 503, expected 200-399");
    assert_eq!(status[1].latency, Duration::from_millis(3));
}

#[test]
fn what_an_earlier_address_answered_does_not_count() {
    let monitor = by_hand(&["tcp:80"]);
    monitor.shared.record(0, 0, outcome(Ok(())));
    monitor.shared.held().entries[0].generation = 1;
    for _ in 0..5 {
        monitor
            .shared
            .record(0, 0, outcome(Err("connection refused")));
    }
    assert_eq!(monitor.state(), State::Up);
    assert_eq!(monitor.status()[0].failures, 0);
}

#[test]
fn events_that_nobody_fetches_are_forgotten_and_the_state_is_right() {
    let monitor = by_hand(&["tcp:80"]);
    let results: [(&[Result<(), &str>], State); 2] = [
        (&[Ok(()); 2], State::Up),
        (&[Err("connection refused"); 3], State::Down),
    ];
    for (results, state) in results.into_iter().cycle().take(1001) {
        for result in results {
            monitor.shared.record(0, 0, outcome(*result));
        }
        assert_eq!(monitor.state(), state);
    }
    let events = monitor.events();
    assert_eq!(events.len(), EVENTS_MAX);
    let last = events.last().unwrap();
    assert_eq!((last.subject, last.to), (Subject::Service, State::Up));
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
}
