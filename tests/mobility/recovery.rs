//! Restarts, crashes and cuts: how long the service is away, measured from packets.
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::{Capture, Filter, Packet, Process, Snap, wait_until};
use serde_json::{Value, json};

use crate::common;
use crate::decode::decoded;
use crate::site::{A, AGENT, LIMIT, Site, U1, networked, now};

/// A refresh comes after three quarters of the lifetime at the latest.
const REFRESH: Duration = Duration::from_secs(3);
/// A retransmission comes after 1 s, doubling (RFC 6275 §11.8).
const BACK_OFF: Duration = Duration::from_secs(1);
/// The path is cut for longer than a binding lives.
const CUT: Duration = Duration::from_secs(5);
/// Between the packets that measure.
const STEP: Duration = Duration::from_millis(50);
/// What a busy machine may add to the times that the protocol sets.
const SLACK: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    AgentRestarted,
    AgentKilled,
    BindingRestarted,
    BindingKilled,
    PathCut,
    LinkDown,
}

impl Event {
    const ALL: [Self; 6] = [
        Self::AgentRestarted,
        Self::AgentKilled,
        Self::BindingRestarted,
        Self::BindingKilled,
        Self::PathCut,
        Self::LinkDown,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AgentRestarted => "agent restarted",
            Self::AgentKilled => "agent killed",
            Self::BindingRestarted => "sidecar restarted",
            Self::BindingKilled => "sidecar killed",
            Self::PathCut => "packets dropped for 5 s",
            Self::LinkDown => "link down for 5 s",
        }
    }
}

/// A service under way, and what measures it.
struct Trial {
    site: Site,
    agent: Process,
    binding: Process,
    ping: Process,
    outside: Capture,
    inside: Capture,
}

/// What a turn has found.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// When what was broken was whole again, after it broke.
    broken: Duration,
    /// The first answer after that, counted from then.
    back: Duration,
    /// The first Binding Update that was accepted after it broke, counted from the
    /// moment that it was whole again.
    registered: Duration,
    /// The longest time that a Binding Update may come after that.
    bound: Duration,
}

const WORDS: [&str; 4] = ["--lifetime", "4s", "--spi", "256"];

impl Trial {
    fn start() -> Self {
        let site = Site::new();
        let agent = site.keyed_agent();
        let binding = site.binding("s1", &WORDS);
        let outside = site.lab.capture("c", "eth0").unwrap();
        let inside = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let ping = site.host("c").command("ping").args(["-n", "-i"]);
        let ping = ping.args([&STEP.as_secs_f64().to_string(), &A.to_string()]);
        let trial = Self {
            agent,
            binding,
            ping: ping.spawn().unwrap(),
            outside,
            inside,
            site,
        };
        trial.wait_answer(now());
        trial
    }

    /// The answers of A.
    fn answers(&self) -> Vec<Packet> {
        let mut packets = self.outside.packets().unwrap();
        let answers = Filter::icmp6(129).src(A);
        packets.retain(|packet| answers.matches(packet));
        packets
    }

    /// The first answer to what was asked after a moment.
    fn wait_answer(&self, since: Duration) -> Duration {
        let mut found = None;
        // The longest back-off, and more.
        wait_until("A answers", LIMIT, || {
            // The question was sent after it, so that nothing counts that was under way.
            let asked = Filter::icmp6(128).dst(A);
            let packets = self.outside.packets()?;
            let after = |packet: &&Packet| packet.time > since && asked.matches(packet);
            let numbers: Vec<_> = packets.iter().filter(after).map(sequence).collect();
            let answers = self.answers();
            let answer = answers
                .iter()
                .find(|answer| answer.time > since && numbers.contains(&sequence(answer)));
            found = answer.map(|answer| answer.time);
            Ok(found.is_some())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", self.said()));
        found.unwrap()
    }

    fn said(&self) -> String {
        let [agent, binding] = [&self.agent, &self.binding].map(|p| p.stderr().unwrap());
        format!("{agent}{binding}{}", self.ping.stderr().unwrap())
    }

    /// When the agent accepted an update after a moment.
    fn accepted(&self, since: Duration) -> Option<Duration> {
        let filter = format!("mip6.ba.status == 0 && ipv6.src == {AGENT}");
        let mut all = decoded(&self.inside, &filter, &[]).into_iter();
        all.find(|packet| packet.time > since)
            .map(|packet| packet.time)
    }

    fn turn(&mut self, event: Event) -> Turn {
        let began = now();
        // After a restart the sidecar registers at once; the agent's hears of it with the
        // next refresh. A path that was cut is tried again as the back-off says.
        let mut bound = match event {
            Event::AgentRestarted | Event::AgentKilled => REFRESH,
            _ => Duration::ZERO,
        };
        match event {
            Event::AgentRestarted => {
                assert!(
                    self.agent.terminate(LIMIT).unwrap().success(),
                    "{}",
                    self.said()
                );
                self.agent = self.site.keyed_agent();
            }
            Event::AgentKilled => {
                self.agent.kill();
                self.agent = self.site.keyed_agent();
            }
            Event::BindingRestarted => {
                assert!(
                    self.binding.terminate(LIMIT).unwrap().success(),
                    "{}",
                    self.said()
                );
                self.binding = self.site.binding("s1", &WORDS);
            }
            Event::BindingKilled => {
                self.binding.kill();
                self.binding = self.site.binding("s1", &WORDS);
            }
            Event::PathCut => {
                self.site
                    .forwarding(&format!("ip6 saddr {U1} drop; ip6 daddr {U1} drop"));
                std::thread::sleep(CUT);
                self.site.forwarding("");
            }
            Event::LinkDown => {
                let link = |state| {
                    self.site
                        .lab
                        .ip("r1", &format!("link set dev rt {state}"))
                        .unwrap();
                };
                link("down");
                std::thread::sleep(CUT);
                link("up");
                // Its addresses and routes go with it, as with every link.
                for words in [
                    "-6 address replace 2001:db8:0:14::2/64 dev rt nodad",
                    "-6 route replace default via 2001:db8:0:14::1",
                ] {
                    self.site.lab.ip("r1", words).unwrap();
                }
            }
        }
        let whole = now();
        let back = self.wait_answer(whole);
        if matches!(event, Event::PathCut | Event::LinkDown) {
            // The back-off that began in vain within the cut is at most at this wait.
            bound = BACK_OFF;
            let mut waited = BACK_OFF;
            while waited < whole - began {
                bound *= 2;
                waited += bound;
            }
        }
        // What the sidecar asks for when it starts is answered before it says so.
        let since = match event {
            Event::BindingRestarted | Event::BindingKilled => began,
            _ => whole,
        };
        let mut registered = None;
        wait_until("the agent accepts an update", LIMIT, || {
            registered = self.accepted(since);
            Ok(registered.is_some())
        })
        .unwrap();
        let registered = registered.unwrap();
        Turn {
            broken: whole - began,
            back: back - whole,
            registered: registered.saturating_sub(whole),
            bound,
        }
    }
}

/// The number of an echo; the payload begins behind it.
fn sequence(packet: &Packet) -> Vec<u8> {
    // A time and a pattern: no two are alike.
    packet.payload.iter().take(16).copied().collect()
}

fn recovers(event: Event) {
    networked(|| {
        let mut trial = Trial::start();
        let turn = trial.turn(event);
        check(event, turn);
    });
}

/// Back with the first update that can be accepted, which comes when it should.
fn check(event: Event, turn: Turn) {
    let Turn {
        back,
        registered,
        bound,
        ..
    } = turn;
    assert!(registered <= bound + SLACK, "{event:?}: {turn:?}");
    // Nothing more is needed than that update.
    assert!(back <= registered + SLACK, "{event:?}: {turn:?}");
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn an_agent_that_is_restarted_is_back() {
    recovers(Event::AgentRestarted);
}

#[test]
fn an_agent_that_is_killed_is_back() {
    recovers(Event::AgentKilled);
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_sidecar_that_is_restarted_is_back() {
    recovers(Event::BindingRestarted);
}

#[test]
fn a_sidecar_that_is_killed_is_back() {
    recovers(Event::BindingKilled);
}

#[test]
fn a_path_that_was_cut_is_back() {
    recovers(Event::PathCut);
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_link_that_was_down_is_back() {
    recovers(Event::LinkDown);
}

/// How often each is tried.
const TURNS: usize = 20;

/// Each twenty times; the times as JSON, and a plot of them, beside the logs of the
/// tests or where `AARP_RECORDS` says.
#[test]
#[ignore = "minutes: it waits for bindings to end"]
fn twenty_turns_of_each() {
    networked(|| {
        // Before anybody goes on working meanwhile.
        let commit = std::process::Command::new("git")
            .args([
                "-C",
                env!("CARGO_MANIFEST_DIR"),
                "describe",
                "--always",
                "--dirty",
            ])
            .output()
            .unwrap();
        let commit = String::from_utf8(commit.stdout).unwrap();
        let all: Vec<Value> = std::thread::scope(|scope| {
            let threads = Event::ALL.map(|event| scope.spawn(move || twenty(event)));
            threads.map(|thread| thread.join().unwrap()).into()
        });
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = std::env::var_os("AARP_RECORDS");
        let folder = folder.map_or_else(|| common::stage().join(".."), PathBuf::from);
        let record = json!({
            "schema": 1,
            "type": "mobility-recovery",
            "commit": commit.trim(),
            "refresh_ms": milliseconds(REFRESH),
            "events": all,
        });
        let [file, plot] =
            ["json", "svg"].map(|end| folder.join(format!("mobility-recovery.{end}")));
        std::fs::write(&file, format!("{record:#}\n")).unwrap();
        let script = root.join("tests/mobility/scripts/plot.py");
        common::run("python3", [&script, &file, &plot]);
    });
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn twenty(event: Event) -> Value {
    let mut trial = Trial::start();
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let turn = trial.turn(event);
        check(event, turn);
        turns.push(json!({
            "broken_ms": milliseconds(turn.broken),
            "back_ms": milliseconds(turn.back),
            "registered_ms": milliseconds(turn.registered),
            "bound_ms": milliseconds(turn.bound),
        }));
    }
    json!({ "event": event.name(), "turns": turns })
}
