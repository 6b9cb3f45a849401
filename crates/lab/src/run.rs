//! Running a scenario, step by step.
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::capture::{Capture, Snap};
use crate::chart::Chart;
use crate::command::{Command, Process};
use crate::condition::Condition;
use crate::decode::{Decoded, decode};
use crate::error::Context;
use crate::expand::Variables;
use crate::packet::Packet;
use crate::plot::Plot;
use crate::report::{Counts, Line, Report};
use crate::scenario::{
    CaptureSpec, ChartSpec, Exit, Finish, Run, Scenario, Service, Step, Tally, Wait,
};
use crate::wait::wait_until;
use crate::{Error, Lab, Result, tools};

/// A scenario being run.
#[derive(Debug)]
pub struct Runner {
    // In this order: processes end before their hosts.
    processes: BTreeMap<String, Process>,
    /// Files that are kept with the captures.
    files: Vec<PathBuf>,
    captures: BTreeMap<String, Capture>,
    lab: Lab,
    scenario: Scenario,
    report: Report,
    start: Instant,
    progress: bool,
}

impl Runner {
    /// Makes the network of a scenario, by name or file, with its files, captures
    /// and services. `variables` may hold `stage`, the folder of the programs.
    pub fn start(name: &str, variables: Variables) -> Result<Self> {
        let (scenario, work) = Scenario::open(name, variables)?;
        for needed in scenario.needs.iter().map(String::as_str).chain(["ip"]) {
            match needed.starts_with("/dev/") {
                true => tools::try_device(needed)?,
                false => drop(tools::find(needed)?),
            }
        }
        let start = Instant::now();
        let network = scenario.network();
        let lab = Lab::new_in(&network, work)?;
        let mut runner = Self {
            processes: BTreeMap::new(),
            files: Vec::new(),
            captures: BTreeMap::new(),
            lab,
            scenario,
            report: Report::default(),
            start,
            progress: std::io::stderr().is_terminal(),
        };
        let (hosts, links) = (network.hosts.len(), network.links.len());
        let by = match runner.lab.delayed_by() {
            Some(kind) => format!(", delays by {kind}"),
            None => String::new(),
        };
        runner.tell(format_args!(
            "a network of {hosts} hosts and {links} links{by}"
        ));
        for capture in runner.scenario.captures.clone() {
            runner.capture(&capture)?;
        }
        for service in runner.scenario.services.clone() {
            runner.service(&service)?;
        }
        Ok(runner)
    }

    /// The network.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// A service or a command of the scenario.
    pub fn process(&self, name: &str) -> Result<&Process> {
        self.processes.get(name).ok_or_else(|| Error::Unknown {
            kind: "process",
            name: name.to_owned(),
        })
    }

    /// Does every step. A step that fails ends the run and is a line of the
    /// report; a promise that is not kept is a line, and the run goes on.
    pub fn run(&mut self) -> Result<Report> {
        for step in self.scenario.steps.clone() {
            if let Err(error) = self.step(&step) {
                if matches!(error, Error::Interrupted | Error::Missing { .. }) {
                    return Err(error);
                }
                self.tell(format_args!("FAILED: {error}"));
                self.report.push(Line {
                    done: step.say.unwrap_or_else(|| "a step".to_owned()),
                    promised: step.promise.unwrap_or_else(|| "it can be done".to_owned()),
                    seen: error.to_string(),
                    held: false,
                });
                self.tell_ends()?;
                break;
            }
        }
        // The last word of the evidence: nothing was lost in any capture.
        for capture in self.captures.values() {
            capture.packets()?;
        }
        self.report.seconds = self.start.elapsed().as_secs_f64();
        Ok(std::mem::take(&mut self.report))
    }

    /// Copies the captures and plots to a folder.
    pub fn keep_captures(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).context(|| format!("make {}", dir.display()))?;
        for (name, capture) in &self.captures {
            capture.packets()?;
            let to = dir.join(format!("{name}.pcap"));
            fs::copy(capture.path(), &to).context(|| format!("write {}", to.display()))?;
        }
        for file in &self.files {
            let to = dir.join(file.file_name().unwrap_or_default());
            fs::copy(file, &to).context(|| format!("write {}", to.display()))?;
        }
        Ok(())
    }

    /// What processes that failed had to say.
    fn tell_ends(&self) -> Result<()> {
        for (name, process) in &self.processes {
            let Some(status) = process.try_wait()?.filter(|status| !status.success()) else {
                continue;
            };
            let stderr = process.stderr()?;
            let lines: Vec<_> = stderr.lines().rev().take(5).collect();
            self.tell(format_args!("  {name} had ended: {status}"));
            for line in lines.iter().rev() {
                self.tell(format_args!("    {line}"));
            }
        }
        Ok(())
    }

    /// Has a file kept with the captures.
    pub(crate) fn keep(&mut self, file: PathBuf) {
        self.files.push(file);
    }

    pub(crate) fn draw_plot(&mut self, plot: Plot) {
        self.report.plots.push(plot);
    }

    pub(crate) fn tell(&self, what: impl Display) {
        eprintln!("{:7.1}s  {what}", self.start.elapsed().as_secs_f64());
    }

    fn capture(&mut self, spec: &CaptureSpec) -> Result<()> {
        let snap = if spec.whole {
            Snap::Whole
        } else {
            Snap::Headers
        };
        let capture = self.lab.capture_with(&spec.host, &spec.interface, snap)?;
        self.captures.insert(spec.name.clone(), capture);
        Ok(())
    }

    fn command<'l>(
        &'l self,
        host: &str,
        words: &[String],
        cwd: &Option<String>,
    ) -> Result<Command<'l>> {
        let host = self.lab.host(host)?;
        let mut command = host.command(&words[0]).args(&words[1..]);
        if let Some(dir) = cwd {
            command = command.cwd(dir);
        }
        Ok(command)
    }

    fn service(&mut self, service: &Service) -> Result<()> {
        let command = self.command(&service.host, &service.command, &service.cwd)?;
        let process = command.envs(&service.env).spawn()?;
        let host = self.lab.host(&service.host)?;
        self.tell(format_args!("{}: {} started", service.host, service.name));
        let within = service.within.0;
        self.until(&service.ready, Some(host.name()), Some(&process), within)?;
        self.processes.insert(service.name.clone(), process);
        Ok(())
    }

    /// Waits until all of a condition holds; a process that ends before is an error.
    fn until(
        &self,
        condition: &Condition,
        host: Option<&str>,
        process: Option<&Process>,
        within: Duration,
    ) -> Result<()> {
        let host = match host {
            Some(host) => Some(self.lab.host(host)?),
            None => None,
        };
        wait_until(&condition.to_string(), within, || {
            // Asked first: all that it did before its end is seen.
            let ended = match process {
                Some(process) => process.try_wait()?,
                None => None,
            };
            if condition.holds(host, process)? {
                return Ok(true);
            }
            match (process, ended) {
                (Some(process), Some(status)) => Err(process.failed(status)?),
                _ => Ok(false),
            }
        })
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        if let Some(heading) = &step.part {
            self.report.begin(heading);
            eprintln!("\n{heading}");
        }
        // Of a comparison the outcome says it all.
        if let Some(say) = step.say.as_ref().filter(|_| step.expect.is_none()) {
            self.tell(say);
        }
        if let Some(run) = &step.run {
            self.run_command(run, step)
        } else if let Some(service) = &step.start {
            self.service(service)
        } else if let Some(finish) = &step.finish {
            self.finish(finish, step)
        } else if let Some(stop) = &step.stop {
            let process = self.process(&stop.process)?;
            if stop.kill {
                process.kill();
                return Ok(());
            }
            process.terminate(stop.within.0).map(drop)
        } else if let Some(wait) = &step.wait {
            self.wait(wait)
        } else if let Some(ip) = &step.ip {
            self.lab.ip(&ip.host, &ip.command).map(drop)
        } else if let Some(mark) = &step.mark {
            self.lab.mark(mark);
            Ok(())
        } else if let Some(expect) = &step.expect {
            let (held, seen) = self.judge(expect)?;
            self.conclude(step, held, seen);
            Ok(())
        } else if let Some(tally) = &step.tally {
            self.tally(tally)
        } else if let Some(chart) = &step.chart {
            self.chart(chart)
        } else if let Some(plot) = &step.plot {
            self.plot(plot, step)
        } else {
            Ok(())
        }
    }

    fn run_command(&mut self, run: &Run, step: &Step) -> Result<()> {
        let command = self.command(&run.host, &run.command, &run.cwd)?;
        let process = command.envs(&run.env).spawn()?;
        let name = run.name.clone().unwrap_or_else(|| run.command[0].clone());
        self.processes.insert(name.clone(), process);
        if run.background {
            return Ok(());
        }
        self.ended(&name, run.exit, run.within.0, step)
    }

    fn finish(&mut self, finish: &Finish, step: &Step) -> Result<()> {
        self.ended(&finish.process, finish.exit, finish.within.0, step)
    }

    /// Waits for the end of a process and judges its exit status: a promise kept
    /// or not where the step makes one, else a step that may fail.
    fn ended(&mut self, name: &str, exit: Exit, within: Duration, step: &Step) -> Result<()> {
        let process = self.process(name)?;
        let status = process.wait(within)?;
        let held = exit.allows(status);
        let stderr = process.stderr()?;
        let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
        if step.promise.is_some() {
            let seen = match last.filter(|_| !status.success()) {
                Some(line) => format!("{status}: {}", line.trim()),
                None => status.to_string(),
            };
            self.conclude(step, held, seen);
            return Ok(());
        }
        if held {
            return Ok(());
        }
        Err(process.failed(status)?)
    }

    pub(crate) fn conclude(&mut self, step: &Step, held: bool, seen: String) {
        let promised = step.promise.clone().unwrap_or_default();
        let verdict = if held { "ok" } else { "FAILED" };
        self.tell(format_args!("  {verdict}: {promised}: {seen}"));
        self.report.push(Line {
            done: step.say.clone().unwrap_or_default(),
            promised,
            seen,
            held,
        });
    }

    fn wait(&mut self, wait: &Wait) -> Result<()> {
        let process = match &wait.process {
            Some(name) => Some(self.process(name)?),
            None => None,
        };
        self.until(
            &wait.condition,
            wait.host.as_deref(),
            process,
            wait.within.0,
        )?;
        let (Some(file), Some(of), Some(fraction)) = (&wait.file, &wait.of, wait.fraction) else {
            return Ok(());
        };
        let whole = size(of)?;
        let what = format!("{file} has {:.0} % of {of}", fraction * 100.0);
        let mut shown = 0;
        let result = wait_until(&what, wait.within.0, || {
            // Asked before the size is: what it wrote at last is seen.
            let ended = match process {
                Some(process) => process.try_wait()?,
                None => None,
            };
            let part = size(file)? as f64 / whole as f64;
            let percent = (part * 100.0) as u32;
            if self.progress && percent != shown {
                shown = percent;
                eprint!("\r          {percent:3} % ");
                let _ = std::io::stderr().flush();
            }
            match ended {
                _ if part >= fraction => Ok(true),
                None => Ok(false),
                Some(status) => match process {
                    Some(process) => Err(process.failed(status)?),
                    None => Ok(false),
                },
            }
        });
        if self.progress && shown > 0 {
            eprint!("\r                    \r");
        }
        result
    }

    fn captured(&self, name: &str) -> Result<&Capture> {
        self.captures.get(name).ok_or_else(|| Error::Unknown {
            kind: "capture",
            name: name.to_owned(),
        })
    }

    /// Whether a time lies between two marks.
    pub(crate) fn between(
        &self,
        since: &Option<String>,
        until: &Option<String>,
    ) -> Result<impl Fn(Duration) -> bool + use<>> {
        let mark = |name: &Option<String>| match name {
            Some(name) => self.lab.marked(name).map(Some),
            None => Ok(None),
        };
        let (since, until) = (mark(since)?, mark(until)?);
        Ok(move |time| {
            since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
        })
    }

    /// The packets of a capture between two marks.
    pub(crate) fn packets(
        &self,
        capture: &str,
        since: &Option<String>,
        until: &Option<String>,
    ) -> Result<Vec<Packet>> {
        let between = self.between(since, until)?;
        let mut packets = self.captured(capture)?.packets()?;
        packets.retain(|packet| between(packet.time));
        Ok(packets)
    }

    /// What tshark makes of those of them that a display filter lets through.
    pub(crate) fn decoded(
        &self,
        capture: &str,
        filter: &str,
        fields: &BTreeMap<String, String>,
        since: &Option<String>,
        until: &Option<String>,
    ) -> Result<Vec<Decoded>> {
        let between = self.between(since, until)?;
        let capture = self.captured(capture)?;
        // Has everything written out, and nothing lost.
        capture.packets()?;
        let mut packets = decode(capture.path(), filter, fields)?;
        packets.retain(|packet| between(packet.time));
        Ok(packets)
    }

    fn chart(&mut self, spec: &ChartSpec) -> Result<()> {
        let packets = self.decoded(
            &spec.capture,
            &spec.decoded,
            &spec.fields,
            &spec.since,
            &spec.until,
        )?;
        let mut hosts = self.scenario.network().hosts_by_address();
        hosts.extend(spec.also.clone());
        let labels: Vec<_> = spec.fields.keys().collect();
        let chart = Chart::new(&spec.title, &spec.columns, &hosts, &labels, &packets);
        self.report.draw(chart);
        Ok(())
    }

    fn tally(&mut self, tally: &Tally) -> Result<()> {
        let mut rows = Vec::new();
        for row in &tally.rows {
            let mut numbers = Vec::new();
            for capture in &tally.captures {
                let packets = self.packets(capture, &row.since, &row.until)?;
                numbers.push(row.packets.count(&packets));
            }
            rows.push((row.label.clone(), numbers));
        }
        self.report.counts.push(Counts {
            title: tally.title.clone(),
            columns: tally.captures.clone(),
            rows,
        });
        Ok(())
    }
}

/// The size of a file; one that is not there yet has none.
pub(crate) fn size(path: &str) -> Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).context(|| format!("read the size of {path}")),
    }
}
