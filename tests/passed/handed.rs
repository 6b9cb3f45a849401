//! Over exec, in each way that there is.

use std::process::Output;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use aarp_lab::{Process, Signal};
use aarp_sys::clock::boottime;

use crate::daemon::{Served, live_in, with_daemon};
use crate::site::{A, PATIENCE, PORT, U1, Variant};
use crate::stage::compile;

/// The port of a service that answers each datagram, and of one that never does.
pub const ECHO: [u16; 2] = [7000, 7001];

/// Starts the service that answers datagrams.
pub fn echo(served: &Served) -> Process {
    let program = served.site.lab.work().join("echo");
    compile(include_str!("../hooks/echo.c"), &program, &[]);
    let s1 = served.site.lab.host("s1").expect("a host");
    let ports = ECHO.map(|port| port.to_string());
    let echo = s1.command(&program).args(ports).spawn().expect("it starts");
    for port in ECHO {
        s1.wait_udp(port, PATIENCE).expect("it listens");
    }
    echo
}

/// Runs the program that hands sockets on, under the library or not.
fn ways(served: &Served, library: bool) -> String {
    ways_with(served, library, &[])
}

fn ways_with(served: &Served, library: bool, variables: &[(&str, &str)]) -> String {
    ways_within(served, library, variables, Duration::from_secs(600))
}

fn ways_within(
    served: &Served,
    library: bool,
    variables: &[(&str, &str)],
    limit: Duration,
) -> String {
    let program = served.site.lab.work().join("ways");
    let path = program.to_str().expect("a path of ours");
    let command = match library {
        true => served.command(path),
        false => served
            .site
            .lab
            .host("client")
            .expect("a host")
            .command(path),
    };
    let words = [A.to_string(), PORT.to_string(), ECHO[0].to_string()];
    let command = command.args(words).envs(variables.iter().copied());
    let output = command.limit(limit).output();
    told(&output.expect("it runs"))
}

/// What a program has written, which must have succeeded.
pub fn told(output: &Output) -> String {
    let log = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {log}\n{text}", output.status);
    text
}

fn build(served: &Served) {
    let program = served.site.lab.work().join("ways");
    compile(include_str!("ways.c"), &program, &["-pthread"]);
}

/// Whoever is handed a socket hears of A, by whatever call, and the words and the
/// environment that it is given are the same.
#[test]
fn who_is_handed_a_socket_sees_a() {
    with_daemon(Variant::default(), "", |served| {
        let _echo = echo(served);
        build(served);
        let native = ways(served, false);
        assert!(native.lines().count() > 40, "{native}");
        let _daemon = served.start();
        let ours = ways(served, true);
        for (native, ours) in native.lines().zip(ours.lines()) {
            assert_eq!(native, ours);
        }
        assert_eq!(native.lines().count(), ours.lines().count());
        assert!(ours.contains(&format!("[{A}]")) && !ours.contains(&format!("[{U1}]")));
    });
}

/// Without a daemon nobody can say whose the socket is: what the kernel says is shown, and
/// nothing else is different.
#[test]
fn without_a_daemon_u_is_shown() {
    with_daemon(Variant::default(), "", |served| {
        let _echo = echo(served);
        build(served);
        let (native, ours) = (ways(served, false), ways(served, true));
        let shown = |line: &str| line.contains(&format!("peer: [{U1}]"));
        assert!(
            ours.lines().filter(|line| shown(line)).count() > 20,
            "{ours}"
        );
        let back = ours.replace(&format!("[{U1}]"), &format!("[{A}]"));
        assert_eq!(native, back);
    });
}

/// A program that was started with a filter, and has no sockets but those that it was
/// handed, may not be permitted to ask: what the kernel says is shown.
#[test]
fn a_program_under_a_filter_is_not_killed_for_asking() {
    with_daemon(Variant::default(), "", |served| {
        build(served);
        let _daemon = served.start();
        for library in [false, true] {
            let shown = if library { U1 } else { A };
            let told = ways_with(served, library, &[("FILTERED", "1")]);
            assert!(told.contains(&format!("peer: [{shown}]")), "{told}");
        }
    });
}

/// Meanwhile the table tells that its daemon goes on: to one that is silent nobody speaks.
fn while_living<T>(served: &Served, body: impl FnOnce() -> T) -> T {
    let table = served.table();
    live_in(&table, boottime());
    let (ends, end) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while end.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                live_in(&table, boottime());
            }
        });
        let result = body();
        drop(ends);
        result
    })
}

/// A daemon that has stopped holds up nobody for long, though it takes what is said to it.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_daemon_that_has_stopped_holds_nobody_up() {
    with_daemon(Variant::default(), "ttl = \"1h\"\n", |served| {
        let _echo = echo(served);
        build(served);
        let daemon = served.start();
        assert_eq!(served.curl().0, "s1");
        daemon.signal(Signal::STOP).expect("it runs");
        // Some forty times somebody hands on or asks: each could wait for the whole budget.
        let ours = while_living(served, || {
            ways_within(served, true, &[], Duration::from_secs(60))
        });
        assert!(ours.contains(&format!("peer: [{U1}]")), "{ours}");
        daemon.signal(Signal::CONT).expect("it runs");
        let again = ways(served, true);
        assert!(!again.contains(&format!("[{U1}]")), "{again}");
    });
}
