//! `aarp-probe watch`: who answers, and for how long it stays so.

mod history;
mod prober;
mod records;
pub(crate) mod screen;
mod view;

use std::io::{IsTerminal, Write, stdout};
use std::net::Ipv6Addr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use aarp_core::settings::Settings;
use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit;
use crate::options::{Asking, Output, count, interval};
use crate::paint::Brush;
use crate::question::{Asker, Outcome, in_words, not_asked_by_library};
use crate::record;
use crate::target::first;
use crate::who::Who;
use history::{History, Round};
use prober::Prober;
use screen::Screen;
use view::{Title, Trip};

/// Options of `aarp-probe watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An IPv6 address, or a name that has one
    #[arg(value_name = "ADDR|NAME")]
    destination: String,
    /// End after so many rounds; without it, Ctrl-C ends it
    #[arg(long, short, value_name = "N", env = "AARP_PROBE_COUNT",
          value_parser = count)]
    count: Option<u64>,
    /// The time from one round to the next
    #[arg(long, short, value_name = "TIME", default_value = "1s", value_parser = interval,
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
            let name = &arguments.destination;
            return Ok(record::nothing(
                arguments.output.json,
                name,
                &error,
                exit::NO_ANSWER,
            )?);
        }
    };
    if let Some(bypass) = not_asked_by_library(settings, a) {
        eprintln!("aarp-probe: {a}: {}", in_words(bypass));
    }
    let (sender, receiver) = channel();
    stop_on_signals(sender.clone())?;
    let prober = Prober::new(Asker::new(settings, &arguments.asking), a);
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
                    let (json, name) = (self.arguments.output.json, &self.title.what);
                    return Ok(record::nothing(json, name, &reason, outcome.code())?);
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
                let columns = self.screen.is_some().then(|| size().0);
                let text = view::summary(self.brush, columns, &self.title, &self.history);
                stdout.write_all(text.as_bytes())?;
                stdout.flush()?;
            }
        }
        self.write_metrics()
    }

    fn write_metrics(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.arguments.output.prom_textfile {
            self.metrics().write(path)?;
        }
        Ok(())
    }
}

/// Columns and rows of the terminal.
pub(crate) fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(stdout());
    let known = size.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}
