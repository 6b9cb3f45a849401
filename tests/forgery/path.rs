//! A client, and a forger on its path who sees its probes.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use aarp_lab::{HostSpec, Lab, Network, Process, wait_until};
use aarp_sys::packet::{Ring, RingSize};

use crate::frame::{ECHO_REQUEST, Message};
use crate::stage::{skip, tool};

/// The address that is asked.
pub const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
/// The address that answers.
pub const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2);
/// The client's own.
pub const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
/// The same, unique local.
pub const LOCAL_A: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa, 0, 0, 0, 0, 0, 0x53);
pub const LOCAL_U: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x51, 0, 0, 0, 0, 0, 2);

/// The port that `unreach` asks.
const PORT: u16 = 33999;

/// How many frames of a flood come without a pause.
const FLOOD: usize = 10_000;
/// As in errno(3).
const ENOBUFS: i32 = 105;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// By which socket the client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    Ping,
    Raw,
    Udp,
}

impl Socket {
    /// Its name in the records of aarp-probe.
    pub fn name(self) -> &'static str {
        match self {
            Socket::Ping => "ping socket",
            Socket::Raw => "raw socket",
            Socket::Udp => "udp socket",
        }
    }
}

/// The network, and the forger's eyes and hands.
pub struct Path {
    pub lab: Lab,
    ring: Ring,
    frames: VecDeque<Vec<u8>>,
    socket: Socket,
    counters: PathBuf,
    queues: PathBuf,
}

impl Path {
    /// None, after a line that says so, where the wanted socket cannot be had: in the
    /// user namespace of an ordinary user, whose one group must be one that may ping.
    pub fn new(socket: Socket) -> Option<Self> {
        // The forger answers nothing by itself, nor says that A is unreachable.
        let network = Network::new()
            .host(
                "client",
                HostSpec::new()
                    .route("default via 2001:db8:c::1")
                    .route("2001:db8:7::/48 via 2001:db8:c::1"),
            )
            .host("forger", HostSpec::new().route("blackhole ::/0"))
            .link(
                format!("client:eth0 {CLIENT}/64"),
                "forger:eth0 2001:db8:c::1/64",
            );
        let lab = Lab::new(&network).expect("a network");
        let client = lab.host("client").expect("a host");
        if socket == Socket::Raw
            && let Err(error) = client.sysctl("net.ipv4.ping_group_range", "1 0")
        {
            if is_in_user_namespace() {
                skip("raw sockets are tried only where nobody may ping, which needs root");
                return None;
            }
            panic!("{error}");
        }
        let net = PathBuf::from(format!("/proc/{}/net", client.init_pid()));
        let table = match socket {
            Socket::Ping => "icmp6",
            Socket::Raw => "raw6",
            Socket::Udp => "udp6",
        };
        let ring = lab
            .host("forger")
            .expect("a host")
            .enter(|| Ring::open("eth0", RingSize::HEADERS, true))
            .expect("a packet socket");
        Some(Self {
            ring,
            frames: VecDeque::new(),
            socket,
            counters: net.join("snmp6"),
            queues: net.join(table),
            lab,
        })
    }

    /// Asks who answers for `a`, with one probe and much time.
    pub fn ask(&mut self, a: Ipv6Addr, variables: &[(&str, &str)]) -> (Process, Message) {
        self.ask_for("300s", a, variables)
    }

    /// Asks by `unreach` alone, with one datagram, and waits as long as `time`; what
    /// the one answer to it is, from `u`.
    pub fn ask_by_unreach(
        &mut self,
        time: &str,
        (a, u): (Ipv6Addr, Ipv6Addr),
        trusted: &str,
    ) -> (Process, Message) {
        let variables = [
            ("AARP_METHODS", "unreach"),
            ("AARP_PREFIXES", &*format!("{a}/128")),
            ("AARP_TRUSTED", trusted),
        ];
        let process = self.start(time, a, &variables);
        let right = self.see("the client asks", |frame| {
            Message::port_unreachable(frame, (a, PORT), u)
        });
        (process, right)
    }

    /// Asks for A by both methods, with one probe each and much time: the request, and
    /// what the one answer to the datagram is, from A.
    pub fn ask_by_both(&mut self) -> (Process, Message, Message) {
        let variables = [
            ("AARP_METHODS", "echo,unreach"),
            ("AARP_PREFIXES", &*format!("{A}/128")),
            ("AARP_TRUSTED", "::/0"),
        ];
        let process = self.start("300s", A, &variables);
        let request = self.probe(A);
        let unreachable = self.see("the client asks by unreach", |frame| {
            Message::port_unreachable(frame, (A, PORT), A)
        });
        (process, request, unreachable)
    }

    /// Asks, and waits for the answer as long as `time`.
    pub fn ask_for(
        &mut self,
        time: &str,
        a: Ipv6Addr,
        variables: &[(&str, &str)],
    ) -> (Process, Message) {
        let process = self.start(time, a, variables);
        let probe = self.probe(a);
        (process, probe)
    }

    fn start(&mut self, time: &str, a: Ipv6Addr, variables: &[(&str, &str)]) -> Process {
        self.look();
        self.frames.clear();
        self.lab
            .host("client")
            .expect("a host")
            .command(tool("aarp-probe"))
            .args(["resolve", "--json", "--timeout", time, &a.to_string()])
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_RETRANSMIT", "200s")
            .envs(variables.iter().copied())
            .spawn()
            .expect("aarp-probe starts")
    }

    /// The next probe that the forger sees.
    pub fn probe(&mut self, a: Ipv6Addr) -> Message {
        self.see("the client asks", |frame| {
            Message::parse(frame)
                .filter(|message| message.kind == ECHO_REQUEST && message.destination == a)
        })
    }

    /// The next frame of which `wanted` makes something.
    fn see<T>(&mut self, what: &str, wanted: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut found = None;
        wait_until(what, PATIENCE, || {
            self.look();
            while let Some(frame) = self.frames.pop_front() {
                found = wanted(&frame);
                if found.is_some() {
                    break;
                }
            }
            Ok(found.is_some())
        })
        .expect("the client sends it");
        found.expect("a frame")
    }

    fn look(&mut self) {
        let frames = &mut self.frames;
        self.ring
            .drain(|frame| frames.push_back(frame.data.to_vec()));
    }

    /// Whom the client tries to connect to next: the destination of its SYN.
    pub fn syn(&mut self) -> Ipv6Addr {
        self.see("the client connects", syn)
    }

    /// Whether the client has not tried to connect since the last probe.
    pub fn is_without_syn(&mut self) -> bool {
        self.look();
        !self.frames.iter().any(|frame| syn(frame).is_some())
    }

    /// Sends messages to the client, not faster than it takes them, and returns
    /// when it has taken all. Its kernel has counted each.
    pub fn send(&self, messages: impl ExactSizeIterator<Item = Message>) {
        let (before, count) = (self.received(), messages.len() as u64);
        for (number, message) in messages.enumerate() {
            self.ring.send(&message.emit()).expect("a frame is sent");
            // A queue of the client holds some hundreds.
            if number % 64 == 63 {
                self.wait_taken(before + number as u64 + 1);
            }
        }
        self.wait_taken(before + count);
    }

    /// Sends these messages over and over, as fast as it can, until the process ends.
    pub fn flood(&self, messages: &[Message], process: &Process) {
        let frames: Vec<_> = messages.iter().map(Message::emit).collect();
        wait_until("the client is done", PATIENCE, || {
            // Enough at a time that the client is never done with it.
            for frame in frames.iter().cycle().take(FLOOD) {
                if let Err(error) = self.ring.send(frame) {
                    // More than the link carries is lost.
                    assert_eq!(error.raw_os_error(), Some(ENOBUFS), "{error}");
                }
            }
            Ok(process.try_wait()?.is_some())
        })
        .expect("a flood does not hold the client");
    }

    /// Waits until so many packets have come in, and none waits to be read.
    fn wait_taken(&self, received: u64) {
        wait_until("the client has taken it", PATIENCE, || {
            Ok(self.received() >= received && self.is_queue_empty())
        })
        .expect("the client takes what is sent");
    }

    /// How many IPv6 packets the client's kernel has received.
    fn received(&self) -> u64 {
        self.counter("Ip6InReceives")
    }

    /// A counter of the client's kernel.
    fn counter(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(&self.counters).expect("counters");
        let value = text.lines().find_map(|line| {
            let (key, value) = line.split_once(char::is_whitespace)?;
            (key == name).then(|| value.trim().parse().expect("a number"))
        });
        value.unwrap_or_else(|| panic!("no counter {name}"))
    }

    fn is_queue_empty(&self) -> bool {
        let text = std::fs::read_to_string(&self.queues).expect("sockets");
        text.lines().skip(1).all(|line| {
            let queues = line.split_whitespace().nth(4).expect("tx_queue:rx_queue");
            queues.ends_with(":00000000")
        })
    }

    pub fn socket(&self) -> Socket {
        self.socket
    }
}

/// Whether this process is root of nothing but a namespace.
fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/gid_map").expect("a map of groups");
    // One range that holds every number there is.
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The destination of a TCP segment with SYN alone.
fn syn(frame: &[u8]) -> Option<Ipv6Addr> {
    let is_tcp = frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&6);
    let flags = frame.get(14 + 40 + 13)? & 0x17;
    let to: [u8; 16] = frame.get(38..54)?.try_into().ok()?;
    (is_tcp && flags == 2).then(|| Ipv6Addr::from(to))
}
