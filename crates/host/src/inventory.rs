//! The host's addresses and default route, as `ip -j` prints them.

use std::net::Ipv6Addr;

use serde::Deserialize;

use crate::HostError;
use crate::tool::Tool;

/// The route metric that marks an anycast address as put there by aarp-responder.
/// It is the one property of an address that can be chosen freely, is listed by
/// every iproute2, and lives and dies with the address: so that what a crash
/// left behind is told from what the operator configured without trusting a file.
pub const MARK_METRIC: u32 = 0x4141;

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// The length of its prefix.
    pub prefix_length: u8,
    /// The interface that has it.
    pub interface: String,
    /// The index of that.
    pub ifindex: u32,
    /// Whether that is the loopback interface.
    pub loopback: bool,
    /// Whether that is up.
    pub interface_up: bool,
    /// Its preferred lifetime is over (RFC 4862, section 5.5.4).
    pub deprecated: bool,
    /// It is changed from time to time (RFC 8981).
    pub temporary: bool,
    /// Tentative or failed duplicate address detection: not usable.
    pub tentative: bool,
    /// Learned (SLAAC, DHCP) instead of configured.
    pub dynamic: bool,
    /// The metric of the route that belongs to it.
    pub metric: Option<u32>,
}

impl HostAddress {
    /// Whether this is an anycast address that aarp-responder added.
    pub fn is_marked(&self) -> bool {
        self.loopback && self.prefix_length == 128 && self.metric == Some(MARK_METRIC)
    }
}

/// What the choice of U depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Every IPv6 address.
    pub addresses: Vec<HostAddress>,
    /// Every interface with its state, also those without an address.
    pub interfaces: Vec<(String, bool)>,
    /// The interface of the preferred default route.
    pub default_interface: Option<String>,
}

impl Inventory {
    /// Addresses, interfaces and the default route as they are now.
    ///
    /// # Errors
    /// [`HostError::Failed`] and [`HostError::Unreadable`].
    pub fn read(ip: &Tool) -> Result<Self, HostError> {
        let addresses = ip.run(&["-j", "addr", "show"], None)?;
        let routes = ip.run(&["-j", "-6", "route", "show", "default"], None)?;
        parse(&addresses, &routes).map_err(|source| HostError::Unreadable {
            command: "ip -j addr / route".to_owned(),
            source,
        })
    }

    /// The usable entry for `address`: configured, not tentative, its interface up.
    pub fn usable(&self, address: Ipv6Addr) -> Option<&HostAddress> {
        self.addresses
            .iter()
            .find(|a| a.address == address && !a.tentative && a.interface_up)
    }

    /// Whether `address` is configured at all.
    pub fn has(&self, address: Ipv6Addr) -> bool {
        self.addresses.iter().any(|a| a.address == address)
    }

    /// Whether `address` is there because aarp-responder added it.
    pub fn has_marked(&self, address: Ipv6Addr) -> bool {
        self.addresses
            .iter()
            .any(|a| a.address == address && a.is_marked())
    }

    /// Whether the interface exists (`None`: no) and is up.
    pub fn interface_up(&self, name: &str) -> Option<bool> {
        self.interfaces
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, up)| *up)
    }
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    ifindex: u32,
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    family: String,
    local: Option<String>,
    #[serde(default)]
    prefixlen: u8,
    #[serde(default)]
    deprecated: bool,
    #[serde(default)]
    temporary: bool,
    #[serde(default)]
    tentative: bool,
    #[serde(default)]
    dadfailed: bool,
    #[serde(default)]
    dynamic: bool,
    metric: Option<u32>,
}

#[derive(Deserialize)]
struct Route {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    dev: Option<String>,
    #[serde(default)]
    metric: u32,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    nexthops: Vec<NextHop>,
}

#[derive(Deserialize)]
struct NextHop {
    dev: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
}

/// Reads the output of `ip -j addr show` and `ip -j -6 route show default`.
///
/// # Errors
/// What of it is not JSON of that form.
pub fn parse(addresses: &str, routes: &str) -> Result<Inventory, serde_json::Error> {
    let mut inventory = Inventory::default();
    for link in parse_list::<Link>(addresses)? {
        // A filtered listing has an empty object for each link left out.
        if link.ifname.is_empty() {
            continue;
        }
        let has = |flag: &str| link.flags.iter().any(|f| f == flag);
        inventory.interfaces.push((link.ifname.clone(), has("UP")));
        for info in &link.addr_info {
            let Some(Ok(address)) = info.local.as_deref().map(str::parse::<Ipv6Addr>) else {
                continue;
            };
            if info.family != "inet6" {
                continue;
            }
            inventory.addresses.push(HostAddress {
                address,
                prefix_length: info.prefixlen,
                interface: link.ifname.clone(),
                ifindex: link.ifindex,
                loopback: has("LOOPBACK"),
                interface_up: has("UP"),
                deprecated: info.deprecated,
                temporary: info.temporary,
                tentative: info.tentative || info.dadfailed,
                dynamic: info.dynamic,
                metric: info.metric,
            });
        }
    }
    inventory.default_interface = default_interface(parse_list(routes)?);
    Ok(inventory)
}

/// `ip -j` prints nothing at all, instead of an empty list, in some versions.
fn parse_list<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>, serde_json::Error> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text)
}

fn default_interface(routes: Vec<Route>) -> Option<String> {
    let dead = |flags: &[String]| flags.iter().any(|f| f == "dead" || f == "linkdown");
    routes
        .into_iter()
        .filter(|r| matches!(r.kind.as_deref(), None | Some("unicast")) && !dead(&r.flags))
        .filter_map(|r| {
            let hop = r.nexthops.iter().find(|h| !dead(&h.flags));
            let dev = r.dev.clone().or_else(|| hop.and_then(|h| h.dev.clone()));
            dev.map(|dev| (r.metric, dev))
        })
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, dev)| dev)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: &str = r#"[{},{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],
      "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"},
        {"family":"inet6","local":"2001:db8:f::1","prefixlen":128,"metric":16705,"deprecated":true}]},
      {"ifindex":2,"ifname":"eth0","flags":["BROADCAST","UP"],"addr_info":[
        {"family":"inet6","local":"2001:db8::7","prefixlen":64,"tentative":true},
        {"family":"inet6","local":"2001:db8::8","prefixlen":64,"temporary":true,"dynamic":true}]},
      {"ifindex":3,"ifname":"eth1","flags":["BROADCAST"]}]"#;

    #[test]
    fn reads_addresses() {
        let inventory = parse(ADDRESSES, "").expect("parses");
        let a: Ipv6Addr = "2001:db8:f::1".parse().expect("an address");
        assert!(inventory.has_marked(a));
        assert_eq!(inventory.addresses.len(), 3);
        assert_eq!(inventory.interface_up("eth1"), Some(false));
        assert_eq!(inventory.interface_up("eth2"), None);
        let tentative: Ipv6Addr = "2001:db8::7".parse().expect("an address");
        assert!(inventory.has(tentative) && inventory.usable(tentative).is_none());
        assert!(inventory.addresses[2].temporary && inventory.addresses[2].dynamic);
    }

    #[test]
    fn preferred_default_route() {
        let routes = r#"[{"type":"unreachable","dst":"default","dev":"lo","metric":1},
          {"dst":"default","gateway":"fe80::1","dev":"eth1","metric":2048,"flags":[]},
          {"dst":"default","metric":1024,"nexthops":[{"dev":"eth9","flags":["linkdown"]},{"dev":"eth0","flags":[]}]}]"#;
        let inventory = parse("[]", routes).expect("parses");
        assert_eq!(inventory.default_interface.as_deref(), Some("eth0"));
        assert_eq!(parse("[]", "[]").expect("parses").default_interface, None);
    }
}
