//! A client and a responder, each in a network namespace of its own, joined by a
//! veth pair; removed when the test ends, also when it fails.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

pub const A: &str = "2001:db8:f::1";
pub const A2: &str = "2001:db8:f::2";
pub const U: &str = "2001:db8:1::2";
pub const ULA_A: &str = "fd00:f::1";
pub const ULA_U: &str = "fd00:1::2";
pub const BINARY: &str = env!("CARGO_BIN_EXE_aarp-responder");

/// Nothing here takes long; a machine under load may need its time.
pub const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(300);

pub fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// Whether the test can run; says so past the capture of the test harness if not.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // The harness names the thread after the test.
        let thread = thread::current();
        let test = thread.name().unwrap_or("a test of aarp-responder");
        writeln!(std::io::stderr(), "SKIPPED: {test}: needs root").expect("stderr is open");
    }
    root
}

/// Asks again and again until the condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub struct Net {
    pub client: String,
    pub responder: String,
    pub run_dir: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Net {
    pub fn new() -> Self {
        let id = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let net = Self {
            client: format!("aarpt-c-{id}"),
            responder: format!("aarpt-s-{id}"),
            run_dir: std::env::temp_dir().join(format!("aarpt-{id}")),
        };
        std::fs::create_dir(&net.run_dir).expect("a fresh run directory");
        for name in [&net.client, &net.responder] {
            succeed(Command::new("ip").args(["netns", "add", name]));
            net.at(name, "ip link set lo up");
        }
        let (c, s) = (&net.client, &net.responder);
        net.at(
            c,
            &format!("ip link add eth0 type veth peer name eth0 netns {s}"),
        );
        for (name, host) in [(c, 1), (s, 2)] {
            net.at(name, "ip link set eth0 up");
            net.at(
                name,
                &format!("ip -6 addr add 2001:db8:1::{host}/64 dev eth0 nodad"),
            );
            net.at(
                name,
                &format!("ip -6 addr add fd00:1::{host}/64 dev eth0 nodad"),
            );
        }
        net.at(c, "ip -6 route add 2001:db8:f::/48 via 2001:db8:1::2");
        net.at(c, "ip -6 route add fd00:f::/48 via fd00:1::2");
        net.at(s, "ip -6 route add default via 2001:db8:1::1");
        net
    }

    /// Runs a command in a namespace; it must succeed.
    pub fn at(&self, name: &str, command: &str) -> String {
        succeed(
            Command::new("ip")
                .args(["netns", "exec", name])
                .args(command.split(' ')),
        )
    }

    pub fn on_responder(&self, command: &str) -> String {
        self.at(&self.responder, command)
    }

    /// The program in the responder's namespace, without settings from outside.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.responder, BINARY])
            .args(arguments);
        clean_environment(&mut command);
        command.env("AARP_RUN_DIR", &self.run_dir);
        command
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("ip runs")
    }

    /// Starts `run` and waits until it owns what it was told to.
    pub fn run(&self, arguments: &[&str]) -> Running {
        let owned = arguments.iter().filter(|a| **a == "--anycast").count();
        let running = self.spawn(arguments);
        running.wait_for("owns ", owned.max(1));
        running
    }

    /// A start that must end by itself: its exit status and what it said.
    pub fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut running = self.spawn(arguments);
        (running.wait(), running.said())
    }

    pub fn spawn(&self, arguments: &[&str]) -> Running {
        Running::spawn(self.command(&[&["run"], arguments].concat()))
    }

    /// Fails unless nothing of any responder is left.
    pub fn assert_clean(&self) {
        let lo = self.on_responder("ip -6 addr show dev lo");
        assert_eq!(lo.matches("inet6").count(), 1, "only ::1 is on lo: {lo}");
        assert_eq!(self.on_responder("nft list ruleset"), "");
        let mut left = Vec::new();
        files(&self.run_dir, &mut left);
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.client, &self.responder] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        let _ = std::fs::remove_dir_all(&self.run_dir);
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder)
        .expect("the run directory")
        .flatten()
    {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

pub fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AARP_") {
            command.env_remove(name);
        }
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A responder in the foreground; killed when the test ends.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let said = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("piped");
        let sink = Arc::clone(&said);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = sink.lock().expect("no reader panics");
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self {
            child,
            said,
            reader: Some(reader),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("the reader does not panic").clone()
    }

    pub fn wait_for(&self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.said().matches(text).count() < times {
            assert!(
                Instant::now() < deadline,
                "{text:?} x{times} not in: {}",
                self.said()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it is ours");
    }

    /// Waits for its end; the exit status, if it was not killed.
    pub fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the responder ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        status.and_then(|s| s.code())
    }

    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), Some(0), "{}", self.said());
        self.said()
    }

    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.wait(), None);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `f` in a thread of its own inside the namespace. Sockets it returns stay there.
pub fn inside<T: Send + 'static>(namespace: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let path = format!("/run/netns/{namespace}");
    thread::spawn(move || {
        let file = File::open(path).expect("the namespace is there");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter it");
        f()
    })
    .join()
    .expect("the thread inside the namespace")
}

/// A payload as our probes carry it: 32 octets that begin with "AARP".
pub fn probe_payload() -> Vec<u8> {
    let mut payload = b"AARP\x01\x01\0\0".to_vec();
    payload.extend(0x40..0x58);
    assert_eq!(payload.len(), 32);
    payload
}

pub fn plain_payload() -> Vec<u8> {
    (0x10..0x30).collect()
}

/// A raw socket, by way of the standard library's plain sendto and recvfrom.
pub fn raw(namespace: &str, protocol: i32) -> UdpSocket {
    inside(namespace, move || {
        let protocol = Some(Protocol::from(protocol));
        let socket = Socket::new(Domain::IPV6, Type::RAW, protocol).expect("a raw socket");
        socket.into()
    })
}

pub fn receive(socket: &UdpSocket, patience: Duration) -> Option<(Ipv6Addr, Vec<u8>)> {
    let mut buffer = vec![0; 65536];
    let patience = patience.max(Duration::from_millis(1));
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    match socket.recv_from(&mut buffer) {
        Ok((length, from)) => {
            buffer.truncate(length);
            match from.ip() {
                IpAddr::V6(source) => Some((source, buffer)),
                IpAddr::V4(_) => panic!("an IPv6 socket"),
            }
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => None,
        Err(e) => panic!("receive: {e}"),
    }
}

pub const ECHO_REPLY: u8 = 129;
const ICMPV6: i32 = 58;

pub fn echo_request(identifier: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    // The kernel fills in the checksum of a raw ICMPv6 socket.
    let mut packet = vec![128, 0, 0, 0];
    packet.extend(identifier.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The source of the echo reply to `payload` sent to `to`.
pub fn echo(net: &Net, to: &str, payload: &[u8]) -> Ipv6Addr {
    let socket = raw(&net.client, ICMPV6);
    let request = echo_request(0x4242, 7, payload);
    ask(
        &format!("echo reply from {to}"),
        || {
            let sent = socket.send_to(&request, (ip(to), 0));
            assert_eq!(sent.ok(), Some(request.len()), "a request is sent");
        },
        &socket,
        |reply| reply[0] == ECHO_REPLY && reply[4..] == request[4..],
    )
}

/// The source of the port-unreachable for `payload` sent to a closed port of `to`.
pub fn unreachable(net: &Net, to: &str, payload: &[u8]) -> Ipv6Addr {
    let socket = raw(&net.client, ICMPV6);
    let sender = inside(&net.client, || {
        UdpSocket::bind("[::]:0").expect("a UDP socket")
    });
    ask(
        &format!("port unreachable from {to}"),
        || {
            // An error of the datagram before is reported here, and means nothing.
            let _ = sender.send_to(payload, (ip(to), 33999));
        },
        &socket,
        |error| error[..2] == [1, 4] && error.ends_with(payload),
    )
}

/// Sends until an answer fits, and returns its source.
fn ask(what: &str, send: impl Fn(), socket: &UdpSocket, fits: impl Fn(&[u8]) -> bool) -> Ipv6Addr {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        send();
        let resend = Instant::now() + AGAIN;
        while let Some(left) = resend.checked_duration_since(Instant::now()) {
            match receive(socket, left) {
                Some((source, data)) if data.len() >= 8 && fits(&data) => return source,
                Some(_) => {}
                None => break,
            }
        }
    }
}

/// Whether probes of `to` are answered from `from`, by and by.
pub fn eventually_answers(net: &Net, to: &str, from: &str) {
    eventually(&format!("probes of {to} are answered from {from}"), || {
        echo(net, to, &probe_payload()) == ip(from)
    });
}
