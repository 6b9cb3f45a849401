//! `aarp-probe cache`: what aarpd knows.

pub(crate) mod view;

use std::io::{Write, stdout};
use std::net::Ipv6Addr;
use std::time::SystemTime;

use aarp_core::prefix::Prefix;
use aarp_core::settings::Settings;
use aarp_sys::clock::boottime;
use aarp_wire::mapper::Message;
use clap::Subcommand;
use serde_json::json;

use crate::exit;
use crate::mapper::mapping::Known;
use crate::mapper::table::Table;
use crate::mapper::{MapperError, Which, concluded};
use crate::options::switch;
use crate::paint::Brush;
use crate::record;
use crate::target::first;

/// Options of `aarp-probe cache`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    which: Global,
}

/// Options that every action has.
#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// The socket of aarpd, whoever it belongs to
    ///
    /// Without it, that of the configuration (daemon.socket); or /run/aarp/aarpd.sock, and
    /// then aarpd.sock in $XDG_RUNTIME_DIR/aarp.
    #[arg(long, global = true, value_name = "FILE", env = "AARP_PROBE_SOCKET")]
    socket: Option<std::path::PathBuf>,
    /// One JSON record a line, for programs (docs/json.md)
    #[arg(long, global = true, env = "AARP_PROBE_JSON", value_parser = switch)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All mappings that hold, one a line; what is done without a word
    List,
    /// All that is known about one address
    Show {
        /// An IPv6 address, or a name that has one
        #[arg(value_name = "ADDR|NAME")]
        destination: String,
    },
    /// Have aarpd forget mappings: for root, and the daemon's own user
    Flush {
        /// Those inside PREFIX, such as 2001:db8:a::/48 or one address
        #[arg(
            value_name = "PREFIX",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        prefix: Option<Prefix>,
        /// Everything
        #[arg(long)]
        all: bool,
    },
}

/// Looks in, prints, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let looking = Looking {
        which: Which {
            socket: arguments.which.socket.clone(),
        },
        json: arguments.which.json,
        settings,
        brush,
    };
    let ended = match &arguments.action {
        None | Some(Action::List) => looking.list(),
        Some(Action::Show { destination }) => looking.show(destination),
        Some(Action::Flush { prefix, .. }) => {
            looking.flush(prefix.unwrap_or(Prefix::new(Ipv6Addr::UNSPECIFIED, 0)?))
        }
    };
    concluded(looking.json, ended)
}

struct Looking<'r> {
    which: Which,
    json: bool,
    settings: &'r Settings,
    brush: Brush,
}

impl Looking<'_> {
    /// What the daemon lists: everything, or about one address. Where it is dead, what
    /// stands in the table that it has left.
    fn known(&self, a: Ipv6Addr) -> anyhow::Result<Vec<Known>> {
        let asked = self.which.connect(self.settings).and_then(|connection| {
            let (text, _) = connection.lines(&Message::List(a))?;
            Known::all(&connection.path, &text)
        });
        let error = match asked {
            Ok(known) => return Ok(known),
            Err(error @ (MapperError::Absent(_) | MapperError::Silent(_))) => error,
            Err(error) => return Err(error.into()),
        };
        let Ok(table) = self.which.table(self.settings) else {
            return Err(error.into());
        };
        let writer = table.view.header().identity().pid;
        eprintln!(
            "aarp-probe: aarpd: {error}; read from the table that process {writer} has left, {}, \
             which serves until its mappings end",
            table.path.display()
        );
        let now = boottime();
        let fresh = table.fresh(now).into_iter();
        let wanted = fresh.filter(|entry| a.is_unspecified() || entry.a == a);
        Ok(wanted
            .map(|entry| Known::of_entry(&entry, now))
            .collect::<Result<_, _>>()?)
    }

    fn list(&self) -> anyhow::Result<u8> {
        let all = self.known(Ipv6Addr::UNSPECIFIED)?;
        let mut stdout = stdout().lock();
        if self.json {
            for known in &all {
                stdout.write_all(known.line.as_bytes())?;
            }
        } else if all.is_empty() {
            eprintln!("aarp-probe: aarpd: nothing is known");
        } else {
            let mappings = all.iter().map(|known| &known.mapping);
            stdout.write_all(view::table(self.brush, mappings).as_bytes())?;
        }
        stdout.flush()?;
        Ok(0)
    }

    fn show(&self, destination: &str) -> anyhow::Result<u8> {
        let (target, a) = match first(destination) {
            Ok(found) => found,
            Err(error) => {
                return Ok(record::nothing(
                    self.json,
                    destination,
                    &error,
                    exit::NO_ANSWER,
                )?);
            }
        };
        let known = self.known(a)?;
        let table = self.which.table(self.settings).ok();
        let Some(known) = known.first() else {
            let reason = table.as_ref().and_then(|table| Self::ended(table, a));
            let reason = reason.unwrap_or("nothing is known about it");
            return Ok(record::nothing(
                self.json,
                destination,
                reason,
                exit::NO_ANSWER,
            )?);
        };
        let mut stdout = stdout().lock();
        if self.json {
            stdout.write_all(known.line.as_bytes())?;
        } else {
            let entry = table.as_ref().and_then(|table| table.view.get(a));
            let what = target.describe();
            let text = view::one(self.brush, &what, &known.mapping, entry.as_ref());
            stdout.write_all(text.as_bytes())?;
        }
        stdout.flush()?;
        Ok(0)
    }

    /// Why what stands in the table about `a` does not hold any more.
    fn ended(table: &Table, a: Ipv6Addr) -> Option<&'static str> {
        let entry = table.view.get(a)?;
        let is_old = entry.epoch != table.view.header().epoch() as u8;
        Some(if is_old {
            "what was known is in doubt since the routes changed, or the host resumed"
        } else {
            "what was known has ended, and nobody has asked since"
        })
    }

    fn flush(&self, prefix: Prefix) -> anyhow::Result<u8> {
        let connection = self.which.connect(self.settings)?;
        let question = Message::Flush(prefix.address(), prefix.len_bits());
        let (_, count) = connection.lines(&question)?;
        let mut stdout = stdout().lock();
        if self.json {
            let prefix = match prefix.len_bits() {
                128 => format!("{prefix}/128"),
                _ => prefix.to_string(),
            };
            let record = json!({"prefix": prefix, "count": count});
            record::write(&mut stdout, "flush", SystemTime::now(), &record)?;
        } else {
            let mappings = if count == 1 { "mapping" } else { "mappings" };
            writeln!(stdout, "{count} {mappings} forgotten")?;
            stdout.flush()?;
        }
        Ok(0)
    }
}
