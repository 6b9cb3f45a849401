//! Whether the packet filter of this host lets an echo reply in that conntrack calls
//! invalid, as it does a reply from U to a request that was sent to A. Judged from
//! what `nft --json list ruleset` prints, without I/O.

use serde_json::Value;

/// How deep chains call chains.
const DEPTH: u32 = 16;

/// A place where such a reply is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) family: String,
    pub(crate) table: String,
    /// The base chain.
    pub(crate) chain: String,
    /// The rule, by its chain and handle; none where it is the policy of the chain.
    pub(crate) rule: Option<(String, u64)>,
    /// Whether rules before it, which cannot be judged here, may let it pass.
    pub(crate) perhaps: bool,
    /// Whether the reply to an ordinary ping is lost there as well.
    pub(crate) ordinary: bool,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Loss {
            family,
            table,
            chain,
            ..
        } = self;
        match &self.rule {
            Some((of, handle)) => {
                write!(f, "the rule with handle {handle} in {family} {table} {of}")
            }
            None => write!(f, "the policy of {family} {table} {chain}"),
        }
    }
}

/// What is known about a condition, for the packet in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::True, Truth::True) => Truth::True,
            _ => Truth::Unknown,
        }
    }

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(known: bool) -> Self {
        if known { Truth::True } else { Truth::False }
    }
}

/// How a chain ends for the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Accepted,
    Dropped(String, u64),
    /// It comes back to the caller, or to the policy.
    Through,
}

/// The places where the reply is lost on its way in.
pub(crate) fn losses(ruleset: &Value) -> Vec<Loss> {
    let empty = Vec::new();
    let objects = ruleset["nftables"].as_array().unwrap_or(&empty);
    let chains = objects.iter().map(|object| &object["chain"]);
    let mut losses = Vec::new();
    for chain in chains.filter(|chain| {
        matches!(chain["hook"].as_str(), Some("input" | "prerouting"))
            && matches!(chain["family"].as_str(), Some("inet" | "ip6"))
            && chain["type"] == "filter"
    }) {
        let text = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
        let of_state = |state| {
            let mut walk = Walk {
                objects,
                family: text("family"),
                table: text("table"),
                state,
                perhaps: false,
            };
            let rule = match walk.chain(&text("name"), 0) {
                End::Accepted => return None,
                End::Dropped(of, handle) => Some((of, handle)),
                End::Through if chain["policy"] == "drop" => None,
                End::Through => return None,
            };
            Some((rule, walk.perhaps))
        };
        let Some((rule, perhaps)) = of_state("invalid") else {
            continue;
        };
        losses.push(Loss {
            rule,
            perhaps,
            ordinary: matches!(of_state("established"), Some((_, false))),
            chain: text("name"),
            family: text("family"),
            table: text("table"),
        });
    }
    losses
}

struct Walk<'r> {
    objects: &'r [Value],
    family: String,
    table: String,
    /// What conntrack calls the packet.
    state: &'static str,
    /// Whether a rule that cannot be judged might have accepted it.
    perhaps: bool,
}

impl Walk<'_> {
    fn chain(&mut self, name: &str, depth: u32) -> End {
        if depth > DEPTH {
            return End::Through;
        }
        let objects = self.objects;
        for rule in objects.iter().map(|object| &object["rule"]) {
            if rule["family"] != *self.family
                || rule["table"] != *self.table
                || rule["chain"] != name
            {
                continue;
            }
            let handle = rule["handle"].as_u64().unwrap_or(0);
            match self.rule(rule, depth) {
                Some(Target::Accept) => return End::Accepted,
                Some(Target::Drop) => return End::Dropped(name.to_owned(), handle),
                Some(Target::Return) => return End::Through,
                Some(Target::Call(end)) if end != End::Through => return end,
                _ => {}
            }
        }
        End::Through
    }

    /// What the rule does with the packet; none where it does nothing with it.
    fn rule(&mut self, rule: &Value, depth: u32) -> Option<Target> {
        let mut matches = Truth::True;
        for statement in rule["expr"].as_array()? {
            let (name, body) = statement.as_object()?.iter().next()?;
            let verdict = match name.as_str() {
                "match" => {
                    matches = matches.and(match_of(body, self.state));
                    continue;
                }
                "vmap" => match mapped(body, self.state) {
                    Ok(Some(verdict)) => verdict,
                    Ok(None) => return None,
                    Err(()) => {
                        self.perhaps = true;
                        return None;
                    }
                },
                "accept" | "drop" | "reject" | "return" | "jump" | "goto" => statement.clone(),
                // What counts, logs and marks stops nothing.
                "counter" | "log" | "comment" | "mangle" | "ct count" | "meta" => continue,
                _ => {
                    matches = matches.and(Truth::Unknown);
                    continue;
                }
            };
            if matches == Truth::False {
                return None;
            }
            return self.verdict(&verdict, matches, depth);
        }
        None
    }

    fn verdict(&mut self, verdict: &Value, matches: Truth, depth: u32) -> Option<Target> {
        let (name, body) = verdict.as_object()?.iter().next()?;
        let certain = matches == Truth::True;
        let target = match name.as_str() {
            "accept" => Target::Accept,
            "drop" | "reject" => Target::Drop,
            "return" => Target::Return,
            "jump" | "goto" => {
                let end = self.chain(body["target"].as_str()?, depth + 1);
                match (name.as_str(), end) {
                    ("goto", End::Through) => Target::Return,
                    (_, end) => Target::Call(end),
                }
            }
            _ => return None,
        };
        if certain {
            return Some(target);
        }
        // It may be taken or not: neither a loss nor its absence is certain.
        if !matches!(target, Target::Drop | Target::Call(End::Dropped(..))) {
            self.perhaps = true;
        }
        None
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Accept,
    Drop,
    Return,
    Call(End),
}

fn match_of(body: &Value, state: &str) -> Truth {
    let Some((what, of)) = body["left"].as_object().and_then(|left| left.iter().next()) else {
        return Truth::Unknown;
    };
    let right = &body["right"];
    let holds = match (what.as_str(), key(what, of).as_str()) {
        ("ct", "state") => Truth::from(contains(right, &[state], None)),
        ("meta", "l4proto") | ("payload", "ip6.nexthdr") => {
            Truth::from(contains(right, &["ipv6-icmp", "icmpv6"], Some(58)))
        }
        ("meta", "nfproto") => Truth::from(contains(right, &["ipv6"], None)),
        ("meta", "iif" | "iifname") if right == "lo" => Truth::False,
        ("payload", "icmpv6.type") => echo_reply_is_in(right),
        ("payload", name) if name.starts_with("tcp.") || name.starts_with("udp.") => Truth::False,
        // An address, which only IPv4 has.
        ("payload", name) if name.starts_with("ip.") || name.starts_with("icmp.") => Truth::False,
        _ => Truth::Unknown,
    };
    match body["op"].as_str() {
        Some("==" | "in") => holds,
        Some("!=") if what == "ct" || what == "meta" || what == "payload" => holds.not(),
        _ => Truth::Unknown,
    }
}

fn key(what: &str, of: &Value) -> String {
    match what {
        "payload" => format!(
            "{}.{}",
            of["protocol"].as_str().unwrap_or("?"),
            of["field"].as_str().unwrap_or("?")
        ),
        _ => of["key"].as_str().unwrap_or("?").to_owned(),
    }
}

/// The members of what stands on the right of a comparison.
fn members(right: &Value) -> Vec<&Value> {
    match right {
        Value::Array(list) => list.iter().collect(),
        Value::Object(set) => match set.get("set") {
            Some(Value::Array(list)) => list.iter().collect(),
            _ => vec![right],
        },
        one => vec![one],
    }
}

fn contains(right: &Value, names: &[&str], number: Option<u64>) -> bool {
    members(right).into_iter().any(|member| {
        member.as_str().is_some_and(|text| names.contains(&text))
            || (number.is_some() && member.as_u64() == number)
    })
}

/// ICMPv6 types, by the names that nft has for them.
fn icmp_type(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        Some(match value.as_str()? {
            "destination-unreachable" => 1,
            "packet-too-big" => 2,
            "time-exceeded" => 3,
            "parameter-problem" => 4,
            "echo-request" => 128,
            "echo-reply" => 129,
            "mld-listener-query" => 130,
            "mld-listener-report" => 131,
            "mld-listener-done" | "mld-listener-reduction" => 132,
            "nd-router-solicit" => 133,
            "nd-router-advert" => 134,
            "nd-neighbor-solicit" => 135,
            "nd-neighbor-advert" => 136,
            "nd-redirect" => 137,
            "router-renumbering" => 138,
            "ind-neighbor-solicit" => 141,
            "ind-neighbor-advert" => 142,
            "mld2-listener-report" => 143,
            _ => return None,
        })
    })
}

fn echo_reply_is_in(right: &Value) -> Truth {
    let mut all = Truth::False;
    for member in members(right) {
        let is = match member.get("range").and_then(Value::as_array) {
            Some(ends) => match (
                ends.first().and_then(icmp_type),
                ends.get(1).and_then(icmp_type),
            ) {
                (Some(first), Some(last)) => Truth::from((first..=last).contains(&129)),
                _ => Truth::Unknown,
            },
            None => icmp_type(member).map_or(Truth::Unknown, |kind| Truth::from(kind == 129)),
        };
        // Or, by De Morgan.
        all = all.not().and(is.not()).not();
    }
    all
}

/// What a verdict map by conntrack's state has for `state`.
fn mapped(body: &Value, state: &str) -> Result<Option<Value>, ()> {
    if body["key"]["ct"]["key"] != "state" {
        return Err(());
    }
    let list = body["data"]["set"].as_array().ok_or(())?;
    let found = list.iter().find(|pair| pair[0] == state);
    Ok(found.map(|pair| pair[1].clone()))
}

#[cfg(test)]
#[path = "firewall_tests.rs"]
mod tests;
