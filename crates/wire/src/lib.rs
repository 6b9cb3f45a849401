//! Byte formats of AARP: IPv6 and its extension headers, ICMPv6 messages, the probe
//! payload, the messages of aarpd, Mobile IPv6, and of Linux the route messages of
//! netlink and the errors of a socket's queue.
//!
//! Nothing here does I/O, allocates, or panics on foreign bytes. A format has a
//! *view* (`…Packet`) that borrows the bytes and knows the field offsets, and a
//! *representation* (`…Repr`) that is parsed from a view and emitted into a
//! buffer; what can be constructed can be emitted.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod checksum;
pub mod errqueue;
pub mod icmpv6;
pub mod icmpv6_error;
pub mod ipv6;
pub mod mapper;
pub mod mobility;
pub mod probe;
pub mod route;
pub mod route_change;

use core::fmt;

/// Why bytes could not be read as the format in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Fewer octets than the format needs.
    Truncated,
    /// A length field that contradicts the octets there are.
    Length,
    /// Not the type of message asked for.
    Type,
    /// A code that the type does not define.
    Code,
    /// The checksum does not hold.
    Checksum,
    /// The magic of an AARP payload is missing.
    Magic,
    /// A version of the format that this code does not know.
    Version,
    /// A field with a value that the format does not define.
    Value,
    /// A header or an option in a place where it may not stand.
    Order,
    /// A header or an option that may stand there once only.
    Duplicate,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Truncated => "message is truncated",
            Error::Length => "length field contradicts the message",
            Error::Type => "message is of another type",
            Error::Code => "code is not defined for this type",
            Error::Checksum => "checksum is wrong",
            Error::Magic => "not an AARP payload",
            Error::Version => "unknown version",
            Error::Value => "field has an undefined value",
            Error::Order => "header or option is in the wrong place",
            Error::Duplicate => "header or option occurs twice",
        })
    }
}

impl core::error::Error for Error {}

/// The 16 bits at `at`, in network byte order.
fn be16(bytes: &[u8], at: usize) -> Result<u16, Error> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// The 32 bits at `at`, in network byte order.
fn be32(bytes: &[u8], at: usize) -> Result<u32, Error> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// The `N` octets at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    let rest = bytes.get(at..).ok_or(Error::Truncated)?;
    rest.first_chunk().copied().ok_or(Error::Truncated)
}
