//! Where the authenticator of a message is, and what it covers.

use core::net::Ipv6Addr;

use super::option::{MobilityOption, OptionError, PADN, PlacedOption};
use super::{MobilityPacket, field, fill_checksum};
use crate::Error;

/// Octets of an authenticator: the first 96 bits of an HMAC-SHA1.
pub const AUTHENTICATOR: usize = 12;

/// By what a message is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Binding Authorization Data: a key from return routability.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.7
    ReturnRoutability,
    /// Mobility Message Authentication between mobile node and home agent.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
    MobileNodeHomeAgent {
        /// Names the key.
        spi: u32,
    },
}

/// The place of a message's authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticator {
    /// By what.
    pub method: Method,
    /// Where it begins, in octets from the begin of the Mobility Header; it covers all
    /// before, which ends with the SPI where the method has one.
    pub at: usize,
    /// Whether it stands at the end, as it must: [`Method::ReturnRoutability`] with
    /// nothing behind it, the other with nothing but padding.
    pub is_last: bool,
}

impl Authenticator {
    /// What of the Mobility Header is authenticated, in parts: the checksum counts as
    /// zero. Before them come the addresses: the care-of address, and that of the
    /// correspondent (RFC 6275 §6.2.7) or the home address (RFC 4285 §5.1).
    #[must_use]
    pub fn covered<'a>(&self, octets: &'a [u8]) -> [&'a [u8]; 3] {
        [
            octets.get(..field::CHECKSUM.start).unwrap_or(&[]),
            &[0, 0],
            octets.get(field::CHECKSUM.end..self.at).unwrap_or(&[]),
        ]
    }

    /// The authenticator in the Mobility Header in which it was found.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the octets are others.
    pub fn code<'a>(&self, octets: &'a [u8]) -> Result<&'a [u8; AUTHENTICATOR], Error> {
        let rest = octets.get(self.at..).ok_or(Error::Truncated)?;
        rest.first_chunk().ok_or(Error::Truncated)
    }

    /// The place of an option that authenticates; `None` for other options.
    pub(super) fn of(placed: &PlacedOption<'_>, octets: &[u8]) -> Option<Self> {
        let (method, at) = match placed.option {
            MobilityOption::AuthorizationData(_) => (Method::ReturnRoutability, placed.at + 2),
            MobilityOption::MessageAuthentication {
                subtype: 1, spi, ..
            } => (Method::MobileNodeHomeAgent { spi }, placed.at + 7),
            _ => return None,
        };
        let behind = octets.get(at + AUTHENTICATOR..).unwrap_or(&[]);
        Some(Self {
            method,
            at,
            is_last: match method {
                Method::ReturnRoutability => behind.is_empty(),
                Method::MobileNodeHomeAgent { .. } => is_padding(behind),
            },
        })
    }
}

/// Whether there is nothing but Pad1 and PadN.
fn is_padding(mut octets: &[u8]) -> bool {
    loop {
        octets = match *octets {
            [] => return true,
            [0, ref rest @ ..] => rest,
            [PADN, len, ref rest @ ..] => match rest.get(usize::from(len)..) {
                Some(rest) => rest,
                None => return false,
            },
            _ => return false,
        };
    }
}

impl MobilityPacket<'_> {
    /// The first authenticator of the message.
    ///
    /// # Errors
    /// [`OptionError`] when an option before it cannot be read.
    pub fn authenticator(&self) -> Result<Option<Authenticator>, OptionError> {
        for placed in self.options() {
            if let Some(found) = Authenticator::of(&placed?, self.octets()) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Writes an authenticator, and then the checksum, into a Mobility Header that was
/// emitted with another. The addresses are those for the checksum.
///
/// # Errors
/// [`Error::Truncated`] when the octets are not those in which the place was found.
pub fn seal(
    octets: &mut [u8],
    place: &Authenticator,
    code: &[u8; AUTHENTICATOR],
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<(), Error> {
    octets
        .get_mut(place.at..)
        .and_then(|rest| rest.first_chunk_mut::<AUTHENTICATOR>())
        .ok_or(Error::Truncated)?
        .copy_from_slice(code);
    fill_checksum(source, destination, octets)
}
