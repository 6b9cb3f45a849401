//! What `ip` lists of routes, rules and proxies.

use std::net::Ipv6Addr;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A rule that looks at the source address alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) from: Ipv6Addr,
    pub(super) protocol: Option<u8>,
    pub(super) table: u32,
    pub(super) priority: u32,
}

/// Reads the output of `ip -N -j -6 rule`: the rules from one address that look at
/// nothing else but the protocol.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, serde_json::Error> {
    let simple = |rule: Map<String, Value>| {
        let known = ["priority", "src", "table", "protocol", "ipproto"];
        if rule.keys().any(|key| !known.contains(&key.as_str())) {
            return None;
        }
        let number = |key: &str| match rule.get(key)? {
            Value::String(digits) => digits.parse().ok(),
            number => u32::try_from(number.as_u64()?).ok(),
        };
        // `protocol` is who has made the rule.
        let protocol = match rule.get("ipproto") {
            None => None,
            Some(name) => {
                let name = name.as_str()?;
                let digits = name.strip_prefix("ipproto-").unwrap_or(name);
                Some(digits.parse().ok()?)
            }
        };
        Some(Rule {
            from: rule.get("src")?.as_str()?.parse().ok()?,
            protocol,
            table: number("table")?,
            priority: number("priority")?,
        })
    };
    Ok(list::<Map<String, Value>>(text)?
        .into_iter()
        .filter_map(simple)
        .collect())
}

#[derive(Deserialize)]
struct Proxy {
    dst: Option<String>,
    dev: Option<String>,
}

/// Reads the output of `ip -j -6 neigh show proxy`.
pub(super) fn proxies(text: &str) -> Result<Vec<(Ipv6Addr, String)>, serde_json::Error> {
    let pair = |proxy: Proxy| Some((proxy.dst?.parse().ok()?, proxy.dev?));
    Ok(list::<Proxy>(text)?.into_iter().filter_map(pair).collect())
}

/// `ip -j` prints nothing at all, instead of an empty list, in some versions.
fn list<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>, serde_json::Error> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text)
}

/// Reads the output of `ip -N -6 route show`: each route as words that `ip route`
/// takes, without those that tell a state. A route of several parts goes on in lines
/// that are indented.
pub(super) fn routes(text: &str) -> Vec<Vec<String>> {
    let mut routes: Vec<Vec<String>> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = Vec::new();
        let mut all = line.split_whitespace();
        while let Some(word) = all.next() {
            match word {
                "linkdown" | "dead" | "offload" | "trap" | "offload_failed" | "rt_trap"
                | "notify" => {}
                // With a value: the time that a learned route has left, and the number
                // of errno(3) that a refusing one stands for.
                "expires" | "error" => drop(all.next()),
                word => words.push(word.to_owned()),
            }
        }
        match routes.last_mut() {
            Some(last) if line.starts_with(char::is_whitespace) => last.extend(words),
            _ => routes.push(words),
        }
    }
    routes
}

fn after<'r>(route: &'r [String], key: &str) -> Option<&'r str> {
    let at = route.iter().position(|word| word == key)?;
    route.get(at + 1).map(String::as_str)
}

/// Those with this metric.
pub(super) fn of_metric(mut routes: Vec<Vec<String>>, of: u32) -> Vec<Vec<String>> {
    routes.retain(|route| metric(route) == Some(of));
    routes
}

pub(super) fn metric(route: &[String]) -> Option<u32> {
    after(route, "metric")?.parse().ok()
}

/// The prefix that a route is to.
pub(super) fn destination(route: &[String]) -> Option<(Ipv6Addr, u8)> {
    let word = route.first()?;
    match (word.as_str(), word.split_once('/')) {
        ("default", _) => Some((Ipv6Addr::UNSPECIFIED, 0)),
        (_, Some((address, length))) => address.parse().ok().zip(length.parse().ok()),
        (address, None) => Some((address.parse().ok()?, 128)),
    }
}

/// Whether a route leads into this interface, to no router. Where only those of an
/// interface were listed it is not named.
pub(super) fn leads_into(route: &[String], interface: &str) -> bool {
    // A refusing route begins with its type.
    let plain = route.first().is_some_and(|word| {
        let address = word
            .split_once('/')
            .map_or(word.as_str(), |(address, _)| address);
        address == "default" || address.parse::<Ipv6Addr>().is_ok()
    });
    let has = |word: &str| route.iter().any(|other| other == word);
    let there = after(route, "dev").is_none_or(|device| device == interface);
    plain && there && !has("via") && !has("nexthop")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_from_an_address_alone() {
        let text = r#"[{"priority":0,"src":"all","table":"255"},
          {"priority":900,"src":"2001:db8:f::1","table":"77","protocol":"3"},
          {"priority":901,"src":"2001:db8:f::1","table":"77","fwmark":"0x1"},
          {"priority":902,"src":"2001:db8:f::","srclen":48,"table":"77"}]"#;
        let expected = Rule {
            from: "2001:db8:f::1".parse().expect("an address"),
            protocol: None,
            table: 77,
            priority: 900,
        };
        assert_eq!(rules(text).expect("parses"), [expected]);
        let text = r#"[{"priority":5,"src":"::1","ipproto":"ipproto-58","table":"7"},
            {"priority":6,"src":"::1","ipproto":"udp","table":"7"}]"#;
        let found = rules(text).expect("parses");
        assert_eq!(found.len(), 1, "a name for a protocol was not asked for");
        assert_eq!(found[0].protocol, Some(58));
        assert!(rules("").expect("parses").is_empty());
        assert!(rules("{").is_err());
    }

    #[test]
    fn routes_as_words() {
        let text = "2001:db8:f::1 dev aarp0 metric 1024 linkdown pref medium\n\
            2001:db8:f::1 via fe80::1 dev eth0 proto 9 metric 512 expires 60sec pref medium\n\
            unreachable 2001:db8:f::1 dev lo metric 2048 error -113 pref medium\n\
            2001:db8:f::1 proto 3 metric 4096 pref medium\n\
            \tnexthop via fe80::2 dev eth0 weight 1 \n\
            \tnexthop via fe80::3 dev eth1 weight 1 dead\n";
        let found = routes(text);
        assert_eq!(found.len(), 4);
        assert_eq!(
            found[0].join(" "),
            "2001:db8:f::1 dev aarp0 metric 1024 pref medium"
        );
        assert!(found[1].join(" ").ends_with("metric 512 pref medium"));
        assert!(
            found[3]
                .join(" ")
                .ends_with("nexthop via fe80::3 dev eth1 weight 1")
        );
        assert!(leads_into(&found[0], "aarp0"));
        assert!(!leads_into(&found[0], "aarp1"));
        assert!(!leads_into(&found[1], "eth0"));
        assert!(!leads_into(&found[2], "lo"), "it refuses");
        assert!(!leads_into(&found[3], "eth0"));
        assert_eq!(of_metric(found, 512).len(), 1);
    }

    #[test]
    fn routes_of_one_interface() {
        let text = "2001:db8:f::1 metric 1024 pref medium\n\
            2001:db8:a::/48 metric 512 pref medium\n\
            default metric 1024 pref medium\n\
            default via fe80::1 metric 1024 pref medium\n\
            unreachable 2001:db8:f::2 metric 1024 pref medium\n";
        let mut found = routes(text);
        found.retain(|route| leads_into(route, "aarp0"));
        assert_eq!(found.len(), 3);
        let ip = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
        assert_eq!(destination(&found[0]), Some((ip("2001:db8:f::1"), 128)));
        assert_eq!(destination(&found[1]), Some((ip("2001:db8:a::"), 48)));
        assert_eq!(metric(&found[1]), Some(512));
        assert_eq!(destination(&found[2]), Some((Ipv6Addr::UNSPECIFIED, 0)));
        assert_eq!((destination(&[]), metric(&[])), (None, None));
    }
}
