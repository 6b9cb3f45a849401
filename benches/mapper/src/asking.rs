//! What a question costs: cold, in the process and through aarpd, beside ping; known, as
//! often as clients can; and what a mapping takes of the daemon's memory.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::{Command, Host, HostSpec, Lab, LinkSpec, Network, Process};
use anyhow::{Context, Result, ensure};

use crate::{memory, rates};

/// Options of `asking`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds of cold questions
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Milliseconds of each measurement of known ones
    #[arg(long, default_value_t = 2000)]
    milliseconds: u32,
    /// Mappings, for memory
    #[arg(long, default_value_t = 100_000)]
    mappings: u32,
}

const U: &str = "2001:db8:51::2";
/// All of it is anycast: each address is one that nobody has asked about.
const PREFIX: &str = "2001:db8:a000::/36";
/// One way, on the link.
const DELAY: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_secs(120);
/// Cold questions of a way in a round: the first of a process, and more.
const BATCH: usize = 5;

/// A client and a responder, with a delay between them or without.
pub(crate) struct Site {
    lab: Lab,
    stage: PathBuf,
    program: PathBuf,
    next: u32,
}

impl Site {
    pub(crate) fn new(stage: &Path, delay: Duration) -> Result<Self> {
        let link = LinkSpec::new("client:eth0 2001:db8:c::2/64", "router:c 2001:db8:c::1/64");
        let network = Network::new()
            .host("client", HostSpec::new().route("default via 2001:db8:c::1"))
            .host("router", HostSpec::router().route(format!("{PREFIX} via {U}")))
            .host(
                "responder",
                HostSpec::new()
                    .route("default via 2001:db8:51::1")
                    .route(format!("local {PREFIX} dev lo"))
                    // As aarp-responder has it, for one address.
                    .firewall(format!(
                        "table inet responder {{\nchain out {{\ntype filter hook output priority mangle\n\
                         ip6 saddr {PREFIX} icmpv6 type echo-reply ip6 saddr set {U}\n}}\n}}\n"
                    )),
            )
            .add_link(link.delay(delay))
            .link(format!("responder:eth0 {U}/64"), "router:r 2001:db8:51::1/64");
        let lab = Lab::new(&network)?;
        let program = lab.work().join("asking");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("asking.c");
        let built = std::process::Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&program, &source])
            .output()
            .context("cc")?;
        ensure!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        let site = Self {
            lab,
            stage: stage.to_owned(),
            program,
            next: 0,
        };
        // The neighbours are known.
        site.client()?
            .command("ping")
            .args(["-nc3", "-i0.2", U])
            .run()?;
        Ok(site)
    }

    pub(crate) fn client(&self) -> Result<&Host> {
        Ok(self.lab.host("client")?)
    }

    pub(crate) fn socket(&self) -> Result<PathBuf> {
        Ok(self.client()?.dir().join("aarpd.sock"))
    }

    pub(crate) fn program_path(&self) -> &Path {
        &self.program
    }

    pub(crate) fn program(&self) -> Result<Command<'_>> {
        Ok(self.client()?.command(&self.program))
    }

    /// An A that nobody has asked about.
    pub(crate) fn fresh(&mut self) -> Ipv6Addr {
        self.next += 1;
        let start = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0xa800, 0, 0, 0, 0, 0));
        // Networks in turns: of one /48 a limited number is asked about each second.
        Ipv6Addr::from(start | u128::from(self.next % 256) << 80 | u128::from(self.next))
    }

    /// aarpd, on the second CPU.
    pub(crate) fn daemon(&self, entries: u32) -> Result<Process> {
        let config = self.config("daemon", "auto", entries)?;
        let command = self.client()?.command("taskset").args(["-c", "1"]);
        let command = command.arg(self.stage.join("bin/aarpd"));
        let daemon = command.args(["run", "--config"]).arg(config).spawn()?;
        daemon.wait_stderr("serves ", LIMIT)?;
        Ok(daemon)
    }

    fn config(&self, name: &str, usage: &str, entries: u32) -> Result<PathBuf> {
        let dir = self.client()?.dir();
        let file = dir.join(format!("{name}.toml"));
        let text = format!(
            "[resolve]\nprefixes = [\"{PREFIX}\"]\n[times]\nttl = \"1h\"\n[daemon]\nuse = \"{usage}\"\n\
             socket = \"{dir}/aarpd.sock\"\ntable = \"{dir}/table\"\nentries = {entries}\n",
            dir = dir.display()
        );
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// connect() to new A, in one process: how long each took, in nanoseconds.
    fn cold(&mut self, usage: &str) -> Result<Vec<f64>> {
        let addresses: Vec<_> = (0..BATCH).map(|_| self.fresh().to_string()).collect();
        let config = self.config(usage, usage, 1000)?;
        let command = self.program()?.arg("cold").args(addresses);
        let command = command
            .env("LD_PRELOAD", self.stage.join("lib/aarp/libaarp.so"))
            .env("AARP_CONFIG", config)
            .env("AARP_STATS", "1");
        let output = command.run()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(stderr.contains(&format!("pinned={BATCH} ")), "{stderr}");
        let told = format!("told={BATCH}");
        ensure!(
            stderr.contains(&told) == (usage == "require"),
            "{usage}: {stderr}"
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| Ok(line.parse()?)).collect()
    }

    /// The round trip of one echo, in nanoseconds, as ping says: with `-U` as a program sees
    /// it, without as the kernel stamps it.
    fn ping(&self, options: &str) -> Result<f64> {
        let ping = self.client()?.command("ping");
        let output = ping.args([options, U]).run()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // rtt min/avg/max/mdev = 10.103/10.103/10.103/0.000 ms
        let times = text
            .lines()
            .find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
        let first = times.and_then(|times| times.split('/').next());
        let ms: f64 = first.with_context(|| text.clone())?.parse()?;
        Ok(ms * 1e6)
    }
}

pub(crate) fn tables(stage: &Path, options: &Options) -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("asking-cold", cold(stage, options.rounds)?),
        ("asking-rates", rates::table(stage, options.milliseconds)?),
        ("asking-memory", memory::table(stage, options.mappings)?),
    ])
}

fn cold(stage: &Path, rounds: u32) -> Result<String> {
    let mut site = Site::new(stage, DELAY)?;
    let daemon = site.daemon(100_000)?;
    let names = [
        "`ping -U`, to U",
        "ping, by the kernel's stamps",
        "in the process, its first",
        "in the process, more",
        "through aarpd, the process's first",
        "through aarpd, more",
    ];
    let mut times: [Vec<f64>; 6] = Default::default();
    for _ in 0..rounds {
        for _ in 0..BATCH {
            times[0].push(site.ping("-nqUc1")?);
            times[1].push(site.ping("-nqc1")?);
        }
        for (at, usage) in [(2, "off"), (4, "require")] {
            let taken = site.cold(usage)?;
            times[at].push(taken[0]);
            times[at + 1].extend(&taken[1..]);
        }
    }
    drop(daemon);
    let mut text = "| connect() to an A that nobody knows, round trip 10 ms | median, ms | a tenth below | median beyond ping's | of its round trip |\n|---|--:|--:|--:|--:|\n".to_owned();
    let median = |times: &[f64]| times[times.len() / 2];
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let base = median(&times[0]);
    for (name, times) in names.iter().zip(&times) {
        let beyond = median(times) - base;
        text += &format!(
            "| {name} | {:.3} | {:.3} | {:+.0} µs | {:+.1} % |\n",
            median(times) / 1e6,
            times[times.len() / 10] / 1e6,
            beyond / 1e3,
            beyond / base * 100.0
        );
    }
    Ok(text)
}
