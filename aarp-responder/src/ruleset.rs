//! The nft rules that make answers to probes of A leave from U: their text, and
//! what `nft -j` shows of them.
//!
//! All responders of a network namespace share the table `inet aarp_responder`;
//! each A has a chain of its own in it, so that they come and go independently.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the table, family inet.
pub(crate) const TABLE: &str = "aarp_responder";

/// Priority `mangle` as a number, the form in which the kernel returns it.
const PRIORITY_MANGLE: i64 = -150;

/// Which answers of A leave from U.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// Those to probes, whose payload begins with "AARP".
    Probes,
    /// Every echo reply and every destination unreachable.
    All,
}

/// The chain of one anycast address.
pub(crate) fn chain(anycast: Ipv6Addr) -> String {
    format!("a_{:032x}", anycast.to_bits())
}

/// The anycast address a chain stands for.
pub(crate) fn anycast_of(chain: &str) -> Option<Ipv6Addr> {
    let digits = chain
        .strip_prefix("a_")
        .filter(|d| d.len() == 32 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u128::from_str_radix(digits, 16)
        .ok()
        .map(Ipv6Addr::from_bits)
}

/// One transaction that leaves the chain of `anycast` with the rules for
/// `unicast` and nothing else. Without a `unicast` the chain rewrites nothing.
/// `replace` says that there is a chain of that name which hooks elsewhere: the
/// kernel never changes the hook of a chain. Otherwise the chain stays and only its
/// rules are exchanged, so that no packet can pass without any.
///
/// Bytes are counted from the ICMPv6 header: an echo reply has its payload at 8;
/// a destination unreachable quotes the IPv6 header at 8 (its next header at 14)
/// and, behind a UDP header at 48, our payload at 56.
pub(crate) fn install(
    anycast: Ipv6Addr,
    unicast: Option<Ipv6Addr>,
    answer: Answer,
    replace: bool,
) -> String {
    let chain = chain(anycast);
    let mut text = format!("add table inet {TABLE}\n");
    if replace {
        text += &format!("flush chain inet {TABLE} {chain}\ndelete chain inet {TABLE} {chain}\n");
    }
    text += &format!(
        "add chain inet {TABLE} {chain} {{ type filter hook output priority mangle; policy accept; }}\n\
         flush chain inet {TABLE} {chain}\n"
    );
    if let Some(unicast) = unicast {
        for matches in matches(answer) {
            text += &format!(
                "add rule inet {TABLE} {chain} ip6 saddr {anycast} {matches} ip6 saddr set {unicast}\n"
            );
        }
    }
    text
}

fn matches(answer: Answer) -> [&'static str; 2] {
    match answer {
        Answer::Probes => [
            "icmpv6 type echo-reply @th,64,32 0x41415250",
            "icmpv6 type destination-unreachable @th,112,8 17 @th,448,32 0x41415250",
        ],
        Answer::All => [
            "icmpv6 type echo-reply",
            "icmpv6 type destination-unreachable",
        ],
    }
}

/// Removes the chain of `anycast`, and the table with it when nothing else is in it.
pub(crate) fn remove(anycast: Ipv6Addr, others: bool) -> String {
    if others {
        let chain = chain(anycast);
        format!("flush chain inet {TABLE} {chain}\ndelete chain inet {TABLE} {chain}\n")
    } else {
        format!("delete table inet {TABLE}\n")
    }
}

/// What the kernel holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) chains: Vec<ObservedChain>,
    /// Sets, maps and the like, which this program never makes.
    pub(crate) foreign: usize,
}

/// One chain of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObservedChain {
    pub(crate) name: String,
    /// It hooks the output path at priority mangle.
    pub(crate) hooked: bool,
    /// For each rule its source match, ICMPv6 type and the source it sets.
    pub(crate) rules: Vec<[Option<String>; 3]>,
    /// Payload matches in all rules together.
    pub(crate) payload_matches: usize,
}

impl Observed {
    /// The chain of `anycast`.
    pub(crate) fn chain(&self, anycast: Ipv6Addr) -> Option<&ObservedChain> {
        let name = chain(anycast);
        self.chains.iter().find(|c| c.name == name)
    }

    /// Whether the kernel holds just what `install` would leave.
    pub(crate) fn is_in_place(
        &self,
        anycast: Ipv6Addr,
        unicast: Option<Ipv6Addr>,
        answer: Answer,
    ) -> bool {
        let Some(chain) = self.chain(anycast) else {
            return false;
        };
        let expected: Vec<[Option<String>; 3]> = unicast
            .iter()
            .flat_map(|u| {
                ["echo-reply", "destination-unreachable"].map(|kind| {
                    [
                        Some(anycast.to_string()),
                        Some(kind.to_owned()),
                        Some(u.to_string()),
                    ]
                })
            })
            .collect();
        let payload_matches = match answer {
            Answer::Probes if unicast.is_some() => 3,
            _ => 0,
        };
        chain.hooked && chain.rules == expected && chain.payload_matches == payload_matches
    }

    /// Whether anything but the chain of `anycast` is in the table.
    pub(crate) fn has_others(&self, anycast: Ipv6Addr) -> bool {
        let name = chain(anycast);
        self.foreign > 0 || self.chains.iter().any(|c| c.name != name)
    }
}

/// Reads `nft -j list table inet aarp_responder`.
pub(crate) fn observe(json: &str) -> Result<Observed, serde_json::Error> {
    let document: Value = serde_json::from_str(json)?;
    let mut observed = Observed::default();
    let items = document["nftables"].as_array().cloned().unwrap_or_default();
    for item in &items {
        if let Some(chain) = item.get("chain") {
            observed.chains.push(ObservedChain {
                name: chain["name"].as_str().unwrap_or_default().to_owned(),
                hooked: chain["hook"] == "output"
                    && chain["type"] == "filter"
                    && chain["prio"].as_i64() == Some(PRIORITY_MANGLE),
                rules: Vec::new(),
                payload_matches: 0,
            });
        } else if let Some(rule) = item.get("rule") {
            let owner = observed
                .chains
                .iter_mut()
                .find(|c| rule["chain"] == c.name.as_str());
            if let Some(chain) = owner {
                read_rule(rule, chain);
            }
        } else if item.get("metainfo").is_none() && item.get("table").is_none() {
            observed.foreign += 1;
        }
    }
    Ok(observed)
}

fn read_rule(rule: &Value, chain: &mut ObservedChain) {
    let mut summary = [None, None, None];
    for expression in rule["expr"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(test) = expression.get("match") {
            let payload = &test["left"]["payload"];
            match (payload["protocol"].as_str(), payload["field"].as_str()) {
                (Some("ip6"), Some("saddr")) => summary[0] = text(&test["right"]),
                (Some("icmpv6"), Some("type")) => summary[1] = text(&test["right"]),
                _ if payload["base"].is_string() => chain.payload_matches += 1,
                _ => {}
            }
        } else if let Some(mangle) = expression.get("mangle") {
            summary[2] = text(&mangle["value"]);
        }
    }
    chain.rules.push(summary);
}

#[cfg(test)]
#[path = "ruleset_tests.rs"]
mod tests;
