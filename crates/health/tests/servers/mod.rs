//! Real servers on loopback; they end with the test.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aarp_health::Check;
use rustix::net::{AddressFamily, SocketType};

/// Nothing takes so long that is to happen; a machine under load may need its time.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const HERE: Ipv6Addr = Ipv6Addr::LOCALHOST;

/// A check that has all the time it needs.
pub fn check(text: &str) -> Check {
    let check: Check = text.parse().expect("a check");
    Check {
        timeout: PATIENCE,
        ..check
    }
}

/// A check for a service that lets it wait for the whole of `timeout`.
pub fn impatient(text: &str, timeout: Duration) -> Check {
    Check {
        timeout,
        ..check(text)
    }
}

/// Does it once.
pub fn once(check: &Check) -> Result<(), String> {
    check.run(HERE).result
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A TCP server that gives each connection, one after the other, to a function.
pub struct Tcp {
    pub port: u16,
    pub accepted: Arc<AtomicUsize>,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tcp {
    pub fn start(serve: impl FnMut(TcpStream) + Send + 'static) -> Self {
        Self::at(HERE, serve)
    }

    pub fn at(address: Ipv6Addr, mut serve: impl FnMut(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a listener");
        let address = listener.local_addr().expect("bound");
        let (stop, accepted) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&accepted));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                serve(stream.expect("a connection"));
            }
        });
        Self {
            port: address.port(),
            accepted,
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// Reads a request and answers each with the next of these, with the last again
    /// and again; then closes.
    pub fn answering(answers: Vec<String>) -> Self {
        Self::answering_at(HERE, answers)
    }

    pub fn answering_at(address: Ipv6Addr, answers: Vec<String>) -> Self {
        let mut next = 0;
        Self::at(address, move |mut stream| {
            read_request(&mut stream);
            write_or_be_left(&mut stream, answers[next].as_bytes());
            next = (next + 1).min(answers.len() - 1);
        })
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // So that it sees it.
        let woken = TcpStream::connect(self.address);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            // Who was asked at that moment has seen it already.
            let is_awake = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
            assert!(woken.as_ref().err().is_none_or(is_awake), "{woken:?}");
            ended.expect("once").expect("the server has not failed");
        }
    }
}

/// Until the empty line, or until the other side is gone; what was read.
pub fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut octet) {
            Ok(1) => request.push(octet[0]),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("read a request: {error}"),
        }
    }
    String::from_utf8(request).expect("a request in ASCII")
}

/// Whether all was written: a check hears no longer than it must.
pub fn write_or_be_left(stream: &mut TcpStream, octets: &[u8]) -> bool {
    match stream.write_all(octets) {
        Ok(()) => true,
        Err(error) => {
            let left = matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            );
            assert!(left, "write a response: {error}");
            false
        }
    }
}

/// Waits until the other side is gone.
pub fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// A UDP server that answers each datagram with those that a function gives for it.
pub struct Udp {
    pub port: u16,
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Udp {
    pub fn start(mut answers: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::sending(move |query, socket, asker| {
            for answer in answers(query) {
                match socket.send_to(&answer, asker) {
                    Ok(_) => {}
                    // It asked no longer, and an earlier answer came back.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
                }
            }
        })
    }

    /// The function answers by itself.
    pub fn sending(mut serve: impl FnMut(&[u8], &UdpSocket, SocketAddr) + Send + 'static) -> Self {
        let socket = Arc::new(UdpSocket::bind((HERE, 0)).expect("a socket"));
        let port = socket.local_addr().expect("bound").port();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, own) = (Arc::clone(&stop), Arc::clone(&socket));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65535];
            loop {
                let received = own.recv_from(&mut buffer);
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (count, asker) = received.expect("a datagram");
                serve(&buffer[..count], &own, asker);
            }
        });
        Self {
            port,
            socket,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let own = self.socket.local_addr().expect("bound");
        let woken = self.socket.send_to(&[], own);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            woken.expect("it hears itself");
            ended.expect("once").expect("the server has not failed");
        }
    }
}

/// A port on which nobody listens, as long as the socket is there that has it.
pub fn unused_tcp_port() -> (OwnedFd, u16) {
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None);
    let socket = socket.expect("a socket");
    rustix::net::bind(&socket, &SocketAddrV6::new(HERE, 0, 0, 0)).expect("a port");
    let own = rustix::net::getsockname(&socket).expect("bound");
    let own = SocketAddrV6::try_from(own).expect("of IPv6");
    (socket, own.port())
}

/// The same for UDP: that socket hears another peer alone.
pub fn unused_udp_port() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((HERE, 0)).expect("a socket");
    socket.connect((HERE, 1)).expect("a peer");
    let port = socket.local_addr().expect("bound").port();
    (socket, port)
}

/// Runs a test in a network of its own, with these addresses on lo; skips it where
/// that is not permitted.
pub fn in_network(addresses: &[&str], body: impl FnOnce() + Send) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let run = || {
        if let Err(error) = aarp_sys::netns::unshare_network() {
            let line = format!("SKIPPED: {test}: no network of its own: {error}");
            writeln!(std::io::stderr(), "{line}").expect("stderr is open");
            return;
        }
        ip("link set lo up");
        for address in addresses {
            ip(&format!("-6 address add {address}/128 dev lo nodad"));
        }
        // The kernel enters the local routes of new addresses in a queue, some time later;
        // those that packets are sent by are there before.
        for address in addresses {
            let socket = UdpSocket::bind((*address, 0)).expect("an address of this network");
            let itself = socket.local_addr().expect("bound");
            socket.set_nonblocking(true).expect("it need not wait");
            eventually("the address can be reached", || {
                // It is told of what it sent before, too.
                let sent = socket.send_to(b"", itself);
                sent.is_ok() && socket.recv_from(&mut [0]).is_ok()
            });
        }
        body();
    };
    // The thread is in that network, and its children.
    std::thread::scope(|scope| {
        let ended = scope.spawn(run).join();
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

fn ip(arguments: &str) {
    let output = std::process::Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}
