//! `aarp-probe top`: what aarpd is doing.

mod status;
mod tally;
mod view;

use std::io::{IsTerminal, Write, stdout};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant, SystemTime};

use aarp_core::settings::Settings;
use aarp_sys::clock::boottime;
use aarp_wire::mapper::Message;
use serde_json::json;

use crate::events::heard;
use crate::mapper::mapping::{Known, Mapping, of_entry};
use crate::mapper::table::Table;
use crate::mapper::{Connection, MapperError, Which, concluded};
use crate::options::{count, interval, switch};
use crate::paint::{Brush, cut};
use crate::record::{self, ms};
use crate::stop::Stop;
use crate::watch::screen::Screen;
use crate::watch::size;
use status::{Rates, Status};
use tally::{Changing, Failing, Tally, Used};

/// Options of `aarp-probe top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print how it is now, and end; without a terminal, and with --json, that is all there
    /// is
    #[arg(long, env = "AARP_PROBE_ONCE", value_parser = switch)]
    once: bool,
    /// The time from one look to the next
    #[arg(long, short, value_name = "TIME", default_value = "1s", value_parser = interval,
          env = "AARP_PROBE_INTERVAL")]
    interval: Duration,
    /// Show so many addresses of each kind; without it, as many as there is room for, or 10
    #[arg(long, short, value_name = "N", env = "AARP_PROBE_ROWS", value_parser = count)]
    rows: Option<u64>,
    #[command(flatten)]
    which: Which,
    /// One JSON record, for programs (docs/json.md)
    #[arg(long, env = "AARP_PROBE_JSON", value_parser = switch)]
    json: bool,
}

/// How it is at one moment.
struct Snapshot {
    status: Status,
    rates: Rates,
    /// Whether the rates are those since the last look, not since the daemon was started.
    is_recent: bool,
    used: Vec<Used>,
    changing: Vec<Changing>,
    failing: Vec<Failing>,
}

/// Looks, prints, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let live = !arguments.once && !arguments.json && stdout().is_terminal();
    let ended = match live {
        true => follow(arguments, settings, brush),
        false => once(arguments, settings, brush),
    };
    concluded(arguments.json, ended)
}

/// Who looks, again and again.
struct Looking<'r> {
    arguments: &'r Arguments,
    settings: &'r Settings,
    connection: Connection,
    has_looked: bool,
    table: Option<Table>,
    tally: Tally,
    before: Option<(Instant, Status)>,
}

impl<'r> Looking<'r> {
    fn new(arguments: &'r Arguments, settings: &'r Settings) -> Result<Self, MapperError> {
        Ok(Self {
            arguments,
            settings,
            connection: arguments.which.connect(settings)?,
            has_looked: false,
            table: None,
            tally: Tally::default(),
            before: None,
        })
    }

    fn look(&mut self, rows: usize) -> Result<Snapshot, MapperError> {
        let (text, _) = self.connection.lines(&Message::Status)?;
        let status: Status = serde_json::from_str(&text).map_err(|error| {
            MapperError::Nonsense(self.connection.path.clone(), error.to_string())
        })?;
        let mappings = self.mappings(&status)?;
        let now = boottime();
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.tally.observe(mappings, millis);
        let at = Instant::now();
        let over = self.before.as_ref().map(|(before, _)| at - *before);
        let up = status
            .since()
            .and_then(|since| SystemTime::now().duration_since(since).ok());
        let before = self.before.as_ref().map(|(_, status)| status);
        let rates = Rates::between(before, &status, over.or(up).unwrap_or_default());
        self.before = Some((at, status.clone()));
        Ok(Snapshot {
            status,
            rates,
            is_recent: over.is_some(),
            used: self.tally.used(rows),
            changing: self.tally.changing(rows),
            failing: self.tally.failing(rows),
        })
    }

    /// From the table, which costs the daemon nothing; where it cannot be read from here,
    /// from the daemon.
    fn mappings(&mut self, status: &Status) -> Result<Vec<Mapping>, MapperError> {
        let is_its = |table: &Table| {
            let header = table.view.header();
            !header.is_retired() && header.identity().pid == status.pid
        };
        // Once: the daemon writes no other table, and what was mapped stays so.
        if !std::mem::replace(&mut self.has_looked, true) {
            let table = self.arguments.which.table(self.settings);
            self.table = table.ok().filter(is_its);
        }
        if let Some(table) = &self.table {
            let now = boottime();
            return Ok(table
                .fresh(now)
                .iter()
                .map(|entry| of_entry(entry, now))
                .collect());
        }
        let (text, _) = self
            .connection
            .lines(&Message::List(Ipv6Addr::UNSPECIFIED))?;
        let all = Known::all(&self.connection.path, &text)?;
        Ok(all.into_iter().map(|known| known.mapping).collect())
    }
}

fn once(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let rows = usize::try_from(arguments.rows.unwrap_or(10))?;
    let snapshot = Looking::new(arguments, settings)?.look(rows)?;
    let mut stdout = stdout().lock();
    if arguments.json {
        let status = &snapshot.status;
        let up = status
            .since()
            .and_then(|since| SystemTime::now().duration_since(since).ok());
        let record = json!({
            "pid": status.pid,
            "up_ms": up.map(ms),
            "epoch": status.epoch,
            "capacity": status.capacity,
            "mappings": status.mappings,
            "clients": status.clients,
            "waiters": status.waiters,
            "open": status.open,
            "changes": status.changes,
            "gone": status.gone,
            "rates": snapshot.rates,
            "used": snapshot.used,
            "failing": snapshot.failing,
        });
        record::write(&mut stdout, "top", SystemTime::now(), &record)?;
    } else {
        for line in view::lines(brush, &snapshot) {
            writeln!(stdout, "{line}")?;
        }
        stdout.flush()?;
    }
    Ok(0)
}

fn follow(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let stop = Stop::on_signals()?;
    let mut looking = Looking::new(arguments, settings)?;
    let events = arguments.which.connect(settings)?;
    events.ask(&Message::Events)?;
    let mut screen = Screen::default();
    loop {
        let started = Instant::now();
        // Where it fails, what was painted last stays to be read.
        screen.paint(&[], &frame(&mut looking, brush)?)?;
        // Where a look at a large table takes long, it is taken seldom.
        let pause = arguments.interval.max(started.elapsed() * 4);
        if wait(&stop, &events, &mut looking.tally, started + pause)? {
            return Ok(0);
        }
    }
}

/// Until the next look; whether it is over.
fn wait(stop: &Stop, events: &Connection, tally: &mut Tally, due: Instant) -> anyhow::Result<bool> {
    loop {
        if stop.wait(Some(events), Some(due))? {
            return Ok(true);
        }
        if let Some(heard) = heard(events)? {
            heard.iter().for_each(|event| tally.happened(&event.record));
        }
        if Instant::now() >= due {
            return Ok(false);
        }
    }
}

/// As much as the terminal has room for.
fn frame(looking: &mut Looking<'_>, brush: Brush) -> Result<Vec<String>, MapperError> {
    /// Lines of the head, of headings and between.
    const OTHERS: usize = 6 + 2 * 3 + 2;
    let (columns, rows) = size();
    let room = (rows.saturating_sub(OTHERS) / 3).max(1);
    let wanted = looking
        .arguments
        .rows
        .and_then(|rows| usize::try_from(rows).ok());
    let snapshot = looking.look(wanted.unwrap_or(room))?;
    let mut lines = view::lines(brush, &snapshot);
    lines.push("Ctrl-C ends it".to_owned());
    // One row is the cursor's: more lines could not be painted over.
    lines.truncate(rows.saturating_sub(1).max(1));
    Ok(lines.iter().map(|line| cut(line, columns)).collect())
}
