//! `aarp-probe doctor`: what keeps programs from being pinned, and what mends it.

mod aarpd;
mod destination;
mod finding;
mod firewall;
mod host;
pub(crate) mod library;
mod methods;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aarp_core::settings::Settings;
use aarp_sys::settings::SettingsError;
use serde_json::json;

use crate::exit;
use crate::options::{Asking, Output};
use crate::paint::{Brush, Tone};
use crate::prometheus::{self, Metrics};
use crate::question::Asker;
use crate::record;
use crate::target::{Target, targets};
use finding::{Finding, Verdict};

/// Options of `aarp-probe doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also examine the way to this IPv6 address, or to those of a name
    #[arg(value_name = "ADDR|NAME")]
    destination: Option<String>,
    /// The libaarp.so to load
    ///
    /// Without it, the one that is installed with this program.
    #[arg(long, value_name = "FILE", env = "AARP_LIBRARY")]
    library: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    output: Output,
}

/// Examines, prints, and returns the exit code.
pub(crate) fn run(
    arguments: &Arguments,
    loaded: Result<&Settings, &SettingsError>,
    libdir: Option<&Path>,
    brush: Brush,
) -> anyhow::Result<u8> {
    // Without a configuration the rest is looked at as if there were none.
    let settings = loaded.unwrap_or(&Settings::DEFAULT);
    let mut findings = Findings {
        arguments,
        brush,
        all: Vec::new(),
    };
    let configuration = host::configuration(loaded);
    let named = arguments.library.as_deref();
    let library = host::library(named.filter(|path| !path.as_os_str().is_empty()), libdir);
    let filter = host::own_firewall();
    let lost_here = filter.as_ref().is_some_and(Finding::hinders);
    let targets: Vec<Target> = arguments
        .destination
        .iter()
        .flat_map(|text| targets(text))
        .collect();
    let first = targets
        .iter()
        .find_map(|target| target.address.clone().ok());
    let methods = methods::examine(settings, first);
    let (aarpd, table) = aarpd::examine(settings);
    // What an answer is worth.
    let but = [
        (&configuration, "were it not for the configuration"),
        (&library, "if the library could be loaded"),
        (&aarpd, "if aarpd could be asked"),
        (&methods, "if it were permitted to ask"),
    ];
    let but = but.into_iter().find(|(finding, _)| finding.hinders());
    let but = but.map(|(_, but)| but);
    // Whether it works tells what a finding about this host means.
    let asker = Asker::new(settings, &arguments.asking);
    let mut of_destination = Vec::new();
    let mut works = false;
    for target in &targets {
        match &target.address {
            Ok(a) => {
                let (found, pinned) = destination::examine(asker, *a, but, lost_here);
                of_destination.extend(found);
                works |= pinned;
            }
            Err(error) => {
                let detail = format!("{}: {error}", target.name);
                of_destination.push(Finding::hindrance("name", exit::NO_ANSWER, detail));
            }
        }
    }
    let of_host = [
        Some(configuration),
        Some(library),
        Some(aarpd),
        table,
        Some(methods),
        Some(host::connectivity()),
        filter.map(|finding| finding.unless(works)),
    ];
    let without_effect = host::without_effect(settings);
    let of_destination = of_destination.into_iter().map(|finding| {
        // A name may have an ordinary address too.
        match works && finding.is_ordinary {
            true => finding.beside_another(),
            false => finding,
        }
    });
    let of_host = of_host.into_iter().flatten().chain(without_effect);
    for finding in of_host.chain(of_destination) {
        findings.add(finding)?;
    }
    findings.finish()
}

/// Findings, each shown as soon as it is there.
struct Findings<'r> {
    arguments: &'r Arguments,
    brush: Brush,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, finding: Finding) -> std::io::Result<()> {
        let mut stdout = stdout().lock();
        if self.arguments.output.json {
            record::write(&mut stdout, "doctor-finding", SystemTime::now(), &finding)?;
        } else {
            stdout.write_all(finding.text(self.brush).as_bytes())?;
            stdout.flush()?;
        }
        self.all.push(finding);
        Ok(())
    }

    fn finish(self) -> anyhow::Result<u8> {
        let count = |verdict| self.all.iter().filter(|f| f.verdict == verdict).count();
        let (hindrances, notes) = (count(Verdict::Hindrance), count(Verdict::Note));
        let mut stdout = stdout().lock();
        if self.arguments.output.json {
            let record = json!({
                "ready": hindrances == 0,
                "hindrances": hindrances,
                "notes": notes,
            });
            record::write(&mut stdout, "doctor-summary", SystemTime::now(), &record)?;
        } else {
            let line = match hindrances {
                0 => self.brush.paint(Tone::Good, "nothing hinders"),
                1 => self.brush.paint(Tone::Bad, "1 hindrance"),
                n => self.brush.paint(Tone::Bad, &format!("{n} hindrances")),
            };
            writeln!(stdout, "\n{line}")?;
            stdout.flush()?;
        }
        if let Some(path) = &self.arguments.output.prom_textfile {
            let mut metrics = Metrics::default();
            metrics.gauge(
                "aarp_probe_doctor_hindrances",
                "What keeps programs from being pinned.",
                &[],
                hindrances as f64,
            );
            prometheus::timestamp(&mut metrics, "doctor");
            metrics.write(path)?;
        }
        Ok(finding::code(&self.all))
    }
}
