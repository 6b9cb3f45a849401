//! `aarp-probe explain`: what the library would do, and which line decides.

mod aarpd;
mod meaning;
pub(crate) mod places;
mod shown;

use std::io::{Write, stdout};
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime};

use aarp_core::bypass::Bypass;
use aarp_core::policy::{Interest, Patience, Plan, interest, plan};
use aarp_core::prefix::Prefix;
use aarp_core::settings::{GetAddrInfo, Methods, OnFailure, Settings};
use aarp_wire::probe::Method;
use serde::Serialize;

use crate::configuration;
use crate::exit;
use crate::mapper::is_wanting;
use crate::options::{Asking, Output, switch};
use crate::paint::Brush;
use crate::question::{Asker, Outcome, eligible, too_late};
use crate::record;
use crate::target::{Target, targets};
use meaning::meaning;
use places::{Entry, Places, Source, default};

/// Options of `aarp-probe explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// IPv6 addresses, or names that have some
    #[arg(required = true, value_name = "ADDR|NAME")]
    destinations: Vec<String>,
    /// Send nothing: say what the configuration says, and no more
    #[arg(long, env = "AARP_PROBE_OFFLINE", value_parser = switch)]
    offline: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    output: Output,
}

/// One decision, and the setting that makes it.
#[derive(Debug, Serialize)]
struct Decision {
    decision: &'static str,
    value: String,
    source: Source,
}

/// What the library would do with one destination.
struct Explanation {
    target: Target,
    /// Why it would not ask.
    bypass: Option<Bypass>,
    decisions: Vec<Decision>,
    outcome: Option<Outcome>,
    meaning: String,
}

/// Explains, prints, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let places = configuration::places();
    let mut codes = Vec::new();
    let targets = arguments.destinations.iter().flat_map(|text| targets(text));
    for (number, target) in targets.enumerate() {
        let explanation = match target.address {
            Ok(a) => explain(arguments, settings, &places, target.clone(), a),
            Err(ref error) => Explanation {
                meaning: format!("{error}: there is nobody to ask."),
                outcome: Some(Outcome::NoAddress(error.clone())),
                target,
                bypass: None,
                decisions: Vec::new(),
            },
        };
        codes.push(explanation.code());
        let mut stdout = stdout().lock();
        if arguments.output.json {
            let record = explanation.record();
            record::write(&mut stdout, "explain", SystemTime::now(), &record)?;
        } else {
            let gap = if number > 0 { "\n" } else { "" };
            write!(stdout, "{gap}{}", explanation.in_columns(brush))?;
            stdout.flush()?;
        }
    }
    Ok(exit::overall(codes.into_iter()))
}

fn explain(
    arguments: &Arguments,
    settings: &Settings,
    places: &Places,
    target: Target,
    a: Ipv6Addr,
) -> Explanation {
    let (asks, decision) = policy(settings, places, a);
    let mut decisions = vec![decision];
    if asks.is_ok() {
        decisions.extend(aarpd::decisions(settings, places, a));
    }
    let off = is_wanting(settings).then_some(Bypass::Off);
    let interest = match (asks, off) {
        (Ok(interest), None) => interest,
        (asked, off) => {
            let bypass = off.or(asked.err()).unwrap_or(Bypass::Off);
            return Explanation {
                target,
                bypass: Some(bypass),
                decisions,
                outcome: None,
                meaning: "A program goes to this address as if the library were not there."
                    .to_owned(),
            };
        }
    };
    let plans = [Patience::Blocking, Patience::NonBlocking]
        .map(|patience| plan(settings, a, interest, patience));
    decisions.extend(how(settings, places, a, interest, &plans));
    let outcome = (!arguments.offline).then(|| {
        let asker = Asker::new(settings, &arguments.asking);
        let asker = if arguments.asking.method.is_empty() {
            asker.by(plans[0].methods)
        } else {
            asker
        };
        asker.ask(a)
    });
    let meaning = match &outcome {
        None => format!(
            "A program waits up to {} to learn which unicast address answers, and goes there if \
             it may; else to this address.",
            time(plans[0].budget)
        ),
        Some(outcome) => meaning(settings, &plans, outcome),
    };
    let late = |outcome: &Outcome| {
        let late = too_late(settings, a, outcome);
        late.map(|_| Bypass::Budget)
    };
    let bypass = outcome.as_ref().and_then(|outcome| {
        let local = outcome.bypass().filter(|bypass| *bypass == Bypass::Local);
        local.or_else(|| late(outcome))
    });
    Explanation {
        target,
        bypass,
        decisions,
        outcome,
        meaning,
    }
}

/// Whether the library asks, and what says so.
fn policy(
    settings: &Settings,
    places: &Places,
    a: Ipv6Addr,
) -> (Result<Interest, Bypass>, Decision) {
    let asks = interest(settings, a);
    let decision = |value: String, source: Source| Decision {
        decision: "asked about",
        value,
        source,
    };
    let in_list = |key: &str| {
        let found = places.containing(a, key);
        found.unwrap_or_else(|| (String::new(), default(key)))
    };
    let decided = match asks {
        Ok(Interest::Configured) => {
            let (prefix, source) = in_list("resolve.prefixes");
            decision(format!("yes, inside {prefix}"), source)
        }
        Ok(Interest::Unconfigured) => decision(
            "yes, as every address: no prefixes are set".to_owned(),
            places.last("resolve.prefixes"),
        ),
        Err(Bypass::Excluded) => {
            let (prefix, source) = in_list("resolve.exclude");
            decision(format!("no, inside {prefix}"), source)
        }
        Err(Bypass::Policy) => decision(
            "no, outside of all prefixes".to_owned(),
            places.last("resolve.prefixes"),
        ),
        Err(_) => {
            let what = eligible(a).err().map_or("", |(_, what)| what);
            decision(format!("never: {what}"), default("built in"))
        }
    };
    (asks, decided)
}

/// How it asks, what it trusts, and what it does afterwards.
fn how(
    settings: &Settings,
    places: &Places,
    a: Ipv6Addr,
    interest: Interest,
    plans: &[Plan; 2],
) -> Vec<Decision> {
    let [blocking, nonblocking] = plans;
    let times = &blocking.times;
    let configured = interest == Interest::Configured;
    let key = |configured_key: &'static str| match configured {
        true => places.last_for(a, configured_key),
        // The small budget is one for all.
        false => places.last("times.budget_unconfigured"),
    };
    let methods = match configured {
        true => places.last_for(a, "resolve.methods"),
        false => places.last("resolve.methods"),
    };
    let decision = |decision, value, source| Decision {
        decision,
        value,
        source,
    };
    let mut decisions = vec![
        decision("methods", allowed_methods(settings, a, blocking), methods),
        decision(
            "blocking calls wait",
            time(blocking.budget),
            key("times.budget"),
        ),
        decision(
            "non-blocking calls wait",
            time(nonblocking.budget),
            key("times.budget_nonblocking"),
        ),
        decision(
            "repeated after",
            match times.retransmit.as_slice() {
                [] => "never".to_owned(),
                list => list
                    .iter()
                    .map(|at| time(*at))
                    .collect::<Vec<_>>()
                    .join(", "),
            },
            places.last_for(a, "times.retransmit"),
        ),
    ];
    decisions.extend(trusted(places, a));
    decisions.push(decision(
        "an answer is used for",
        time(times.ttl),
        places.last_for(a, "times.ttl"),
    ));
    decisions.push(decision(
        "if it cannot be pinned",
        match settings.on_failure {
            OnFailure::Pass => "the program goes to the anycast address".to_owned(),
            OnFailure::Refuse => "the call fails with EHOSTUNREACH".to_owned(),
        },
        places.last("resolve.on_failure"),
    ));
    decisions.push(decision(
        "getaddrinfo",
        match settings.getaddrinfo {
            GetAddrInfo::Prefetch => "prefetch",
            GetAddrInfo::Rewrite => "rewrite",
            GetAddrInfo::Off => "off",
        }
        .to_owned(),
        places.last("resolve.getaddrinfo"),
    ));
    decisions
}

/// What U must be inside of: every list there is counts.
fn trusted(places: &Places, a: Ipv6Addr) -> Vec<Decision> {
    let key = "resolve.trusted";
    let general = places.all(key);
    // Of one layer the last one counts; the layers are files and the environment.
    let mut lists: Vec<_> = general.chain(places.in_rules(a, key)).collect();
    lists.dedup_by(|a, b| a.source == b.source);
    let nothing = lists.len() > 1 && have_nothing_in_common(&lists);
    let last = lists.last().map(|entry| entry.source.clone());
    let said = lists.into_iter().map(|entry| {
        let values: Vec<&str> = entry.values.iter().map(|(text, _)| text.as_str()).collect();
        Decision {
            decision: "trusted",
            value: match values.as_slice() {
                [] => "nothing".to_owned(),
                values => format!("inside {}", values.join(", ")),
            },
            source: entry.source.clone(),
        }
    });
    let mut said: Vec<Decision> = said.collect();
    if let Some(source) = last.filter(|_| nothing) {
        said.push(Decision {
            decision: "trusted",
            value: "nothing: no address is inside each of these lists".to_owned(),
            source,
        });
    }
    if said.is_empty() {
        said.push(Decision {
            decision: "trusted",
            value: "any unicast address that is not inside this host's own network".to_owned(),
            source: default(key),
        });
    }
    said
}

/// Whether no address is inside each of the lists.
fn have_nothing_in_common(lists: &[&Entry]) -> bool {
    let parsed = lists.iter().map(|entry| {
        let prefixes = entry.values.iter().filter_map(|(text, _)| {
            let address = text.split('/').next()?.parse::<Ipv6Addr>().ok()?;
            Some((text.parse::<Prefix>().ok()?, address))
        });
        prefixes.collect::<Vec<_>>()
    });
    let common = parsed.reduce(|ones, others| {
        let mut common = Vec::new();
        for (one, first) in &ones {
            for (other, second) in &others {
                // Of two prefixes that overlap, one is inside the other.
                if one.contains(*second) && one.len_bits() <= other.len_bits() {
                    common.push((*other, *second));
                } else if other.contains(*first) && other.len_bits() <= one.len_bits() {
                    common.push((*one, *first));
                }
            }
        }
        common
    });
    common.is_some_and(|common| common.is_empty())
}

/// The methods, and what keeps others from being among them.
fn allowed_methods(settings: &Settings, a: Ipv6Addr, plan: &Plan) -> String {
    let rule = settings.rules.matching(a);
    let set = rule
        .and_then(|rule| rule.methods)
        .unwrap_or(settings.methods);
    let kept_out = set.contains(Method::Unreach) && !plan.methods.contains(Method::Unreach);
    let condition = if kept_out {
        "; unreach only inside `prefixes`, and with `trusted`"
    } else {
        ""
    };
    format!("{}{condition}", names(plan.methods))
}

fn names(methods: Methods) -> String {
    let known = [Method::Echo, Method::Unreach];
    let names: Vec<&str> = known
        .into_iter()
        .filter(|method| methods.contains(*method))
        .map(Method::name)
        .collect();
    match names.as_slice() {
        [] => "none that may be used here".to_owned(),
        names => names.join(", "),
    }
}

fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
