//! What kind of IPv6 address it is, as far as AARP asks (RFC 4291 §2.4, RFC 4193).

use core::net::Ipv6Addr;

/// The kinds of addresses that decisions here tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Global unicast, and what may be anycast.
    Global,
    /// Unique local, fc00::/7 (RFC 4193).
    UniqueLocal,
    /// Link-local, fe80::/10; also the deprecated site-local fec0::/10.
    LinkLocal,
    /// `::1`.
    Loopback,
    /// `::`.
    Unspecified,
    /// ff00::/8.
    Multicast,
    /// An IPv4 address in IPv6 form: mapped, or the deprecated compatible form.
    V4,
}

/// Which kind `address` is.
//= https://www.rfc-editor.org/rfc/rfc4291#section-2.4
#[must_use]
pub fn scope(address: Ipv6Addr) -> Scope {
    let bits = u128::from(address);
    match bits {
        0 => Scope::Unspecified,
        1 => Scope::Loopback,
        _ if bits >> 120 == 0xff => Scope::Multicast,
        _ if bits >> 119 == 0xfe80 >> 7 => Scope::LinkLocal,
        _ if bits >> 121 == 0xfc >> 1 => Scope::UniqueLocal,
        _ if bits >> 32 == 0xffff || bits >> 32 == 0 => Scope::V4,
        _ => Scope::Global,
    }
}

/// Whether `address` can be an anycast address that is asked, or a unicast address
/// that answers: global or unique local.
#[must_use]
pub fn is_routable(address: Ipv6Addr) -> bool {
    matches!(scope(address), Scope::Global | Scope::UniqueLocal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        for (address, expected) in [
            ("::", Scope::Unspecified),
            ("::1", Scope::Loopback),
            ("::2", Scope::V4),
            ("::192.0.2.1", Scope::V4),
            ("::ffff:192.0.2.1", Scope::V4),
            ("64:ff9b::192.0.2.1", Scope::Global),
            ("2001:db8::1", Scope::Global),
            ("fbff:ffff::", Scope::Global),
            ("fc00::", Scope::UniqueLocal),
            ("fdff:ffff::1", Scope::UniqueLocal),
            ("fe00::1", Scope::Global),
            ("fe80::", Scope::LinkLocal),
            ("febf::1", Scope::LinkLocal),
            ("fec0::1", Scope::LinkLocal),
            ("feff::1", Scope::LinkLocal),
            ("ff00::", Scope::Multicast),
            ("ff02::1", Scope::Multicast),
        ] {
            assert_eq!(scope(address.parse().unwrap()), expected, "{address}");
        }
    }
}
