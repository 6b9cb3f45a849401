//! Whether what the anycast addresses send and receive takes the sidecar's path: a rule
//! before ours, a route beside ours or a filter may lead it elsewhere, or nowhere.

use std::net::Ipv6Addr;

use aarp_host::HostError;
use aarp_host::tool::Tool;

/// An initiator that nobody is, for the kernel to say what would become of its packets:
/// global unicast, and assigned to nobody. Nothing is sent to it.
const INITIATOR: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1);

/// Where the sidecar's packets are led.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lead<'p> {
    pub(crate) device: &'p str,
    pub(crate) table: u32,
    pub(crate) priority: u32,
}

/// What others have that leads elsewhere, looked for once for all addresses.
#[derive(Debug)]
pub(crate) enum Others {
    /// Nothing.
    None,
    /// A route in the sidecar's table.
    Route(String),
    /// Routing rules before the sidecar's: what they do depends on the address.
    Rules,
}

impl Lead<'_> {
    /// Looks what others have.
    pub(crate) fn others(&self, ip: &Tool) -> Result<Others, HostError> {
        let table = self.table.to_string();
        let routes = ip.run(&["-6", "route", "show", "table", &table], None)?;
        if let Some(route) = foreign(&routes, self.device) {
            return Ok(Others::Route(route.to_owned()));
        }
        let rules = ip.run(&["-6", "rule", "show"], None)?;
        Ok(match has_earlier(&rules, self.priority) {
            true => Others::Rules,
            false => Others::None,
        })
    }

    /// What of it leads the packets of an address elsewhere, in words, with what to do
    /// about it. `protocol` is the one that is led, if not all are.
    pub(crate) fn diverted(
        &self,
        ip: &Tool,
        others: &Others,
        anycast: Ipv6Addr,
        protocol: Option<u8>,
    ) -> Result<Option<String>, HostError> {
        let Self {
            device,
            table,
            priority,
        } = *self;
        match others {
            Others::None => return Ok(None),
            Others::Route(route) => {
                return Ok(Some(format!(
                    "what {anycast} sends may not take the tunnel: the table of routes {table} has a route of somebody else's, \"{route}\": ip -6 route del {route} table {table}"
                )));
            }
            Others::Rules => {}
        }
        let [from, to] = [anycast, INITIATOR].map(|address| address.to_string());
        let protocol = protocol.map(|number| number.to_string());
        let mut get = vec!["-6", "route", "get", &to, "from", &from];
        if let Some(protocol) = &protocol {
            get.extend(["ipproto", protocol]);
        }
        let way = match ip.run(&get, None) {
            Ok(route) => interface(&route).map_or("no interface".to_owned(), str::to_owned),
            // There is a route that says so.
            Err(HostError::Failed { reason, .. }) => reason,
            Err(error) => return Err(error),
        };
        Ok((way != device).then(|| {
            format!(
                "what {anycast} sends does not take the tunnel, but {way}: a routing rule before {priority} leads it elsewhere (ip -6 rule); give that one a number above {priority}, or except what is from {anycast}"
            )
        }))
    }
}

/// Whether there are rules between that of local addresses and `priority`.
fn has_earlier(rules: &str, priority: u32) -> bool {
    let numbers = rules.lines().filter_map(|rule| rule.split(':').next());
    let mut numbers = numbers.filter_map(|number| number.trim().parse::<u32>().ok());
    numbers.any(|number| 0 < number && number < priority)
}

/// A route of the table that leads not into the device.
fn foreign<'t>(routes: &'t str, device: &str) -> Option<&'t str> {
    let mut routes = routes
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    routes.find(|route| interface(route) != Some(device))
}

/// The interface of a route.
fn interface(route: &str) -> Option<&str> {
    let mut words = route.split_whitespace();
    words.find(|word| *word == "dev")?;
    words.next()
}

/// The rule of nft that drops what comes by an interface but would not be sent by it,
/// unless one before it lets pass what comes by `device`. Such a rule drops what comes by
/// the tunnel and is answered straight.
pub(crate) fn reverse_path_rule<'t>(ruleset: &'t str, device: &str) -> Option<&'t str> {
    let by_device = format!("\"{device}\"");
    let mut excepted = false;
    for line in ruleset.lines().map(str::trim) {
        if line.starts_with("chain ") {
            excepted = false;
        }
        let has = |words: &str| line.contains(words);
        let is_of_sources = has("fib saddr") && has("iif") && has("oif");
        // As nft prints those of ip6tables.
        let is_check = is_of_sources && (has("missing") || has("oif 0") || has("oif exists"))
            || has("rpfilter");
        if has(&by_device) && (has("accept") || has("return")) {
            excepted = true;
        } else if is_check && !has(&by_device) && !excepted {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_others_are_found() {
        let own = "default dev aarp-binding metric 1024 pref medium\n";
        assert_eq!(foreign(own, "aarp-binding"), None);
        assert_eq!(foreign("", "aarp-binding"), None);
        for other in [
            "default via 2001:db8::1 dev eth0 metric 100 pref medium",
            "2001:db8:2::/64 dev eth0 metric 1024 pref medium",
            "unreachable default dev lo metric 1 pref medium",
            "default metric 1 pref medium",
        ] {
            let both = format!("{other}\n{own}");
            assert_eq!(foreign(&both, "aarp-binding"), Some(other));
        }
    }

    #[test]
    fn rules_before_ours_are_found() {
        let own = "0:\tfrom all lookup local\n5270:\tfrom 2001:db8::a lookup 43632\n32766:\tfrom all lookup main\n";
        assert!(!has_earlier(own, 5270));
        assert!(!has_earlier("", 5270));
        assert!(has_earlier(
            &format!("{own}5269:\tnot from all fwmark 0xca6c lookup 51820\n"),
            5270
        ));
        let vrf = "1000:\tfrom all lookup [l3mdev-table]\n";
        assert!(has_earlier(&format!("{vrf}{own}"), 5270));
    }

    #[test]
    fn checks_of_reverse_paths_are_found() {
        let chain = |rules: &str| {
            format!(
                "table inet fw {{\n\tchain pre {{\n\t\ttype filter hook prerouting priority raw + 10; policy accept;\n{rules}\n\t}}\n}}\n"
            )
        };
        let find = |rules: &str| {
            let text = chain(rules);
            reverse_path_rule(&text, "aarp-binding").map(str::to_owned)
        };
        for rule in [
            "meta nfproto ipv6 fib saddr . mark . iif oif missing drop",
            "fib saddr . iif oif missing counter packets 3 bytes 312 drop",
            "iifname \"eth0\" fib saddr . iif oif 0 drop",
            "fib saddr . iif oif exists accept",
            "xt match \"rpfilter\" counter packets 0 bytes 0 drop",
        ] {
            assert_eq!(find(&format!("\t\t{rule}")).as_deref(), Some(rule));
            let before = format!("\t\tiifname \"aarp-binding\" accept\n\t\t{rule}");
            assert_eq!(find(&before), None);
            // Behind it, or in another chain, it is of no use.
            let behind = format!("\t\t{rule}\n\t\tiifname \"aarp-binding\" accept");
            assert_eq!(find(&behind).as_deref(), Some(rule));
            let other = "\t\tiifname \"aarp-binding\" accept\n\t}\n\tchain other {\n";
            assert_eq!(find(&format!("{other}\t\t{rule}")).as_deref(), Some(rule));
        }
        for rule in [
            "fib daddr type local accept",
            "fib saddr type local drop",
            "tcp dport 80 accept",
            "iifname != \"aarp-binding\" fib saddr . iif oif missing drop",
        ] {
            assert_eq!(find(rule), None, "{rule}");
        }
    }
}
