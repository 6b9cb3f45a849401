//! The network of these tests: a client, a router, and two responders with a web
//! server each.
//!
//! ```text
//!   client -- router --+-- s1   U1
//!                      |             both own A
//!                      '-- s2   U2
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_lab::{Capture, Command, Filter, HostSpec, Lab, LinkSpec, Network, Packet, Process};

use crate::stage::{compile, tool};

pub const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub const U1: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2);
pub const U2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x52, 0, 0, 0, 0, 2);
pub const PORT: u16 = 80;

/// Nothing here takes long; a machine under load may need its time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How the service of a U does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A filter answers with a reset.
    Reset,
    /// A filter says nothing.
    Silence,
    /// A filter answers with an ICMPv6 error, by its name in nft.
    Icmp(&'static str),
}

impl Failure {
    fn verdict(self) -> String {
        match self {
            Failure::Reset => "reject with tcp reset".to_owned(),
            Failure::Silence => "drop".to_owned(),
            Failure::Icmp(name) => format!("reject with icmpv6 {name}"),
        }
    }

    /// What the kernel tells a program that connects to it; none for nothing.
    pub fn error(self) -> Option<&'static str> {
        match self {
            Failure::Reset | Failure::Icmp("port-unreachable") => Some("ECONNREFUSED"),
            Failure::Silence => None,
            Failure::Icmp("no-route") => Some("ENETUNREACH"),
            Failure::Icmp("addr-unreachable") => Some("EHOSTUNREACH"),
            Failure::Icmp("admin-prohibited") => Some("EACCES"),
            Failure::Icmp(other) => panic!("what does {other} mean?"),
        }
    }
}

/// The network, and what is seen of it.
pub struct Site {
    pub lab: Lab,
    pub s1: Capture,
    pub s2: Capture,
    /// Web servers and responders, which end with it.
    services: RefCell<Vec<Process>>,
}

/// How the site differs from the usual one.
#[derive(Clone, Copy, Default)]
pub struct Variant {
    /// One-way delay between the client and the router.
    pub delay: Duration,
    /// The service of s1 is bound to A alone.
    pub bound_to_a: bool,
}

impl Site {
    pub fn new(variant: Variant) -> Self {
        let responder = |network: u16| {
            HostSpec::new()
                .route(format!("default via 2001:db8:{network:x}::1"))
                // Every connection that is refused is to hear of it.
                .sysctl("net.ipv6.icmp.ratelimit", "0")
                .sysctl("net.ipv6.conf.eth0.keep_addr_on_down", "1")
        };
        let network = Network::new()
            .host("client", HostSpec::new().route("default via 2001:db8:c::1"))
            .host("router", HostSpec::router().route(format!("{A} via {U1}")))
            .host("s1", responder(0x51))
            .host("s2", responder(0x52))
            .add_link(
                LinkSpec::new("client:eth0 2001:db8:c::2/64", "router:c 2001:db8:c::1/64")
                    .delay(variant.delay),
            )
            .link(format!("s1:eth0 {U1}/64"), "router:s1 2001:db8:51::1/64")
            .link(format!("s2:eth0 {U2}/64"), "router:s2 2001:db8:52::1/64")
            .name("www.any.test", A.to_string());
        let lab = Lab::new(&network).expect("a network");
        let s1 = lab.capture("s1", "eth0").expect("a capture");
        let s2 = lab.capture("s2", "eth0").expect("a capture");
        compile(
            include_str!("client.c"),
            &lab.work().join("client-program"),
            &[],
        );
        let site = Self {
            lab,
            s1,
            s2,
            services: RefCell::default(),
        };
        for name in ["s1", "s2"] {
            site.serve(name, variant.bound_to_a && name == "s1");
        }
        site
    }

    /// Starts the responder and the web server of a host.
    fn serve(&self, name: &str, bound_to_a: bool) {
        let host = self.lab.host(name).expect("a host");
        let responder = host
            .command(tool("aarp-responder"))
            .args(["run", "--anycast", &A.to_string()])
            .spawn()
            .expect("aarp-responder starts");
        responder
            .wait_stderr(&format!("owns {A}"), PATIENCE)
            .expect("aarp-responder owns A");
        let file = host.dir().join("nginx.conf");
        let listen = if bound_to_a {
            format!("[{A}]:{PORT}")
        } else {
            format!("[::]:{PORT}")
        };
        let dir = host.dir().display();
        let mut text = format!(
            "user root; daemon off; master_process off; pid {dir}/nginx.pid;\n\
             error_log stderr; events {{}}\nhttp {{ access_log off;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(text, "{kind}_temp_path {dir}/{kind};").expect("a string");
        }
        writeln!(
            text,
            "server {{ listen {listen}; location = /who {{ default_type text/plain; \
             return 200 \"{name}\\n\"; }} }} }}"
        )
        .expect("a string");
        std::fs::write(&file, text).expect("a writable folder");
        let server = host
            .command("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(&file)
            .spawn()
            .expect("nginx starts");
        host.wait_tcp(PORT, PATIENCE).expect("nginx listens");
        self.services.borrow_mut().extend([responder, server]);
    }

    /// From now on the service on U of this host fails; on A it goes on.
    pub fn break_u(&self, host: &str, failure: Failure) {
        let u = if host == "s1" { U1 } else { U2 };
        self.block(host, u, failure);
    }

    /// From now on the service of this host fails on one of its addresses.
    pub fn block(&self, host: &str, address: Ipv6Addr, failure: Failure) {
        let verdict = failure.verdict();
        let name = if address == A { "a" } else { "u" };
        self.lab
            .host(host)
            .and_then(|host| {
                host.nft(&format!(
                    "table inet failure_{name}\ndelete table inet failure_{name}\n\
                     table inet failure_{name} {{ chain in {{\n\
                     type filter hook input priority 0;\n\
                     ip6 daddr {address} tcp dport {PORT} {verdict}\n}}\n}}\n"
                ))
            })
            .expect("nft takes the rules");
    }

    /// Lets the route of A lead to s2.
    pub fn move_route(&self) {
        self.lab
            .ip("router", &format!("-6 route replace {A} via {U2}"))
            .expect("the route moves");
    }

    /// A command on the client's host, under the library.
    pub fn under_library(&self, program: &str) -> Command<'_> {
        let host = self.lab.host("client").expect("a host");
        with_library(host.command(tool("aarp-run")).arg(program))
    }

    /// The client program, under the library or not.
    pub fn program(&self, library: bool, variables: &[(&str, &str)]) -> Client {
        let program = self.lab.work().join("client-program");
        let host = self.lab.host("client").expect("a host");
        let command = if library {
            with_library(host.command(tool("aarp-run")).arg(program))
        } else {
            host.command(program)
        };
        let process = command
            .args([A.to_string(), PORT.to_string()])
            .envs(variables.iter().copied())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("the client starts");
        Client {
            process,
            asked: 0,
            stdin: None,
        }
    }

    /// What each of two responders has seen since then.
    pub fn seen(&self, since: Duration) -> Seen {
        let packets = |capture: &Capture| {
            let mut packets = capture.packets().expect("captured packets");
            packets.retain(|packet| packet.time >= since);
            packets
        };
        Seen {
            s1: packets(&self.s1),
            s2: packets(&self.s2),
        }
    }
}

/// The configuration of a program whose patience does not depend on the machine.
fn with_library(command: Command<'_>) -> Command<'_> {
    command
        .env("AARP_CONFIG", "/dev/null")
        .env("AARP_PREFIXES", format!("{A}/128"))
        .env("AARP_BUDGET", "10s")
        .env("AARP_BUDGET_NONBLOCKING", "10s")
        .env("AARP_STATS", "1")
        .env("AARP_LOG", "debug")
}

/// This moment, by the clock of captured packets.
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
}

/// What the two responders have seen.
pub struct Seen {
    pub s1: Vec<Packet>,
    pub s2: Vec<Packet>,
}

impl Seen {
    fn of(&self, host: &str) -> &[Packet] {
        match host {
            "s1" => &self.s1,
            _ => &self.s2,
        }
    }

    fn ports(&self, host: &str, filter: &Filter) -> BTreeSet<u16> {
        let packets = self.of(host).iter().filter(|p| filter.matches(p));
        packets.filter_map(|p| Some(p.ports()?.0)).collect()
    }

    /// The source ports of the connections that were tried.
    pub fn tried(&self, host: &str, address: Ipv6Addr) -> BTreeSet<u16> {
        self.ports(host, &Filter::tcp().dst(address).port(PORT).flags("Sa"))
    }

    /// The source ports of the connections over which a request came.
    pub fn served(&self, host: &str, address: Ipv6Addr) -> BTreeSet<u16> {
        let mut filter = Filter::tcp().dst(address).port(PORT);
        filter.data = Some(true);
        self.ports(host, &filter)
    }

    /// How many times A was asked who answers.
    pub fn probes(&self) -> usize {
        let probe = Filter::icmp6(128).dst(A);
        probe.count(&self.s1) + probe.count(&self.s2)
    }
}

/// The client program at work.
pub struct Client {
    process: Process,
    stdin: Option<std::process::ChildStdin>,
    asked: usize,
}

/// What the client program says of one attempt.
#[derive(Debug)]
pub struct Reply(String);

impl From<&str> for Reply {
    fn from(line: &str) -> Self {
        Self(line.to_owned())
    }
}

impl Reply {
    /// The value of a key.
    pub fn get(&self, key: &str) -> &str {
        let found = self.0.split(' ').filter_map(|word| word.split_once('='));
        let mut found = found.filter(|(name, _)| *name == key);
        found.next().map_or("", |(_, value)| value)
    }

    /// A number.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.get(key);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{key} is no number: {self:?}"))
    }

    /// How long it took.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.number("elapsed"))
    }
}

impl Client {
    /// Lets it begin with something.
    pub fn begin(&mut self, command: &str) {
        use std::io::Write as _;
        let stdin = self
            .stdin
            .get_or_insert_with(|| self.process.take_stdin().expect("a pipe"));
        writeln!(stdin, "{command}").expect("the client reads");
        self.asked += 1;
    }

    /// Waits for what came of it.
    pub fn reply(&self) -> Reply {
        let line = || {
            let text = self.process.stdout()?;
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            Ok(complete.lines().nth(self.asked - 1).map(str::to_owned))
        };
        let what = format!("line {} of `{}`", self.asked, self.process.line());
        let mut found = None;
        aarp_lab::wait_until(&what, Duration::from_secs(300), || {
            found = line()?;
            if found.is_none()
                && let Some(status) = self.process.try_wait()?
            {
                panic!("{what}: {status}: {}", self.process.stderr()?);
            }
            Ok(found.is_some())
        })
        .expect("the client answers");
        Reply(found.expect("a line"))
    }

    /// Lets it do something, and waits for what came of it.
    pub fn ask(&mut self, command: &str) -> Reply {
        self.begin(command);
        self.reply()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: aarp_lab::Signal) {
        self.process.signal(signal).expect("the client runs");
    }

    /// Lets it end, and returns what the library has counted.
    pub fn end(mut self) -> Counters {
        drop(self.stdin.take().or_else(|| self.process.take_stdin()));
        let status = self.process.wait(PATIENCE).expect("the client ends");
        let log = self.process.stderr().expect("its standard error");
        assert!(status.success(), "{status}: {log}");
        Counters::parse(&log)
    }
}

/// What the library has counted in one process, from its line at exit.
#[derive(Debug)]
pub struct Counters {
    /// All that was on standard error.
    pub log: String,
    line: String,
}

impl Counters {
    pub fn parse(log: &str) -> Self {
        let mut line = log
            .lines()
            .filter(|line| line.starts_with("aarp[") && line.contains(": pinned="));
        Self {
            line: line.next_back().unwrap_or("").to_owned(),
            log: log.to_owned(),
        }
    }

    /// The number behind a name; 0 where it is not mentioned.
    pub fn get(&self, name: &str) -> u64 {
        let words = self.line.split(' ').filter_map(|word| word.split_once('='));
        let mut found = words.filter(|(key, _)| *key == name);
        found.next().map_or(0, |(_, value)| {
            value.parse().unwrap_or_else(|_| panic!("{}", self.line))
        })
    }
}
