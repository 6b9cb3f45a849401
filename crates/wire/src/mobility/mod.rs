//! The Mobility Header of Mobile IPv6 (RFC 6275 §6.1), its messages and options.
//!
//! Received: [`MobilityPacket::receive`] makes the checks of RFC 6275 §9.2 and says with
//! what a message that fails is answered ([`Refusal`]); [`MobilityPacket::message`] and
//! [`MobilityPacket::options`] read what is in it, or [`BindingOptions`] all options at
//! once; [`MobilityPacket::authenticator`] tells what a message authentication code
//! covers. Sent: [`MobilityRepr::emit_packet`], then [`seal`] with the code.

mod authenticator;
mod binding_options;
mod flags;
mod message;
mod option;
mod packet;
mod repr;
mod status;

pub use authenticator::{AUTHENTICATOR, Authenticator, Method, seal};
pub use binding_options::BindingOptions;
pub use flags::{AcknowledgementFlags, ErrorStatus, RevocationFlags, RevocationTrigger};
pub use message::Message;
pub use option::{
    BindingIdentifier, CareOf, MobilityOption, OptionError, Options, PlacedOption, RawOption,
    RawOptions,
};
pub use packet::{Answer, MobilityPacket, Refusal, fill_checksum};
pub use repr::MobilityRepr;
pub use status::{Status, UpdateFlags};

/// Octets of the longest Mobility Header that its length field can tell.
pub const LEN_MAX: usize = 2048;

mod field {
    use core::ops::Range;
    pub(super) const PAYLOAD_PROTO: usize = 0;
    pub(super) const HEADER_LEN: usize = 1;
    pub(super) const TYPE: usize = 2;
    pub(super) const RESERVED: usize = 3;
    pub(super) const CHECKSUM: Range<usize> = 4..6;
    /// Where the data of the message begin.
    pub(super) const DATA: usize = 6;
}

#[cfg(test)]
mod tests;
