//! Status values and flags of Mobile IPv6 binding messages.

use core::fmt;

/// Status of a Binding Acknowledgement.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.8
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u8);

/// Defines the constants and their names together.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The words of the registry for this value.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    0..=127 => "accepted",
                    _ => "rejected",
                }
            }
        }
    };
}

statuses! {
    /// Binding Update accepted (RFC 6275 §6.1.8).
    ACCEPTED = 0, "accepted";
    /// Accepted, but prefix discovery is necessary (RFC 6275 §6.1.8).
    PREFIX_DISCOVERY = 1, "accepted but prefix discovery necessary";
    /// MCOA not complete (RFC 5648 §4.2).
    MCOA_NOTCOMPLETE = 4, "multiple care-of addresses not complete";
    /// MCOA returned home without neighbour discovery (RFC 5648 §4.2).
    MCOA_RETURNHOME_WO_NDP = 5, "returned home without neighbour discovery";
    /// Reason unspecified (RFC 6275 §6.1.8).
    UNSPECIFIED = 128, "reason unspecified";
    /// Administratively prohibited (RFC 6275 §6.1.8).
    PROHIBITED = 129, "administratively prohibited";
    /// Insufficient resources (RFC 6275 §6.1.8).
    RESOURCES = 130, "insufficient resources";
    /// Home registration not supported (RFC 6275 §6.1.8).
    HOME_REGISTRATION_NOT_SUPPORTED = 131, "home registration not supported";
    /// Not home subnet (RFC 6275 §6.1.8).
    NOT_HOME_SUBNET = 132, "not home subnet";
    /// Not home agent for this mobile node (RFC 6275 §6.1.8).
    NOT_HOME_AGENT = 133, "not home agent for this mobile node";
    /// Duplicate address detection failed (RFC 6275 §6.1.8).
    DUPLICATE_ADDRESS = 134, "duplicate address detection failed";
    /// Sequence number out of window (RFC 6275 §6.1.8).
    SEQUENCE_OUT_OF_WINDOW = 135, "sequence number out of window";
    /// Expired home nonce index (RFC 6275 §6.1.8).
    EXPIRED_HOME_NONCE = 136, "expired home nonce index";
    /// Expired care-of nonce index (RFC 6275 §6.1.8).
    EXPIRED_CARE_OF_NONCE = 137, "expired care-of nonce index";
    /// Expired nonces (RFC 6275 §6.1.8).
    EXPIRED_NONCES = 138, "expired nonces";
    /// Registration type change disallowed (RFC 6275 §6.1.8).
    TYPE_CHANGE = 139, "registration type change disallowed";
    /// Message identification mismatch (RFC 4285 §6).
    ID_MISMATCH = 144, "message identification mismatch";
    /// Message identification required (RFC 4285 §6).
    ID_REQUIRED = 145, "message identification required";
    /// Authentication failed (RFC 4285 §5).
    AUTHENTICATION_FAILED = 146, "authentication failed";
    /// Malformed Binding Identifier option (RFC 5648 §4.2).
    MCOA_MALFORMED = 164, "malformed binding identifier";
    /// A binding without an identifier exists (RFC 5648 §4.2).
    MCOA_NON_MCOA_BINDING_EXISTS = 165, "binding without identifier exists";
    /// Multiple care-of addresses prohibited (RFC 5648 §4.2).
    MCOA_PROHIBITED = 166, "multiple care-of addresses prohibited";
    /// Unknown care-of address (RFC 5648 §4.2).
    MCOA_UNKNOWN_COA = 167, "unknown care-of address";
    /// Bulk registration prohibited (RFC 5648 §4.2).
    MCOA_BULK_PROHIBITED = 168, "bulk registration prohibited";
    /// Simultaneous home and foreign binding prohibited (RFC 5648 §4.2).
    MCOA_SIMULTANEOUS_PROHIBITED = 169, "simultaneous home and foreign binding prohibited";
    /// Invalid care-of address (RFC 6275 §6.1.8).
    INVALID_CARE_OF = 174, "invalid care-of address";
}

impl Status {
    /// Whether the Binding Update was accepted: values below 128
    /// (RFC 6275 §6.1.8).
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        self.0 < 128
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.text())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Flags of a Binding Update, the 16 bits as on the wire.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.7
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpdateFlags(pub u16);

impl UpdateFlags {
    /// A: a Binding Acknowledgement is asked for.
    pub const ACKNOWLEDGE: Self = Self(0x8000);
    /// H: the receiver is to be the home agent.
    pub const HOME_REGISTRATION: Self = Self(0x4000);
    /// L: the home address has the interface identifier of the link-local one.
    pub const LINK_LOCAL: Self = Self(0x2000);
    /// K: key management survives movements.
    pub const KEY_MANAGEMENT: Self = Self(0x1000);
    /// M: the receiver is to be the mobility anchor point (RFC 5380 §4.2).
    pub const MOBILITY_ANCHOR: Self = Self(0x0800);
    /// R: the sender is a mobile router (RFC 3963 §4.1).
    pub const MOBILE_ROUTER: Self = Self(0x0400);
    /// P: the sender is a mobile access gateway (RFC 5213 §8.1).
    pub const PROXY: Self = Self(0x0200);
    /// F: UDP encapsulation is forced (RFC 5555 §4.1).
    pub const FORCE_UDP: Self = Self(0x0100);
    /// T: a header tells the type of what is tunnelled (RFC 5845 §3.1).
    pub const TLV_TUNNEL: Self = Self(0x0080);
    /// O: all other bindings of the home address are removed (RFC 5648 §4.2).
    pub const OVERWRITE: Self = Self(0x0040);

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_below_128_are_acceptances() {
        assert!(Status(127).is_accepted());
        assert!(!Status(128).is_accepted());
        assert_eq!(Status(77).text(), "accepted");
        assert_eq!(Status(200).text(), "rejected");
        assert_eq!(
            Status::SEQUENCE_OUT_OF_WINDOW.to_string(),
            "135 (sequence number out of window)"
        );
    }

    #[test]
    fn flags_are_sets() {
        let both = UpdateFlags::ACKNOWLEDGE.union(UpdateFlags::HOME_REGISTRATION);
        assert_eq!(both, UpdateFlags(0xc000));
        assert!(both.contains(UpdateFlags::ACKNOWLEDGE));
        assert!(!UpdateFlags::ACKNOWLEDGE.contains(both));
    }
}
