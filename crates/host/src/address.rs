//! Which addresses can be an anycast address A or a unicast address U.

use std::net::Ipv6Addr;

/// The kinds of address that can be pinned: a client accepts U only when it is
/// of the same kind as A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Global unicast.
    Global,
    /// Unique local, fc00::/7 (RFC 4193).
    UniqueLocal,
}

impl Class {
    /// The word used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::UniqueLocal => "unique-local",
        }
    }
}

/// Classifies `address`, or says what else it is.
///
/// # Errors
/// What it is, in words that fit "is ...".
pub fn classify(address: Ipv6Addr) -> Result<Class, &'static str> {
    let first = address.segments()[0];
    if address.is_unspecified() {
        Err("the unspecified address")
    } else if address.is_loopback() {
        Err("the loopback address")
    } else if address.to_ipv4_mapped().is_some() {
        Err("an IPv4-mapped address")
    } else if address.is_multicast() {
        Err("a multicast address")
    } else if first & 0xffc0 == 0xfe80 {
        Err("a link-local address")
    } else if first & 0xffc0 == 0xfec0 {
        Err("a site-local address (deprecated by RFC 3879)")
    } else if first & 0xff00 == 0 {
        Err("in ::/8, which is not assigned to hosts")
    } else if first & 0xfe00 == 0xfc00 {
        Ok(Class::UniqueLocal)
    } else {
        Ok(Class::Global)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let class = |s: &str| classify(s.parse().expect("an address"));
        assert_eq!(class("2001:db8::1"), Ok(Class::Global));
        assert_eq!(class("fd00::1"), Ok(Class::UniqueLocal));
        assert_eq!(class("fc00::1"), Ok(Class::UniqueLocal));
        for (address, word) in [
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:192.0.2.1", "mapped"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("::192.0.2.1", "::/8"),
            ("64:ff9b::1", "::/8"),
        ] {
            let why = class(address).expect_err(address);
            assert!(why.contains(word), "{address}: {why}");
        }
    }
}
