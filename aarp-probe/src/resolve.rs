//! `aarp-probe resolve`: asks once, and says who answered.

use std::io::stdout;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use aarp_core::address::{Scope, scope};
use aarp_core::mapping::Answer;
use aarp_core::policy::{Interest, Patience, plan};
use aarp_core::settings::Settings;
use aarp_sys::ask::{AskError, Inquiry, Report, ask};
use aarp_sys::interrupt::Interruptible;
use aarp_sys::route::Origin;

use crate::exit;
use crate::output::{self, Row};

/// Options of `aarp-probe resolve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// IPv6 addresses, or names that have some.
    #[arg(required = true, value_name = "ADDR|NAME")]
    destinations: Vec<String>,
    /// One JSON record a line, instead of a table.
    #[arg(long, env = "AARP_PROBE_JSON")]
    json: bool,
    /// How long to wait for an answer, such as 300ms or 2s; the budget of the
    /// configuration when it is not given.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration,
          env = "AARP_PROBE_TIMEOUT")]
    timeout: Option<Duration>,
}

/// What became of one address.
pub(crate) enum Outcome {
    /// It was asked.
    Asked(Report),
    /// It could not be.
    NotAsked(AskError),
    /// It is no address that can be asked about.
    Ineligible(&'static str),
    /// A name without an address.
    NoAddress(String),
}

impl Outcome {
    /// The exit code for this one.
    fn code(&self) -> u8 {
        match self {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { .. } => exit::PINNED,
                Answer::Direct { .. } => exit::CANNOT_BE_PINNED,
                Answer::Untrusted { .. } => exit::UNTRUSTED,
                Answer::None { .. } => exit::NO_ANSWER,
            },
            Outcome::NotAsked(AskError::NotPermitted) => exit::NOT_PERMITTED,
            Outcome::NotAsked(AskError::NoRoute) => exit::NO_ANSWER,
            Outcome::NotAsked(AskError::System(..)) => exit::SOFTWARE,
            Outcome::NotAsked(_) | Outcome::Ineligible(_) => exit::CANNOT_BE_PINNED,
            Outcome::NoAddress(_) => exit::NO_ANSWER,
        }
    }
}

/// Asks, prints, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<u8> {
    let targets: Vec<Target> = arguments
        .destinations
        .iter()
        .flat_map(|text| targets(text))
        .collect();
    // All at once: addresses that are silent cost one timeout, not one each.
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let threads: Vec<_> = targets
            .into_iter()
            .map(|target| scope.spawn(|| answer(settings, target, arguments.timeout)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("asking does not panic"))
            .collect()
    });
    let mut stdout = stdout().lock();
    if arguments.json {
        output::json(&mut stdout, &rows)?;
    } else {
        output::table(&mut stdout, &rows)?;
    }
    Ok(overall(rows.iter().map(|row| row.outcome.code())))
}

/// A destination as it was given, and one address of it.
struct Target {
    name: String,
    address: Result<Ipv6Addr, String>,
}

/// The addresses of a destination: itself, or what the system's resolver knows.
fn targets(text: &str) -> Vec<Target> {
    let target = |address| Target {
        name: text.to_owned(),
        address,
    };
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return vec![target(Ok(address))];
    }
    let found = match (text, 0).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => return vec![target(Err(error.to_string()))],
    };
    let mut addresses: Vec<Ipv6Addr> = Vec::new();
    for address in found {
        if let SocketAddr::V6(address) = address
            && !addresses.contains(address.ip())
        {
            addresses.push(*address.ip());
        }
    }
    if addresses.is_empty() {
        return vec![target(Err("it has no IPv6 address".to_owned()))];
    }
    addresses
        .into_iter()
        .map(|address| target(Ok(address)))
        .collect()
}

fn answer(settings: &Settings, target: Target, timeout: Option<Duration>) -> Row {
    let (address, outcome) = match target.address {
        Ok(a) => (Some(a), resolve(settings, a, timeout)),
        Err(error) => (None, Outcome::NoAddress(error)),
    };
    Row {
        name: target.name,
        address,
        outcome,
    }
}

fn resolve(settings: &Settings, a: Ipv6Addr, timeout: Option<Duration>) -> Outcome {
    match scope(a) {
        Scope::Global | Scope::UniqueLocal => {}
        Scope::LinkLocal => return Outcome::Ineligible("link-local"),
        Scope::Loopback => return Outcome::Ineligible("the loopback address"),
        Scope::Unspecified => return Outcome::Ineligible("the unspecified address"),
        Scope::Multicast => return Outcome::Ineligible("multicast"),
        Scope::V4 => return Outcome::Ineligible("IPv4 in IPv6 form"),
    }
    // A person who asks has the patience of `prefixes`, wherever the address lies.
    let mut plan = plan(settings, a, Interest::Configured, Patience::Blocking);
    let budget = timeout.unwrap_or(plan.budget);
    plan.budget = budget;
    let origin = Origin::default();
    let inquiry = Inquiry {
        settings,
        a,
        scope: 0,
        plan,
        budget,
        origin,
        interruptible: Interruptible::Never,
    };
    match ask(&inquiry) {
        Ok(report) => Outcome::Asked(report),
        Err(error) => Outcome::NotAsked(error),
    }
}

/// One code for all: their own when they agree.
fn overall(mut codes: impl Iterator<Item = u8>) -> u8 {
    let Some(first) = codes.next() else {
        return exit::USAGE;
    };
    codes.fold(first, |all, code| match code {
        _ if all == code => all,
        // What hinders the asking is not a result to be mixed.
        exit::NOT_PERMITTED | exit::SOFTWARE => code,
        _ if all == exit::NOT_PERMITTED || all == exit::SOFTWARE => all,
        _ => exit::MIXED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_several_addresses() {
        for (codes, expected) in [
            (vec![0], 0),
            (vec![1, 1], 1),
            (vec![0, 2], exit::MIXED),
            (vec![0, 2, 0], exit::MIXED),
            (vec![0, 77], 77),
            (vec![77, 1], 77),
        ] {
            assert_eq!(overall(codes.into_iter()), expected);
        }
    }
}
