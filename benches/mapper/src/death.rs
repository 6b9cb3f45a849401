//! A responder dies: for how long new connections fail, in several ways at the same time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::Process;
use anyhow::Result;

use crate::attempts::{Attempt, Clients, Way, now};
use crate::plot::{Plot, Row};
use crate::routed::{A, Death, LIMIT, Routed, until};

/// Options of `death`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Deaths of each kind
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Only these kinds
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Death::ALL)]
    dies: Vec<Death>,
    /// curl's own limit for a connection, in seconds
    #[arg(long, default_value_t = 2.0)]
    connect_timeout: f64,
    /// Seconds between two curls of the same way
    #[arg(long, default_value_t = 0.1)]
    pace: f64,
    /// The library's TTL
    #[arg(long, default_value = "60s")]
    ttl: String,
    /// Draws the times into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What one way has met in one turn.
#[derive(Clone, Debug)]
struct Outcome {
    /// From the death until the first attempt after which none has failed.
    healed: Duration,
    /// From the death until the first attempt was served that had begun after it; none was
    /// where all failed.
    served: Option<Duration>,
    failed: usize,
    /// The longest that one took which succeeded.
    slowest: Duration,
}

/// From the attempts of a turn, those that the death can have met.
fn outcome(attempts: &[Attempt], death: Duration) -> Outcome {
    let after: Vec<_> = attempts.iter().filter(|a| a.ended >= death).collect();
    let healthy = after.iter().rposition(|a| a.by.is_none()).map(|last| {
        let next = after
            .get(last + 1)
            .map_or(after[last].ended, |next| next.began);
        next.saturating_sub(death)
    });
    let served = || after.iter().filter(|a| a.by.is_some());
    let begun_after = served().filter(|a| a.began >= death);
    let first = begun_after.map(|a| a.ended.saturating_sub(death)).min();
    let times = served().map(|a| a.ended.saturating_sub(a.began));
    Outcome {
        healed: healthy.unwrap_or_default(),
        served: first,
        failed: after.iter().filter(|a| a.by.is_none()).count(),
        slowest: times.max().unwrap_or_default(),
    }
}

pub(crate) fn tables(stage: &Path, options: &Options) -> Result<Vec<(&'static str, String)>> {
    let mut routed = Routed::new(stage)?;
    until("r0 prefers s1", || Ok(routed.leads_to()? == Some(1)))?;
    let daemon = daemon(&routed, stage, &options.ttl)?;
    let mut outcomes: Vec<(Death, Way, Vec<Outcome>)> = options
        .dies
        .iter()
        .flat_map(|&death| Way::ALL.map(|way| (death, way, Vec::new())))
        .collect();
    for turn in 0..options.turns {
        for &death in &options.dies {
            for (way, outcome) in one(&mut routed, stage, death, options)? {
                eprintln!("turn {turn}: {}: {}: {outcome:?}", death.name(), way.name());
                let row = outcomes
                    .iter_mut()
                    .find(|row| (row.0, row.1) == (death, way));
                row.expect("all are there").2.push(outcome);
            }
        }
    }
    drop(daemon);
    if let Some(file) = &options.svg {
        let rows = outcomes.iter().map(|(death, way, outcomes)| Row {
            label: format!("{} dies: {}", death.name(), way.name()),
            values: outcomes
                .iter()
                .map(|outcome| outcome.healed.as_secs_f64())
                .collect(),
        });
        let plot = Plot {
            title: "Until no new connection fails any more, in seconds".to_owned(),
            about: format!(
                "{} deaths each; curl with {} s to connect; RIPng 1/4/3; health checks of 2 s x 3",
                options.turns, options.connect_timeout
            ),
            rows: rows.collect(),
        };
        std::fs::write(file, plot.svg())?;
    }
    let mut text = "| dies | way | until none fails, s: median | least | most | until the first is served, s: median | fail, median | slowest that was served, s |\n|---|---|--:|--:|--:|--:|--:|--:|\n".to_owned();
    for (death, way, outcomes) in &mut outcomes {
        outcomes.sort_by_key(|outcome| outcome.healed);
        let healed = |at: usize| outcomes[at].healed.as_secs_f64();
        let (middle, last) = (outcomes.len() / 2, outcomes.len() - 1);
        let mut served: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| outcome.served)
            .collect();
        served.sort_unstable();
        let first = served.get(served.len() / 2).copied().unwrap_or_default();
        let mut failed: Vec<_> = outcomes.iter().map(|outcome| outcome.failed).collect();
        failed.sort_unstable();
        let slowest = outcomes.iter().map(|outcome| outcome.slowest).max();
        text += &format!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {:.1} |\n",
            death.name(),
            way.name(),
            healed(middle),
            healed(0),
            healed(last),
            first.as_secs_f64(),
            failed[middle],
            slowest.unwrap_or_default().as_secs_f64(),
        );
    }
    Ok(vec![("death-times", text)])
}

/// aarpd on the client, for A alone.
fn daemon(routed: &Routed, stage: &Path, ttl: &str) -> Result<Process> {
    let host = routed.host("client")?;
    let config = host.dir().join("aarp.toml");
    let dir = host.dir().display();
    let text = format!(
        "[resolve]\nprefixes = [\"{A}/128\"]\n[times]\nttl = \"{ttl}\"\n\
         [daemon]\nsocket = \"{dir}/aarpd.sock\"\ntable = \"{dir}/table\"\nentries = 100\n"
    );
    std::fs::write(&config, text)?;
    let daemon = host
        .command(stage.join("bin/aarpd"))
        .args(["run", "--config"]);
    let daemon = daemon.arg(&config).spawn()?;
    daemon.wait_stderr("serves ", LIMIT)?;
    Ok(daemon)
}

/// One death, and what each way has met.
fn one(
    routed: &mut Routed,
    stage: &Path,
    death: Death,
    options: &Options,
) -> Result<Vec<(Way, Outcome)>> {
    // What the daemon knows from the turn before is of another time.
    let host = routed.host("client")?;
    let flush = host
        .command(stage.join("bin/aarp-probe"))
        .args(["cache", "flush", "--all"]);
    flush
        .env("AARP_CONFIG", host.dir().join("aarp.toml"))
        .run()?;
    let times = [options.pace, options.connect_timeout].map(Duration::from_secs_f64);
    let clients = Way::ALL.map(|way| Clients::start(routed, stage, way, times.into()));
    let clients = clients.into_iter().collect::<Result<Vec<_>>>()?;
    let served_by = |way, name| (way != Way::Names).then_some(name);
    let begun = now();
    for client in &clients {
        client.wait_served(begun, served_by(client.way, "s1"))?;
    }
    let at = now();
    routed.kill(death)?;
    for client in &clients {
        client.wait_served(at, served_by(client.way, "s2"))?;
    }
    let mut outcomes = Vec::new();
    for client in clients {
        let way = client.way;
        outcomes.push((way, outcome(&client.end()?, at)));
    }
    routed.revive(death)?;
    Ok(outcomes)
}
