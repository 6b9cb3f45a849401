//! The network: a client with aarpd, a router, and three responders.
//!
//! ```text
//!                      +-- s1   U1
//!   client -- router --+-- s2   U2    all own A; the router's route leads to one of them
//!                      '-- s3   U3
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_lab::{Capture, Command, Host, HostSpec, Lab, Network, Process, Signal, wait_until};
use serde_json::Value;

use crate::evidence::Seen;
use crate::stage::{compile, library, tool};
use crate::timeline::Timeline;

pub const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub const PORT: u16 = 80;
pub const RESPONDERS: [&str; 3] = ["s1", "s2", "s3"];

/// Nothing here takes long; a machine under load may need its time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// U of a responder.
pub fn unicast(responder: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x51 + responder as u16, 0, 0, 0, 0, 2)
}

/// The network at work.
pub struct Site {
    // In this order: what runs in the lab ends before it.
    daemon: Process,
    events: Process,
    _services: Vec<Process>,
    at_client: Capture,
    at_responders: [Capture; RESPONDERS.len()],
    pub timeline: Timeline,
    /// Where the route leads.
    pub leads_to: usize,
    pub lab: Lab,
}

/// This moment, by the clock of captured packets.
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
}

impl Site {
    /// The client's mappings hold for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        let begin = now();
        let lab = Lab::new(&network()).expect("a network");
        let mut timeline = Timeline::default();
        timeline.moved(begin, now(), 0);
        let capture = |name: &str| lab.capture("router", name).expect("a capture");
        let (at_client, at_responders) = (capture("c"), RESPONDERS.map(capture));
        let program = lab.work().join("programs");
        compile(include_str!("programs.c"), &program, &[]);
        let services = RESPONDERS.iter().flat_map(|name| serve(&lab, name));
        let services = services.collect();
        // The neighbours are known: nothing that is asked waits for that.
        let client = lab.host("client").expect("a host");
        for responder in 0..RESPONDERS.len() {
            let address = unicast(responder).to_string();
            let ping = client.command("ping").args(["-nc1", "-W30", &address]);
            ping.run().expect("an answer");
        }
        let text = format!(
            // One probe for a question, however slow the machine is.
            "[resolve]\nprefixes = [\"{A}/128\"]\n\
             [times]\nttl = \"{}ms\"\nbudget = \"10s\"\nbudget_nonblocking = \"10s\"\nretransmit = [\"5s\"]\n\
             [daemon]\nsocket = \"{dir}/aarpd.sock\"\ntable = \"{dir}/table\"\nentries = 100\n",
            ttl.as_millis(),
            dir = client.dir().display(),
        );
        std::fs::write(client.dir().join("aarp.toml"), text).expect("a writable folder");
        let started = |command: Command<'_>| command.spawn().expect("it starts");
        let configured = |name| {
            let config = client.dir().join("aarp.toml");
            client.command(tool(name)).env("AARP_CONFIG", config)
        };
        let daemon = started(configured("aarpd").arg("run"));
        let serves = daemon.wait_stderr("serves ", PATIENCE);
        serves.expect("aarpd serves");
        let events = started(configured("aarp-probe").args(["events", "--json"]));
        let follows = events.wait_stdout("\"event\":\"started\"", PATIENCE);
        follows.expect("aarp-probe follows");
        Self {
            daemon,
            events,
            _services: services,
            at_client,
            at_responders,
            timeline,
            leads_to: 0,
            lab,
        }
    }

    fn client_host(&self) -> &Host {
        self.lab.host("client").expect("a host")
    }

    /// Lets the route of A lead to another responder.
    pub fn move_to(&mut self, responder: usize) {
        let begin = now();
        let words = format!("-6 route replace {A} via {}", unicast(responder));
        self.lab.ip("router", &words).expect("the route moves");
        self.timeline.moved(begin, now(), responder);
        self.leads_to = responder;
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, library_: bool) -> Command<'_> {
        let command = self.client_host().command(program);
        let command = command.stdin(std::process::Stdio::piped());
        if !library_ {
            return command;
        }
        command
            .env("LD_PRELOAD", library())
            .env("AARP_CONFIG", self.client_host().dir().join("aarp.toml"))
    }

    /// One of the programs of programs.c on the client's host.
    pub fn client(&self, words: &[&str], library: bool) -> Client {
        let program = self.lab.work().join("programs");
        Client::start(self.command(program, library).args(words))
    }

    /// One curl after the other, which say the same as `short`.
    pub fn curls(&self) -> Client {
        let script = format!(
            "while read -r -t 0; [ $? -ne 0 ]; do began=$EPOCHREALTIME; \
             said=$(curl -sS -w ' %{{local_port}}' 'http://[{A}]:{PORT}/') || \
             {{ echo \"failed $began curl: $?\"; exit 1; }}; \
             echo \"connected ${{began/./}}000 ${{said#* }} ${{said% *}}\"; done"
        );
        Client::start(self.command("bash", true).args(["-c", &script]))
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Ends aarpd, when it has heard all that came in; what it has told.
    pub fn end(&mut self) -> Vec<Value> {
        let config = self.client_host().dir().join("aarp.toml");
        wait_until("no question is open", PATIENCE, || {
            let probe = self.client_host().command(tool("aarp-probe"));
            let probe = probe.env("AARP_CONFIG", &config).arg("metrics");
            let text = String::from_utf8_lossy(&probe.run()?.stdout).into_owned();
            let open = text
                .lines()
                .find_map(|l| l.strip_prefix("aarpd_questions_open "));
            Ok(open.expect("it is counted") == "0")
        })
        .expect("it is quiet");
        self.daemon.signal(Signal::TERM).expect("aarpd runs");
        let status = self.daemon.wait(PATIENCE).expect("it ends");
        assert!(status.success(), "{status}");
        let ended = self.events.wait_stdout("\"event\":\"stopping\"", PATIENCE);
        ended.expect("the last event");
        let told = self.events.stdout().expect("its standard output");
        let records = told
            .lines()
            .map(|line| serde_json::from_str(line).expect("a record"));
        // Behind the last event it is said that nobody is there any more.
        records
            .filter(|record: &Value| record["type"] == "event")
            .collect()
    }

    /// What the router has carried.
    pub fn seen(&self) -> Seen {
        let packets = |capture: &Capture| capture.packets().expect("captured packets");
        Seen::new(
            packets(&self.at_client),
            self.at_responders.each_ref().map(packets),
        )
    }
}

fn network() -> Network {
    let mut network = Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:c::1"))
        .host(
            "router",
            HostSpec::router().route(format!("{A} via {}", unicast(0))),
        )
        .link("client:eth0 2001:db8:c::2/64", "router:c 2001:db8:c::1/64");
    for (number, name) in RESPONDERS.iter().enumerate() {
        let net = 0x51 + number;
        let host = HostSpec::new().route(format!("default via 2001:db8:{net:x}::1"));
        network = network.host(*name, host).link(
            format!("{name}:eth0 {}/64", unicast(number)),
            format!("router:{name} 2001:db8:{net:x}::1/64"),
        );
    }
    network
}

/// Starts the responder and the service of a host.
fn serve(lab: &Lab, name: &str) -> [Process; 2] {
    let host = lab.host(name).expect("a host");
    let responder = host.command(tool("aarp-responder"));
    let responder = responder.args(["run", "--anycast", &A.to_string()]);
    let responder = responder.spawn().expect("aarp-responder starts");
    let owns = responder.wait_stderr(&format!("owns {A}"), PATIENCE);
    owns.expect("aarp-responder owns A");
    let service = host.command(lab.work().join("programs"));
    let service = service.args(["serve", name, &PORT.to_string()]);
    let service = service.spawn().expect("the service starts");
    host.wait_tcp(PORT, PATIENCE).expect("it listens");
    [responder, service]
}

/// A client at work, and the lines that it has said.
pub struct Client {
    process: Process,
    said: File,
    rest: String,
    pub lines: Vec<String>,
}

impl Client {
    fn start(command: Command<'_>) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a writable folder");
        let process = command.stdout_to(file.path()).spawn().expect("it starts");
        Self {
            process,
            said: File::open(file.path()).expect("its output"),
            rest: String::new(),
            lines: Vec::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Reads what it has said since the last time.
    pub fn read(&mut self) {
        let read = self.said.read_to_string(&mut self.rest);
        read.expect("its output is text");
        while let Some(end) = self.rest.find('\n') {
            self.lines.push(self.rest[..end].to_owned());
            self.rest.drain(..=end);
        }
    }

    /// The same; it must not have failed.
    pub fn read_success(&mut self) {
        let known = self.lines.len();
        self.read();
        let failed = self.lines[known..].iter().find(|l| l.starts_with("failed"));
        let mut why = String::new();
        if let Some(line) = failed {
            write!(why, "{line}").expect("a string");
        } else if let Some(status) = self.process.try_wait().expect("it is ours") {
            write!(why, "{status}").expect("a string");
        }
        let stderr = || self.process.stderr().expect("its standard error");
        assert!(
            why.is_empty(),
            "{}: {why}\n{}",
            self.process.line(),
            stderr()
        );
    }

    /// Waits for a line.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        let wait = wait_until(what, PATIENCE, || {
            self.read();
            Ok(self.lines.iter().any(|line| is_it(line)))
        });
        wait.unwrap_or_else(|error| panic!("{error}: {:?}", self.process.stderr()));
    }

    /// Lets it end.
    pub fn end(&mut self) {
        drop(self.process.take_stdin());
        let status = self.process.wait(PATIENCE).expect("it ends");
        self.read();
        let log = self.process.stderr().expect("its standard error");
        assert!(status.success(), "{status}: {:?} {log}", self.lines.last());
    }
}
