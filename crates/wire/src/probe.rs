//! The payload of a probe, by any method: 32 octets.
//!
//! | octets | content |
//! |---|---|
//! | 0..4 | `AARP` |
//! | 4 | version, 1 |
//! | 5 | method: 1 echo, 2 unreach |
//! | 6..8 | reserved, zero |
//! | 8..24 | nonce, 128 random bits |
//! | 24..28 | number of the attempt, big-endian |
//! | 28..32 | reserved, zero |
//!
//! The first four octets are what a responder's packet filter looks for
//! (`@th,64,32 0x41415250`), so that only our own probes are answered from U.

use crate::Error;

/// What every payload begins with.
pub const MAGIC: [u8; 4] = *b"AARP";
/// The one version there is.
pub const VERSION: u8 = 1;
/// Octets of a payload.
pub const LEN: usize = 32;

/// 128 random bits that tie an answer to its question.
pub type Nonce = [u8; 16];

mod field {
    use core::ops::Range;
    pub(super) const MAGIC: Range<usize> = 0..4;
    pub(super) const VERSION: usize = 4;
    pub(super) const METHOD: usize = 5;
    pub(super) const RESERVED: Range<usize> = 6..8;
    pub(super) const NONCE: Range<usize> = 8..24;
    pub(super) const ATTEMPT: Range<usize> = 24..28;
    pub(super) const RESERVED_END: Range<usize> = 28..32;
}

/// How an anycast address is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// ICMPv6 echo.
    Echo = 1,
    /// UDP to a closed port; the answer is a port-unreachable.
    Unreach = 2,
}

impl Method {
    /// The name used in configuration, logs and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::Echo => "echo",
            Method::Unreach => "unreach",
        }
    }
}

/// A probe's payload in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// The method the probe was sent by.
    pub method: Method,
    /// The nonce of the question.
    pub nonce: Nonce,
    /// Which transmission of the question this is, from 0.
    pub attempt: u32,
}

impl Payload {
    /// Reads a payload. It must be exactly as [`Payload::emit`] writes it.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Length`] when something follows,
    /// [`Error::Magic`], [`Error::Version`], and [`Error::Value`] for an unknown
    /// method or reserved octets that are not zero.
    pub fn parse(octets: &[u8]) -> Result<Self, Error> {
        if octets.len() < LEN {
            return Err(Error::Truncated);
        }
        if octets.len() > LEN {
            return Err(Error::Length);
        }
        if octets[field::MAGIC] != MAGIC {
            return Err(Error::Magic);
        }
        if octets[field::VERSION] != VERSION {
            return Err(Error::Version);
        }
        let method = match octets[field::METHOD] {
            1 => Method::Echo,
            2 => Method::Unreach,
            _ => return Err(Error::Value),
        };
        if octets[field::RESERVED] != [0; 2] || octets[field::RESERVED_END] != [0; 4] {
            return Err(Error::Value);
        }
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&octets[field::NONCE]);
        let mut attempt = [0; 4];
        attempt.copy_from_slice(&octets[field::ATTEMPT]);
        Ok(Self {
            method,
            nonce,
            attempt: u32::from_be_bytes(attempt),
        })
    }

    /// The 32 octets.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut octets = [0; LEN];
        octets[field::MAGIC].copy_from_slice(&MAGIC);
        octets[field::VERSION] = VERSION;
        octets[field::METHOD] = self.method as u8;
        octets[field::NONCE].copy_from_slice(&self.nonce);
        octets[field::ATTEMPT].copy_from_slice(&self.attempt.to_be_bytes());
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_octets_are_as_documented() {
        let payload = Payload {
            method: Method::Unreach,
            nonce: [7; 16],
            attempt: 0x0102_0304,
        };
        let mut expected = [0; 32];
        expected[..8].copy_from_slice(&[0x41, 0x41, 0x52, 0x50, 1, 2, 0, 0]);
        expected[8..24].fill(7);
        expected[24..28].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(payload.emit(), expected);
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(echo: bool, nonce: [u8; 16], attempt: u32) {
            let method = if echo { Method::Echo } else { Method::Unreach };
            let payload = Payload { method, nonce, attempt };
            prop_assert_eq!(Payload::parse(&payload.emit()), Ok(payload));
        }

        #[test]
        fn one_octet_changed_is_never_the_same_payload(nonce: [u8; 16], attempt: u32, at in 0..LEN, by in 1..=255u8) {
            let payload = Payload { method: Method::Echo, nonce, attempt };
            let mut octets = payload.emit();
            octets[at] ^= by;
            prop_assert_ne!(Payload::parse(&octets), Ok(payload));
        }

        #[test]
        fn foreign_bytes_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(payload) = Payload::parse(&octets) {
                prop_assert_eq!(&payload.emit()[..], &octets[..]);
            }
        }
    }

    #[test]
    fn every_length_but_one_is_refused() {
        let octets = Payload {
            method: Method::Echo,
            nonce: [1; 16],
            attempt: 0,
        }
        .emit();
        let long = [octets.as_slice(), &[0]].concat();
        assert_eq!(Payload::parse(&long), Err(Error::Length));
        for len in 0..LEN {
            assert_eq!(Payload::parse(&octets[..len]), Err(Error::Truncated));
        }
    }
}
