//! Byte formats of AARP: ICMPv6 messages, the probe payload, Mobile IPv6, and of Linux the route
//! messages of netlink and the errors of a socket's queue.
//!
//! Nothing here does I/O, allocates, or panics on foreign bytes. A format has a
//! *view* (`…Packet`) that borrows the bytes and knows the field offsets, and a
//! *representation* (`…Repr`) that is parsed from a view and emitted into a
//! buffer; what can be constructed can be emitted.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod errqueue;
pub mod icmpv6;
pub mod mobility;
pub mod probe;
pub mod route;

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
    /// A version that this code does not know.
    Version,
    /// A field with a value that the format does not define.
    Value,
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
            Error::Version => "unknown version of the AARP payload",
            Error::Value => "field has an undefined value",
        })
    }
}

impl core::error::Error for Error {}

/// The 16 bits at `at`, in network byte order.
fn be16(bytes: &[u8], at: usize) -> Result<u16, Error> {
    let two = bytes.get(at..at + 2).ok_or(Error::Truncated)?;
    Ok(u16::from_be_bytes([two[0], two[1]]))
}
