//! Flags and values of the messages other than the Binding Update.

/// Flags of a Binding Acknowledgement, the eight bits as on the wire.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.8
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AcknowledgementFlags(pub u8);

impl AcknowledgementFlags {
    /// K: key management survives movements.
    pub const KEY_MANAGEMENT: Self = Self(0x80);
    /// R: the home agent serves mobile routers (RFC 3963 §4.2).
    pub const MOBILE_ROUTER: Self = Self(0x40);
    /// P: the home agent serves mobile access gateways (RFC 5213 §8.2).
    pub const PROXY: Self = Self(0x20);

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

/// Flags of binding revocation messages, the 16 bits as on the wire.
//= https://www.rfc-editor.org/rfc/rfc5846#section-5.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RevocationFlags(pub u16);

impl RevocationFlags {
    /// P: a binding of proxy mobile IPv6.
    pub const PROXY: Self = Self(0x8000);
    /// V: the binding is one of IPv4.
    pub const IPV4: Self = Self(0x4000);
    /// G: all bindings of the kind.
    pub const GLOBAL: Self = Self(0x2000);

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

/// Why a binding is revoked.
//= https://www.rfc-editor.org/rfc/rfc5846#section-5.1
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RevocationTrigger(pub u8);

impl RevocationTrigger {
    /// No reason is told.
    pub const UNSPECIFIED: Self = Self(0);
    /// An administrator's decision.
    pub const ADMINISTRATIVE: Self = Self(1);
}

/// Status of a Binding Error.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.9
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorStatus(pub u8);

impl ErrorStatus {
    /// A Home Address option for which there is no binding.
    pub const UNKNOWN_BINDING: Self = Self(1);
    /// A Mobility Header of a type that is not known.
    pub const UNRECOGNISED_TYPE: Self = Self(2);
}
