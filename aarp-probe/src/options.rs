//! Options that more than one subcommand has.

use std::path::PathBuf;
use std::time::Duration;

use aarp_core::settings::Methods;
use aarp_wire::probe::Method;
use clap::ValueEnum;

/// How anycast addresses are asked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Asking {
    /// Ask by this method; several, separated by commas, at once
    ///
    /// Without it, by those of the configuration.
    #[arg(
        long,
        value_name = "METHOD",
        value_delimiter = ',',
        env = "AARP_PROBE_METHOD"
    )]
    pub(crate) method: Vec<MethodName>,
    /// How long to wait for an answer, such as 300ms or 2s
    ///
    /// Without it, the budget that the configuration gives to `prefixes`.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "AARP_PROBE_TIMEOUT")]
    pub(crate) timeout: Option<Duration>,
}

/// What is printed, and where else it goes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Output {
    /// One JSON record a line, for programs (docs/json.md)
    #[arg(long, env = "AARP_PROBE_JSON", value_parser = switch)]
    pub(crate) json: bool,
    /// Also write metrics to FILE, for the textfile collector of node_exporter
    ///
    /// FILE is replaced as a whole, so that no reader sees half of it.
    #[arg(long, value_name = "FILE", env = "AARP_PROBE_PROM_TEXTFILE")]
    pub(crate) prom_textfile: Option<PathBuf>,
}

/// The name of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodName {
    /// ICMPv6 echo
    Echo,
    /// UDP to a closed port
    Unreach,
}

impl Asking {
    /// The methods that were named, if any were.
    pub(crate) fn methods(&self) -> Option<Methods> {
        let named = self.method.iter().map(|name| match name {
            MethodName::Echo => Method::Echo,
            MethodName::Unreach => Method::Unreach,
        });
        (!self.method.is_empty()).then(|| named.fold(Methods::NONE, Methods::with))
    }
}

/// A switch in the environment; an empty variable is one that is not set.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// How many times.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("expected a whole number, at least 1".to_owned()),
    }
}

/// A time that is not zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time {
        Duration::ZERO => Err("must not be zero".to_owned()),
        time if time > Duration::from_secs(24 * 3600) => Err("at most a day".to_owned()),
        time => Ok(time),
    }
}

/// The time from one packet to the next: nobody is to be flooded.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time < Duration::from_millis(1) => Err("at least 1ms".to_owned()),
        time => Ok(time),
    }
}
