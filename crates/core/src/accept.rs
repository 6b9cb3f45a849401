//! Whose answer counts: what the address must be that a program is moved to.

use core::fmt;
use core::net::Ipv6Addr;

use aarp_wire::route::{RouteRepr, RouteType};

use crate::address::{is_routable, scope};
use crate::policy::trusts;
use crate::settings::Settings;

/// Why an address that answered is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Multicast, loopback, link-local, unspecified, or IPv4 in IPv6 form.
    NotUnicast,
    /// A is global and U unique local, or the reverse.
    OtherScope,
    /// An address of this host.
    Own,
    /// There is no route to it.
    NoRoute,
    /// It is on this host's own link, and A is not: nobody may steer a program to the
    /// inside of its network.
    OnLink,
    /// It is on a route more specific than default, and A is not: for the same reason.
    MoreSpecific,
    /// It is outside `trusted`.
    NotTrusted,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotUnicast => "not a unicast address that can be routed",
            Refusal::OtherScope => "one is global and the other unique local",
            Refusal::Own => "an address of this host",
            Refusal::NoRoute => "there is no route to it",
            Refusal::OnLink => "on this host's own link, and the anycast address is not",
            Refusal::MoreSpecific => {
                "on a more specific route than default, and the anycast address is not"
            }
            Refusal::NotTrusted => "outside `trusted`",
        })
    }
}

/// What an answer from `u` to a question about `a` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The program is moved to U.
    Pinned,
    /// The answer came from A itself: unicast, or cannot be pinned.
    Direct,
    /// The answer is ignored.
    Refused(Refusal),
}

/// The first half of the judgement, which needs no route: `None` when the routes
/// decide.
#[must_use]
pub fn judge_address(settings: &Settings, a: Ipv6Addr, u: Ipv6Addr) -> Option<Verdict> {
    if u == a {
        return Some(Verdict::Direct);
    }
    let refusal = if !is_routable(u) {
        Refusal::NotUnicast
    } else if scope(u) != scope(a) {
        Refusal::OtherScope
    } else if !trusts(settings, a, u) {
        Refusal::NotTrusted
    } else {
        return None;
    };
    Some(Verdict::Refused(refusal))
}

/// Whether U may be used, by the routes to both addresses; `None` is no route.
#[must_use]
pub fn judge_routes(
    settings: &Settings,
    to_a: Option<RouteRepr>,
    to_u: Option<RouteRepr>,
) -> Verdict {
    let (Some(to_a), Some(to_u)) = (to_a, to_u) else {
        return Verdict::Refused(Refusal::NoRoute);
    };
    match to_u.route_type {
        RouteType::Unicast => {}
        RouteType::Local if settings.include_local => return Verdict::Pinned,
        RouteType::Local | RouteType::Anycast => return Verdict::Refused(Refusal::Own),
        RouteType::Multicast | RouteType::Refusing => return Verdict::Refused(Refusal::NoRoute),
    }
    if is_on_link(to_u) && !is_on_link(to_a) {
        return Verdict::Refused(Refusal::OnLink);
    }
    if !is_default(to_u) && is_default(to_a) {
        return Verdict::Refused(Refusal::MoreSpecific);
    }
    Verdict::Pinned
}

/// The default route, or one of the few that stand in for it together: `::/1` and
/// `8000::/1` of VPNs, or `2000::/3`, all of global unicast.
fn is_default(route: RouteRepr) -> bool {
    route.prefix_len <= 3
}

/// Neighbours, as opposed to what is behind a router or a point-to-point default
/// route.
fn is_on_link(route: RouteRepr) -> bool {
    !route.gateway && !is_default(route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Key, read_variable};
    use crate::settings::Layer;

    fn address(a: &str, u: &str) -> Option<Verdict> {
        judge_address(&Settings::DEFAULT, a.parse().unwrap(), u.parse().unwrap())
    }

    #[test]
    fn addresses() {
        let refused = |refusal| Some(Verdict::Refused(refusal));
        let a = "2001:db8:a::53";
        assert_eq!(address(a, a), Some(Verdict::Direct));
        assert_eq!(address(a, "2001:db8:1::1"), None);
        for u in ["ff02::1", "::1", "::", "fe80::1", "::ffff:192.0.2.1"] {
            assert_eq!(address(a, u), refused(Refusal::NotUnicast), "{u}");
        }
        assert_eq!(address(a, "fd00::1"), refused(Refusal::OtherScope));
        assert_eq!(address("fd00::1", a), refused(Refusal::OtherScope));
        assert_eq!(address("fd00::1", "fd01::1"), None);
        let mut settings = Settings::DEFAULT;
        let list = "2001:db8:1::/48";
        read_variable(&mut settings, Layer::Environment, Key::Trusted, list).unwrap();
        let judged = |u: &str| judge_address(&settings, a.parse().unwrap(), u.parse().unwrap());
        assert_eq!(judged("2001:db8:1::1"), None);
        assert_eq!(judged("2001:db8:2::1"), refused(Refusal::NotTrusted));
    }

    #[test]
    fn routes() {
        let route = |route_type, prefix_len, gateway| {
            Some(RouteRepr {
                route_type,
                prefix_len,
                gateway,
            })
        };
        let default = route(RouteType::Unicast, 0, true);
        let tunnel = route(RouteType::Unicast, 0, false);
        let specific = route(RouteType::Unicast, 48, true);
        let link = route(RouteType::Unicast, 64, false);
        let own = route(RouteType::Local, 128, false);
        let vpn = route(RouteType::Unicast, 1, false);
        let judged = |a, u| judge_routes(&Settings::DEFAULT, a, u);
        for (a, u) in [
            (default, default),
            (tunnel, tunnel),
            (specific, default),
            (specific, specific),
            (link, link),
            (link, specific),
            (link, default),
            (vpn, vpn),
            (vpn, default),
            (default, vpn),
        ] {
            assert_eq!(judged(a, u), Verdict::Pinned, "{a:?} {u:?}");
        }
        // On the link it is, however specific the route is.
        let host = route(RouteType::Unicast, 128, true);
        for (a, u, refusal) in [
            (default, specific, Refusal::MoreSpecific),
            (default, link, Refusal::OnLink),
            (specific, link, Refusal::OnLink),
            (host, link, Refusal::OnLink),
            (tunnel, link, Refusal::OnLink),
            (vpn, specific, Refusal::MoreSpecific),
        ] {
            assert_eq!(judged(a, u), Verdict::Refused(refusal), "{a:?} {u:?}");
        }
        assert_ne!(
            Refusal::OnLink.to_string(),
            Refusal::MoreSpecific.to_string()
        );
        assert_eq!(judged(default, own), Verdict::Refused(Refusal::Own));
        let anycast = route(RouteType::Anycast, 128, false);
        assert_eq!(judged(default, anycast), Verdict::Refused(Refusal::Own));
        for u in [None, route(RouteType::Refusing, 32, false)] {
            assert_eq!(judged(default, u), Verdict::Refused(Refusal::NoRoute));
        }
        assert_eq!(judged(None, default), Verdict::Refused(Refusal::NoRoute));
        let local = Settings {
            include_local: true,
            ..Settings::DEFAULT
        };
        assert_eq!(judge_routes(&local, own, own), Verdict::Pinned);
    }
}
