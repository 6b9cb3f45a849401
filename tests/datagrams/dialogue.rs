//! Programs that talk to a service for as long as one lets them: a line is sent, an
//! answer comes, and the route of A moves in between.
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use aarp_lab::{Command, Filter, Process, Proto, wait_until};

use crate::base::{A, LIMIT, NAME, Node, Site, now};
use crate::flow::Flows;
use crate::record::Record;
use crate::service::{self, DTLS, DtlsServer, ECHO, Mode, PINNED, on_client, script};

/// How a program shows who has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    Not,
    Shortened,
    /// All eight groups.
    Full,
}

/// What becomes of a dialogue without us when the route of A moves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Break {
    /// The other responder answers.
    Moves,
    /// Nobody answers.
    Silence,
    /// The program gives up.
    Ends,
}

/// A program that is tested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talker {
    /// As the page names it.
    pub(crate) name: &'static str,
    /// Its words; `HOST`, `PORT` and `HOST:PORT` are replaced, and `@name` is a
    /// script's path.
    pub(crate) command: &'static [&'static str],
    pub(crate) shown: Shown,
    pub(crate) protocol: Proto,
    pub(crate) port: u16,
    pub(crate) breaks: Break,
    /// The calls that it uses.
    pub(crate) calls: &'static str,
}

impl Talker {
    fn command<'s>(&self, site: &'s Site, host: &str, mode: Mode) -> Command<'s> {
        let words = self.command.iter().map(|word| match *word {
            "HOST" => host.to_owned(),
            "PORT" => self.port.to_string(),
            "HOST:PORT" if host.contains(':') => format!("[{host}]:{}", self.port),
            "HOST:PORT" => format!("{host}:{}", self.port),
            word => match word.strip_prefix('@') {
                Some(name) => script(name).to_string_lossy().into_owned(),
                None => word.to_owned(),
            },
        });
        let words: Vec<_> = words.collect();
        on_client(site, &words[0], mode).args(&words[1..])
    }

    /// What it prints before an answer.
    fn shown(&self) -> String {
        match self.shown {
            Shown::Not => String::new(),
            Shown::Shortened => format!("{A} "),
            Shown::Full => {
                let groups = A.segments().map(|group| format!("{group:x}"));
                format!("{} ", groups.join(":"))
            }
        }
    }
}

/// Who answers.
enum Servers {
    /// Each datagram or line by itself.
    Echo,
    /// As it is told.
    Dtls(Vec<DtlsServer>),
}

impl Servers {
    fn start(site: &mut Site, talker: &Talker) -> Self {
        match talker.port {
            DTLS => Self::Dtls(service::serve_dtls(site)),
            ECHO => {
                service::serve_echo(site);
                Self::Echo
            }
            port => panic!("what is served at {port}?"),
        }
    }

    /// What has been said, told by the end that is meant.
    fn heard(&self, node: Node, address: Ipv6Addr) -> String {
        let Self::Dtls(servers) = self else {
            panic!("an echo keeps nothing")
        };
        let server = servers
            .iter()
            .find(|s| (s.node, s.address) == (node, address));
        server.unwrap().process.stdout().unwrap()
    }
}

/// A program at work.
struct Session<'t> {
    talker: &'t Talker,
    what: String,
    started: Duration,
    client: Process,
    to_client: Option<ChildStdin>,
    lines: usize,
}

impl<'t> Session<'t> {
    fn start(site: &Site, talker: &'t Talker, host: &str, mode: Mode) -> Self {
        Self::start_with(site, talker, host, mode, &[])
    }

    fn start_with(
        site: &Site,
        talker: &'t Talker,
        host: &str,
        mode: Mode,
        settings: &[(&str, &str)],
    ) -> Self {
        let started = now();
        let command = talker.command(site, host, mode).stdin(Stdio::piped());
        let command = command.envs(settings.iter().copied());
        let mut client = command.spawn().unwrap();
        Self {
            talker,
            what: format!("{} to {host} ({mode:?})", talker.name),
            started,
            to_client: client.take_stdin(),
            client,
            lines: 0,
        }
    }

    /// One line there; its text.
    fn say(&mut self) -> String {
        self.lines += 1;
        // No two sessions say the same.
        let line = format!("line {} of {}", self.lines, self.started.as_micros());
        let to_client = self.to_client.as_mut().unwrap();
        // In one piece: what a program reads at once it sends as one datagram.
        let whole = format!("{line}\n");
        let written = to_client.write_all(whole.as_bytes());
        written.unwrap_or_else(|error| panic!("{}: {error}", self.what));
        line
    }

    fn await_answer(&self, answer: &str) {
        let came = self.client.wait_stdout(answer, LIMIT);
        came.unwrap_or_else(|error| {
            panic!("{}: {error}: {}", self.what, self.client.stderr().unwrap())
        });
    }

    /// One line there and one back, by this responder's service at this address.
    fn exchange(&mut self, servers: &mut Servers, node: Node, address: Ipv6Addr) {
        let line = self.say();
        let name = node.name();
        match servers {
            Servers::Echo => {
                let answer = format!("{}{name} {address} {line}", self.talker.shown());
                self.await_answer(&answer);
            }
            Servers::Dtls(servers) => {
                let server = servers
                    .iter_mut()
                    .find(|server| (server.node, server.address) == (node, address))
                    .unwrap();
                let heard = server.process.wait_stdout(&line, LIMIT);
                heard.unwrap_or_else(|error| {
                    panic!("{}: {error}: {}", self.what, self.client.stderr().unwrap())
                });
                let answer = format!("line from {name} {address} to {line}");
                let whole = format!("{answer}\n");
                let stdin = server.stdin.as_mut().unwrap();
                stdin.write_all(whole.as_bytes()).unwrap();
                self.await_answer(&answer);
            }
        }
    }

    /// Lets it come to its end, which must be a good one.
    fn end(&mut self) {
        drop(self.to_client.take());
        let status = self.client.wait(LIMIT).unwrap();
        let log = self.client.stderr().unwrap();
        assert!(status.success(), "{}: {status}: {log}", self.what);
    }

    fn flows(&self, site: &Site) -> Flows {
        Flows::begun(site, self.talker.port, self.started, now())
    }
}

/// Without us the dialogue goes to A, and does not outlive a move of its route.
pub(crate) fn breaks_without_us(talker: &Talker) {
    let mut site = Site::new(Duration::ZERO, &[A]);
    let mut servers = Servers::start(&mut site, talker);
    let mut session = Session::start(&site, talker, &A.to_string(), Mode::Native);
    session.exchange(&mut servers, Node::S1, A);
    session.exchange(&mut servers, Node::S1, A);
    let what = session.what.clone();
    let before = session.flows(&site);
    before.assert_unpinned(&site, &what, &[talker.protocol], Node::S1);
    let moved = site.route_to(Node::S2);
    match talker.breaks {
        Break::Moves => session.exchange(&mut servers, site.node(), A),
        Break::Silence => {
            let line = session.say();
            // Once it has come to one who knows nothing of it, it comes to nobody else.
            wait_until("the line comes to s2", LIMIT, || {
                let mut packets = site.seen_at("s2");
                packets.retain(|packet| packet.time > moved);
                let filter = Filter::udp().dst(A).port(talker.port);
                Ok(filter.count(&packets) > 0)
            })
            .unwrap();
            for node in Node::ALL {
                assert!(!servers.heard(node, A).contains(&line), "{what}: {node:?}");
            }
        }
        Break::Ends => {
            session.say();
            let status = session.client.wait(LIMIT).unwrap();
            assert!(!status.success(), "{what} came to a good end");
        }
    }
}

/// Under the ARL it goes to U of who answered at first, and stays there.
pub(crate) fn stays_pinned(talker: &Talker) {
    let mut site = Site::new(Duration::ZERO, &[A]);
    let mut servers = Servers::start(&mut site, talker);
    let mut session = Session::start(&site, talker, &A.to_string(), PINNED);
    let u1 = Node::S1.unicast();
    session.exchange(&mut servers, Node::S1, u1);
    session.exchange(&mut servers, Node::S1, u1);
    let moved = site.route_to(Node::S2);
    for _ in 0..3 {
        session.exchange(&mut servers, Node::S1, u1);
    }
    session.end();
    let flows = session.flows(&site);
    let what = &session.what;
    flows.assert_pinned(&site, what, &[talker.protocol], Node::S1);
    flows.assert_alive_after(&site, what, Node::S1, moved);

    // A new one, by name, goes to who answers now.
    let mut late = Session::start(&site, talker, NAME, PINNED);
    late.exchange(&mut servers, Node::S2, Node::S2.unicast());
    late.end();
    let flows = late.flows(&site);
    flows.assert_pinned(&site, &late.what, &[talker.protocol], Node::S2);
    Record {
        program: talker.name,
        executable: talker.command[0],
        calls: talker.calls,
        tried: "a dialogue; the route of A moves in its middle",
        result: "pinned",
        reason: "",
    }
    .write();
}

/// The usual lifetime of a mapping is too long to wait for; but no machine is so slow
/// that an exchange pauses for so long.
const TTL: Duration = Duration::from_secs(4);
const SHORT_TTL: [(&str, &str); 1] = [("AARP_TTL", "4s")];

/// A long exchange stays with its responder while the route moves to and fro, and
/// while the mapping that it began with expires.
pub(crate) fn outlives_its_mapping(talker: &Talker) {
    let mut site = Site::new(Duration::ZERO, &[A]);
    let mut servers = Servers::start(&mut site, talker);
    let mut session = Session::start_with(&site, talker, &A.to_string(), PINNED, &SHORT_TTL);
    let u1 = Node::S1.unicast();
    session.exchange(&mut servers, Node::S1, u1);
    let mut moved = site.route_to(Node::S2);
    while now() < session.started + 2 * TTL || session.lines < 200 {
        for _ in 0..20 {
            session.exchange(&mut servers, Node::S1, u1);
        }
        moved = site.route_to(site.node().other());
    }
    session.exchange(&mut servers, Node::S1, u1);
    session.end();
    let flows = session.flows(&site);
    flows.assert_pinned(&site, &session.what, &[talker.protocol], Node::S1);
    flows.assert_alive_after(&site, &session.what, Node::S1, moved);
    Record {
        program: talker.name,
        executable: talker.command[0],
        calls: talker.calls,
        tried: "an exchange of hundreds of datagrams, longer than the TTL; the route moves to and fro",
        result: "pinned",
        reason: "",
    }
    .write();
}

/// After a pause that is longer than the TTL an unconnected socket asks again.
pub(crate) fn asks_again_after_a_pause(talker: &Talker) {
    let mut site = Site::new(Duration::ZERO, &[A]);
    let mut servers = Servers::start(&mut site, talker);
    let mut session = Session::start_with(&site, talker, &A.to_string(), PINNED, &SHORT_TTL);
    session.exchange(&mut servers, Node::S1, Node::S1.unicast());
    site.route_to(Node::S2);
    let pause = now();
    wait_until("the TTL is over", LIMIT, || Ok(now() > pause + 2 * TTL)).unwrap();
    session.exchange(&mut servers, Node::S2, Node::S2.unicast());
    session.end();
}
