//! Scenarios: a network, what runs in it, what is done and what must be seen.
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use serde::Deserialize;

use crate::condition::Condition;
use crate::expand::{Variables, expand};
use crate::network::{HostSpec, LinkSpec, Network};
use crate::packet::Filter;
use crate::plot::PlotSpec;
use crate::quantity::{Mode, Size, Span};
use crate::{Error, Result};

/// A scenario as its file describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line for `aarp-lab list`.
    pub description: String,
    /// Programs that must be installed, and devices (`/dev/…`) that must be there and
    /// may be opened.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Variables for the rest of the file.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// See [`Network`].
    #[serde(default)]
    pub hosts: BTreeMap<String, HostSpec>,
    /// See [`Network`].
    #[serde(default)]
    pub links: Vec<LinkSpec>,
    /// See [`Network`].
    #[serde(default)]
    pub names: BTreeMap<String, Vec<String>>,
    /// Files to be made before anything runs.
    #[serde(default)]
    pub files: Vec<FileSpec>,
    /// What runs in the background from the start.
    #[serde(default)]
    pub services: Vec<Service>,
    /// What is captured from the start.
    #[serde(default)]
    pub captures: Vec<CaptureSpec>,
    /// What is done, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A file: of this text, or of so many random octets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Where.
    pub path: String,
    /// Its content.
    pub text: Option<String>,
    /// Its permission bits, in octal, if they matter: "0600".
    pub mode: Option<Mode>,
    /// Its size, if it is random.
    pub size: Option<Size>,
    /// Which random octets.
    #[serde(default)]
    pub seed: u64,
}

/// A command in the background, and when it counts as started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// How steps refer to it.
    pub name: String,
    /// Where it runs.
    pub host: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Current folder.
    pub cwd: Option<String>,
    /// Waited for before anything else is done.
    #[serde(default)]
    pub ready: Condition,
    /// How long.
    #[serde(default = "ten_seconds")]
    pub within: Span,
}

/// A capture on an interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureSpec {
    /// How steps refer to it.
    pub name: String,
    /// The host.
    pub host: String,
    /// Its interface.
    pub interface: String,
    /// Whether whole packets are kept, not the headers alone.
    #[serde(default)]
    pub whole: bool,
}

/// A step: exactly one action.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is done, for people.
    pub say: Option<String>,
    /// What must come of it: makes the step a line of the report.
    pub promise: Option<String>,
    /// Begins a part of the report with this heading.
    pub part: Option<String>,
    /// Run a command.
    pub run: Option<Run>,
    /// Start a service.
    pub start: Option<Service>,
    /// Wait for the end of a process.
    pub finish: Option<Finish>,
    /// End a process by a signal.
    pub stop: Option<Stop>,
    /// Wait for something.
    pub wait: Option<Wait>,
    /// Configure a host.
    pub ip: Option<Ip>,
    /// Give the moment a name.
    pub mark: Option<String>,
    /// Compare.
    pub expect: Option<Expect>,
    /// Counts for the end of the report.
    pub tally: Option<Tally>,
    /// A message chart for the report.
    pub chart: Option<ChartSpec>,
    /// A bar chart for the report, and as a file.
    pub plot: Option<PlotSpec>,
}

/// A command and its end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Where it runs.
    pub host: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Current folder.
    pub cwd: Option<String>,
    /// Its name, for later steps.
    pub name: Option<String>,
    /// Whether it goes on while the next steps are done; `finish` waits for it.
    #[serde(default)]
    pub background: bool,
    /// The exit status it must have.
    #[serde(default)]
    pub exit: Exit,
    /// How long it may take.
    #[serde(default = "one_minute")]
    pub within: Span,
}

/// An expected exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "exit: a number, \"any\" or \"nonzero\"")]
pub enum Exit {
    /// This one.
    Code(i32),
    /// One of a kind.
    Kind(ExitKind),
}

/// Kinds of exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitKind {
    /// Whatever it is.
    Any,
    /// A failure.
    Nonzero,
}

impl Default for Exit {
    fn default() -> Self {
        Self::Code(0)
    }
}

impl Exit {
    /// Whether a status is as expected.
    pub fn allows(self, status: std::process::ExitStatus) -> bool {
        match self {
            Self::Code(code) => status.code() == Some(code),
            Self::Kind(ExitKind::Any) => true,
            Self::Kind(ExitKind::Nonzero) => !status.success(),
        }
    }
}

/// The end of a background command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// Its name.
    pub process: String,
    /// The exit status it must have.
    #[serde(default)]
    pub exit: Exit,
    /// How long it may take.
    #[serde(default = "one_minute")]
    pub within: Span,
}

/// Ending a process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Its name.
    pub process: String,
    /// By SIGKILL instead of SIGTERM.
    #[serde(default)]
    pub kill: bool,
    /// How long it may take.
    #[serde(default = "ten_seconds")]
    pub within: Span,
}

/// A wait for a condition on a host, a process or a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Of which host.
    pub host: Option<String>,
    /// Of which process; with a file: which must not end meanwhile.
    pub process: Option<String>,
    /// On the host or process.
    #[serde(default, rename = "until")]
    pub condition: Condition,
    /// A file that grows.
    pub file: Option<String>,
    /// To this fraction of the size of `of`.
    pub fraction: Option<f64>,
    /// Another file.
    pub of: Option<String>,
    /// How long.
    #[serde(default = "ten_seconds")]
    pub within: Span,
}

/// An `ip` command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ip {
    /// Where.
    pub host: String,
    /// As after `ip`.
    pub command: String,
}

/// A comparison; exactly one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Packets of this capture.
    pub capture: Option<String>,
    /// Which of them.
    #[serde(default)]
    pub packets: Filter,
    /// Which of them, as a display filter of tshark's, which then decodes them.
    pub decoded: Option<String>,
    /// One packet after the other, not necessarily the next one, as such filters; the
    /// first that fits is taken.
    #[serde(default)]
    pub order: Vec<String>,
    /// Not before this mark.
    pub since: Option<String>,
    /// Before this mark.
    pub until: Option<String>,
    /// `"== 0"`, `">= 1"` …
    pub count: Option<Count>,
    /// Two files of the same octets.
    pub same: Option<[String; 2]>,
    /// A process whose standard output contains `contains`.
    pub stdout: Option<String>,
    /// A file that contains `contains`.
    pub file: Option<String>,
    /// What they must contain.
    pub contains: Option<String>,
    /// Whether a file's part against `of` lies in this range.
    pub fraction: Option<[f64; 2]>,
    /// The other file.
    pub of: Option<String>,
}

/// A number that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    operator: &'static str,
    number: usize,
}

impl Count {
    /// Whether a number is as expected.
    pub fn allows(self, number: usize) -> bool {
        match self.operator {
            "==" => number == self.number,
            "!=" => number != self.number,
            ">=" => number >= self.number,
            "<=" => number <= self.number,
            ">" => number > self.number,
            _ => number < self.number,
        }
    }
}

impl std::str::FromStr for Count {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // The longer operators first.
        ["==", "!=", ">=", "<=", ">", "<"]
            .into_iter()
            .find_map(|operator| {
                let number = text.strip_prefix(operator)?.trim().parse().ok()?;
                Some(Self { operator, number })
            })
            .ok_or_else(|| format!("{text:?} is no comparison like \"== 0\" or \">= 1\""))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A table of counts: a line for each kind of packet, a column for each capture.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Its heading.
    pub title: String,
    /// The columns.
    pub captures: Vec<String>,
    /// The lines.
    pub rows: Vec<TallyRow>,
}

/// A line of a [`Tally`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TallyRow {
    /// Its name.
    pub label: String,
    /// What is counted.
    pub packets: Filter,
    /// Not before this mark.
    pub since: Option<String>,
    /// Before this mark.
    pub until: Option<String>,
}

/// A message chart: the packets of a capture as arrows between hosts, with what
/// tshark says about each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChartSpec {
    /// Its heading.
    pub title: String,
    /// Of which capture; it should keep whole packets.
    pub capture: String,
    /// Which packets, as a display filter of tshark's.
    pub decoded: String,
    /// The hosts, from left to right.
    pub columns: Vec<String>,
    /// Addresses that are shown as a host's, beside its own: an anycast address.
    #[serde(default)]
    pub also: BTreeMap<Ipv6Addr, String>,
    /// Fields of tshark's to be shown, by the words that name them in the chart.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Not before this mark.
    pub since: Option<String>,
    /// Before this mark.
    pub until: Option<String>,
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

/// What is read of a file before its variables are known.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    description: String,
    #[serde(default)]
    vars: BTreeMap<String, String>,
}

impl Scenario {
    /// Reads a scenario. `given` has the variables that its file does not set:
    /// `work`, the folder of the run, and `stage`, that of the programs.
    pub fn parse(file: &str, text: &str, given: &Variables) -> Result<Self> {
        let error = |message: String| Error::Scenario {
            file: file.to_owned(),
            message,
        };
        let toml_error = |e: toml::de::Error| error(e.to_string().trim_end().to_owned());
        let outline: Outline = toml::from_str(text).map_err(toml_error)?;
        let mut variables = outline.vars;
        variables.extend(given.clone());
        let text = expand(text, &variables).map_err(error)?;
        let scenario: Self = toml::from_str(&text).map_err(toml_error)?;
        scenario.network().check(file)?;
        scenario.check().map_err(error)?;
        Ok(scenario)
    }

    /// The one line about the scenario in this text.
    pub fn describe(file: &str, text: &str) -> Result<String> {
        let outline: Outline = toml::from_str(text).map_err(|e| Error::Scenario {
            file: file.to_owned(),
            message: e.to_string(),
        })?;
        Ok(outline.description)
    }

    /// Its network.
    pub fn network(&self) -> Network {
        Network {
            hosts: self.hosts.clone(),
            links: self.links.clone(),
            names: self.names.clone(),
        }
    }
}
