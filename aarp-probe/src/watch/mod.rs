//! `aarp-probe watch`: who answers, and for how long it stays so.

mod history;
mod screen;
mod view;

use std::io::{IsTerminal, Write, stdout};
use std::net::Ipv6Addr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use aarp_core::mapping::Answer;
use aarp_core::settings::{Methods, Settings};
use aarp_sys::ask::AskError;
use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit;
use crate::options::{Asking, Output, duration};
use crate::paint::Brush;
use crate::prometheus::{self, Metrics};
use crate::question::{Asker, Outcome, in_words, not_asked_by_library};
use crate::record::{self, ms, rfc3339};
use crate::statistics::{RoundTrips, rounded};
use crate::target::first;
use crate::who::Who;
use history::{Event, History, Round};
use screen::Screen;
use view::{Title, Trip};

/// Responders whose own addresses are asked in every round.
const FOLLOWED: usize = 8;

/// Options of `aarp-probe watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An IPv6 address, or a name that has one
    #[arg(value_name = "ADDR|NAME")]
    destination: String,
    /// End after so many rounds; without it, Ctrl-C ends it
    #[arg(long, short, value_name = "N", env = "AARP_PROBE_COUNT",
          value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The time from one round to the next
    #[arg(long, short, value_name = "TIME", default_value = "1s", value_parser = duration,
          env = "AARP_PROBE_INTERVAL")]
    interval: Duration,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    output: Output,
}

/// What comes to the one who shows it.
enum Message {
    Round(Round),
    /// It cannot be asked at all.
    Hindered(Outcome),
    /// As many rounds as were wanted.
    Done,
    /// A signal.
    Stop,
}

/// Watches, prints, and returns the exit code.
pub(crate) fn run(
    arguments: &Arguments,
    settings: &'static Settings,
    brush: Brush,
) -> anyhow::Result<u8> {
    let (target, a) = match first(&arguments.destination) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("aarp-probe: {}: {error}", arguments.destination);
            return Ok(exit::NO_ANSWER);
        }
    };
    if let Some(bypass) = not_asked_by_library(settings, a) {
        eprintln!("aarp-probe: {a}: {}", in_words(bypass));
    }
    let (sender, receiver) = channel();
    stop_on_signals(sender.clone())?;
    let prober = Prober {
        asker: Asker::new(settings, &arguments.asking).without_retransmission(),
        a,
        followed: Vec::new(),
    };
    let show = Show {
        arguments,
        brush,
        title: Title {
            what: target.describe(),
            interval: arguments.interval,
        },
        a,
        history: History::default(),
        screen: (!arguments.output.json && stdout().is_terminal()).then(Screen::default),
        written: None,
    };
    let (count, interval) = (arguments.count, arguments.interval);
    // It is left behind when this is over: it may be waiting for an answer that
    // nobody wants any more.
    std::thread::Builder::new()
        .name("prober".to_owned())
        .spawn(move || prober.run(count, interval, &sender))
        .context("starting a thread")?;
    show.run(&receiver)
}

fn stop_on_signals(sender: Sender<Message>) -> anyhow::Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("handling signals")?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                // The receiver is gone only when the program ends.
                if sender.send(Message::Stop).is_err() {
                    return;
                }
            }
        })
        .context("starting a thread")?;
    Ok(())
}

/// Asks, round after round.
struct Prober<'s> {
    asker: Asker<'s>,
    a: Ipv6Addr,
    /// The unicast addresses that are asked themselves, the latest first.
    followed: Vec<Ipv6Addr>,
}

impl Prober<'_> {
    fn run(mut self, count: Option<u64>, interval: Duration, to: &Sender<Message>) {
        let mut due = Instant::now();
        for round in 0..count.unwrap_or(u64::MAX) {
            if round > 0 {
                // A round that took longer is not made up for.
                due = (due + interval).max(Instant::now());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let message = match self.round() {
                Ok(round) => Message::Round(round),
                Err(outcome) => Message::Hindered(outcome),
            };
            let last = matches!(message, Message::Hindered(_));
            // Nobody listens any more: the program is about to end.
            if to.send(message).is_err() || last {
                return;
            }
        }
        let _ = to.send(Message::Done);
    }

    /// One round: A and every responder's own address at the same time.
    fn round(&mut self) -> Result<Round, Outcome> {
        let at = SystemTime::now();
        let (asker, a) = (self.asker, self.a);
        let (outcome, mut own) = std::thread::scope(|scope| {
            let own: Vec<_> = self
                .followed
                .iter()
                .map(|u| (*u, scope.spawn(move || own_rtt(asker, *u))))
                .collect();
            let outcome = asker.ask(a);
            let own: Vec<_> = own
                .into_iter()
                .filter_map(|(u, thread)| {
                    let rtt = thread.join().expect("asking does not panic");
                    Some((u, rtt?))
                })
                .collect();
            (outcome, own)
        });
        let who = match &outcome {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { u, .. } => Some(Who::Unicast(u)),
                Answer::Untrusted { u } => Some(Who::Refused(u)),
                Answer::Direct { .. } => Some(Who::Itself),
                Answer::None { .. } => None,
            },
            // The route may come back.
            Outcome::NotAsked(AskError::NoRoute) => None,
            _ => return Err(outcome),
        };
        if let Some(Who::Unicast(u)) = who {
            if !self.followed.contains(&u) {
                own.extend(own_rtt(asker, u).map(|rtt| (u, rtt)));
            }
            self.followed.retain(|known| *known != u);
            self.followed.insert(0, u);
            self.followed.truncate(FOLLOWED);
        }
        Ok(Round {
            at,
            who,
            rtt: outcome.rtt(),
            own,
            reason: outcome.reason().filter(|_| who.is_none()),
        })
    }
}

/// The round trip of an echo that is sent to the unicast address itself, or that it
/// was lost; none where it could not be asked.
fn own_rtt(asker: Asker<'_>, u: Ipv6Addr) -> Option<Option<Duration>> {
    // By echo, whatever A is asked by: other methods are for A alone.
    match asker.by(Methods::ECHO).ask(u) {
        Outcome::Asked(report) => Some(match report.answer {
            // It answers for itself, as every unicast address does.
            Answer::Direct { rtt } => Some(rtt),
            _ => None,
        }),
        Outcome::NotAsked(AskError::NoRoute) => Some(None),
        _ => None,
    }
}

/// Shows what comes in.
struct Show<'r> {
    arguments: &'r Arguments,
    brush: Brush,
    title: Title,
    a: Ipv6Addr,
    history: History,
    /// Where it is a terminal.
    screen: Option<Screen>,
    /// When the metrics were written.
    written: Option<Instant>,
}

impl Show<'_> {
    fn run(mut self, messages: &Receiver<Message>) -> anyhow::Result<u8> {
        loop {
            // The time that has passed is shown also while nothing comes in.
            match messages.recv_timeout(Duration::from_secs(1)) {
                Ok(Message::Round(round)) => self.take(&round)?,
                Ok(Message::Hindered(outcome)) => {
                    self.finish()?;
                    let reason = outcome.reason().unwrap_or_default();
                    eprintln!("aarp-probe: {}: {reason}", self.title.what);
                    return Ok(outcome.code());
                }
                Ok(Message::Done | Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.finish()?;
                    return Ok(self.code());
                }
                Err(RecvTimeoutError::Timeout) => self.repaint(&[])?,
            }
        }
    }

    fn code(&self) -> u8 {
        match self.history.present() {
            _ if self.history.changes > 0 => exit::CHANGED,
            Some(Who::Unicast(_)) => exit::PINNED,
            Some(Who::Itself) => exit::CANNOT_BE_PINNED,
            Some(Who::Refused(_)) => exit::UNTRUSTED,
            None => exit::NO_ANSWER,
        }
    }

    fn take(&mut self, round: &Round) -> anyhow::Result<()> {
        let event = self.history.observe(round);
        let trip = Trip {
            to_a: round.rtt,
            to_u: round.who.and_then(Who::address).and_then(|u| {
                let own = round.own.iter().find(|(address, _)| *address == u);
                own.and_then(|(_, rtt)| *rtt)
            }),
            reason: round.reason.clone(),
        };
        if self.arguments.output.json {
            let mut stdout = stdout().lock();
            let record = self.probe_record(round);
            record::write(&mut stdout, "watch-probe", round.at, &record)?;
            if let Some(event) = &event {
                let record = self.change_record(event);
                record::write(&mut stdout, "watch-change", round.at, &record)?;
            }
        } else {
            let line = event.map(|event| view::event(self.brush, round.at, &event, &trip));
            let lines: Vec<String> = line.into_iter().collect();
            if self.screen.is_some() {
                self.repaint(&lines)?;
            } else {
                let mut stdout = stdout().lock();
                for line in lines {
                    writeln!(stdout, "{line}")?;
                }
                stdout.flush()?;
            }
        }
        let due = |written: Instant| written.elapsed() >= Duration::from_secs(1);
        if self.written.is_none_or(due) {
            self.write_metrics()?;
            self.written = Some(Instant::now());
        }
        Ok(())
    }

    fn repaint(&mut self, above: &[String]) -> anyhow::Result<()> {
        let Some(screen) = &mut self.screen else {
            return Ok(());
        };
        let (columns, rows) = size();
        let now = SystemTime::now();
        let mut lines = view::live(self.brush, columns, &self.title, &self.history, now);
        // One row is the cursor's: more lines could not be painted over.
        lines.truncate(rows.saturating_sub(1).max(1));
        screen.paint(above, &lines)?;
        Ok(())
    }

    /// The summary.
    fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(screen) = &mut self.screen {
            screen.paint(&[], &[])?;
        }
        if self.history.rounds > 0 {
            let mut stdout = stdout().lock();
            if self.arguments.output.json {
                let record = self.summary_record();
                record::write(&mut stdout, "watch-summary", SystemTime::now(), &record)?;
            } else {
                let columns = if self.screen.is_some() { size().0 } else { 100 };
                let text = view::summary(self.brush, columns, &self.title, &self.history);
                stdout.write_all(text.as_bytes())?;
                stdout.flush()?;
            }
        }
        self.write_metrics()
    }

    fn probe_record(&self, round: &Round) -> Value {
        let own: Vec<Value> = round
            .own
            .iter()
            .map(|(u, rtt)| json!({"unicast": u, "rtt_ms": rtt.map(ms)}))
            .collect();
        json!({
            "name": self.arguments.destination,
            "anycast": self.a,
            "round": self.history.rounds,
            "state": Who::state(round.who),
            "unicast": round.who.and_then(Who::address),
            "rtt_ms": round.rtt.map(ms),
            "own": own,
            "reason": round.reason,
        })
    }

    fn change_record(&self, event: &Event) -> Value {
        let (what, from, to) = match *event {
            Event::First(to) => ("first", None, Some(to)),
            Event::Changed(from, to) => ("changed", Some(from), Some(to)),
            Event::Silent(from) => ("silent", from, None),
            Event::Again(to, _) => ("again", Some(to), Some(to)),
        };
        json!({
            "name": self.arguments.destination,
            "anycast": self.a,
            "event": what,
            "from": from.and_then(Who::address),
            "from_state": from.map(|who| Who::state(Some(who))),
            "to": to.and_then(Who::address),
            "to_state": Who::state(to),
        })
    }

    fn summary_record(&self) -> Value {
        let history = &self.history;
        let responders: Vec<Value> = history
            .responders
            .iter()
            .map(|responder| {
                json!({
                    "state": Who::state(Some(responder.who)),
                    "unicast": responder.who.address(),
                    "answers": responder.answers,
                    "share": history.share(responder).map(rounded),
                    "first": rfc3339(responder.first),
                    "last": rfc3339(responder.last),
                    "to_a": Trips::from(&responder.to_a),
                    "to_u": Trips::from(&responder.to_u),
                })
            })
            .collect();
        json!({
            "name": self.arguments.destination,
            "anycast": self.a,
            "rounds": history.rounds,
            "unanswered": history.unanswered,
            "changes": history.changes,
            "duration_ms": ms(history.duration()),
            "to_a": Trips::from(&history.to_a),
            "to_u": Trips::from(&history.to_u),
            "responders": responders,
        })
    }

    fn write_metrics(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.arguments.output.prom_textfile {
            self.metrics().write(path)?;
        }
        Ok(())
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        let a = self.a.to_string();
        let base = [
            ("name", self.arguments.destination.as_str()),
            ("anycast", a.as_str()),
        ];
        let history = &self.history;
        for (name, help, value) in [
            ("aarp_probe_watch_rounds", "Rounds so far.", history.rounds),
            (
                "aarp_probe_watch_unanswered",
                "Rounds in which nobody answered.",
                history.unanswered,
            ),
            (
                "aarp_probe_watch_changes",
                "Changes of responder.",
                history.changes,
            ),
        ] {
            metrics.gauge(name, help, &base, value as f64);
        }
        for responder in &history.responders {
            let who = responder.who.address().unwrap_or(self.a).to_string();
            let labels = [base[0], base[1], ("unicast", who.as_str())];
            let present = history.present() == Some(responder.who);
            metrics.gauge(
                "aarp_probe_watch_present",
                "1 for the responder that answered last, 0 for the others.",
                &labels,
                f64::from(u8::from(present)),
            );
            metrics.gauge(
                "aarp_probe_watch_share",
                "The share of answers that it gave.",
                &labels,
                history.share(responder).unwrap_or(0.0),
            );
            for (to, trips) in [("A", &responder.to_a), ("U", &responder.to_u)] {
                for (quantile, q) in [("0.5", 0.5), ("0.99", 0.99)] {
                    if let Some(rtt) = trips.quantile(q) {
                        metrics.gauge(
                            "aarp_probe_watch_rtt_seconds",
                            "Round trips, sent to the anycast address (A) or to the responder's \
                             own (U).",
                            &[
                                labels[0],
                                labels[1],
                                labels[2],
                                ("to", to),
                                ("quantile", quantile),
                            ],
                            rtt.as_secs_f64(),
                        );
                    }
                }
            }
        }
        prometheus::timestamp(&mut metrics, "watch");
        metrics
    }
}

/// Round trips in a record.
#[derive(Debug, Serialize)]
struct Trips {
    sent: u64,
    answered: u64,
    loss: Option<f64>,
    min_ms: Option<f64>,
    avg_ms: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl From<&RoundTrips> for Trips {
    fn from(trips: &RoundTrips) -> Self {
        Self {
            sent: trips.sent(),
            answered: trips.answered(),
            loss: trips.loss().map(rounded),
            min_ms: trips.min().map(ms),
            avg_ms: trips.mean().map(ms),
            p50_ms: trips.quantile(0.5).map(ms),
            p99_ms: trips.quantile(0.99).map(ms),
            max_ms: trips.max().map(ms),
        }
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(stdout());
    let known = size.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}
