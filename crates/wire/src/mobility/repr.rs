//! Messages that are sent.

use super::message::Message;
use super::option::{MobilityOption, PAD1, PADN};
use super::{LEN_MAX, field, fill_checksum};
use crate::Error;
use crate::ipv6::{Datagram, protocol};

/// A message with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MobilityRepr<'a> {
    /// The message.
    pub message: Message,
    /// Its options, in their order; padding is put between them as they need it.
    pub options: &'a [MobilityOption<'a>],
}

impl MobilityRepr<'_> {
    /// Octets that [`MobilityRepr::emit`] writes, a multiple of eight.
    ///
    /// # Errors
    /// [`Error::Length`] when the Mobility Header would be longer than [`LEN_MAX`] or an
    /// option longer than its length field can tell; [`Error::Order`] when something
    /// follows an option that has to be the last.
    #[inline]
    pub fn buffer_len(&self) -> Result<usize, Error> {
        let mut at = self.message.options_at();
        for (number, option) in self.options.iter().enumerate() {
            let is_last = number + 1 == self.options.len();
            if option.is_last() && !is_last {
                return Err(Error::Order);
            }
            if option.buffer_len() > 2 + 255 {
                return Err(Error::Length);
            }
            at = begin(at, option, is_last) + option.buffer_len();
        }
        match at.next_multiple_of(8) {
            len if len <= LEN_MAX => Ok(len),
            _ => Err(Error::Length),
        }
    }

    /// Writes the Mobility Header with a checksum of zero and returns its octets.
    ///
    /// # Errors
    /// Those of [`MobilityRepr::buffer_len`]; [`Error::Truncated`] when the buffer is
    /// smaller than that; [`Error::Length`] for an authenticator between mobile node
    /// and home agent that has not 12 octets; [`Error::Value`] for a priority of a
    /// Binding Identifier of more than 7 bits.
    #[inline]
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b mut [u8], Error> {
        let len = self.buffer_len()?;
        let octets = buffer.get_mut(..len).ok_or(Error::Truncated)?;
        octets[field::PAYLOAD_PROTO] = protocol::NONE;
        // At most 255, as `len` is at most LEN_MAX.
        octets[field::HEADER_LEN] = (len / 8 - 1) as u8;
        octets[field::TYPE] = self.message.mh_type();
        octets[field::RESERVED] = 0;
        octets[field::CHECKSUM].fill(0);
        self.message.emit(octets);
        let mut at = self.message.options_at();
        for (number, option) in self.options.iter().enumerate() {
            let start = begin(at, option, number + 1 == self.options.len());
            pad(&mut octets[at..start]);
            at = start + option.buffer_len();
            option.emit(&mut octets[start..at])?;
        }
        pad(&mut octets[at..]);
        Ok(octets)
    }

    /// Writes a whole packet, with the headers before the Mobility Header and the right
    /// checksum, and returns its octets. The Mobility Header begins behind
    /// [`Datagram::headers_len`] octets.
    ///
    /// # Errors
    /// Those of [`MobilityRepr::emit`] and of [`Datagram::emit`].
    #[inline]
    pub fn emit_packet<'b>(
        &self,
        datagram: &Datagram,
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], Error> {
        let len = self.buffer_len()?;
        let room = datagram.emit(protocol::MOBILITY, len, buffer)?;
        let octets = self.emit(room)?;
        fill_checksum(
            datagram.checksum_source(),
            datagram.checksum_destination(),
            octets,
        )?;
        buffer
            .get_mut(..datagram.headers_len() + len)
            .ok_or(Error::Truncated)
    }
}

/// Where an option begins when `at` is the end of what is before it.
#[inline]
fn begin(at: usize, option: &MobilityOption<'_>, is_last: bool) -> usize {
    let (unit, rest) = option.alignment();
    let mut start = at + (unit + rest - at % unit) % unit;
    // An authenticator leaves the padding to the front, where it covers it.
    if is_last && option.is_last() {
        while !(start + option.buffer_len()).is_multiple_of(8) {
            start += unit;
            // Not for lengths that no place satisfies.
            if start >= at + 16 {
                break;
            }
        }
    }
    start
}

/// Fills octets with one padding option (RFC 6275 §6.2.2 and §6.2.3).
#[inline]
fn pad(octets: &mut [u8]) {
    octets.fill(0);
    match octets {
        [] => {}
        [one] => *one = PAD1,
        [kind, len, data @ ..] => {
            *kind = PADN;
            // Between options fewer than 16.
            *len = data.len() as u8;
        }
    }
}
