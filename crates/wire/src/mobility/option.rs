//! The mobility options (RFC 6275 §6.2).

use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU16;

use super::Status;
use crate::{Error, array, be16, be32};

pub(super) const PAD1: u8 = 0;
pub(super) const PADN: u8 = 1;
const REFRESH_ADVICE: u8 = 2;
const ALTERNATE_CARE_OF: u8 = 3;
const NONCE_INDICES: u8 = 4;
const AUTHORIZATION_DATA: u8 = 5;
const NODE_IDENTIFIER: u8 = 8;
const MESSAGE_AUTHENTICATION: u8 = 9;
const MESSAGE_IDENTIFICATION: u8 = 10;
const BINDING_IDENTIFIER: u8 = 35;

/// The bit of a Binding Identifier that is not its priority.
const AT_HOME: u8 = 0x80;

/// An option in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MobilityOption<'a> {
    /// Binding Refresh Advice: when the home agent wants to hear of the mobile node
    /// again, in units of four seconds.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.4
    RefreshAdvice {
        /// Refresh interval.
        interval: u16,
    },
    /// Alternate Care-of Address.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.5
    AlternateCareOf(Ipv6Addr),
    /// Nonce Indices.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.6
    NonceIndices {
        /// Home nonce index.
        home: u16,
        /// Care-of nonce index.
        care_of: u16,
    },
    /// Binding Authorization Data.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.7
    AuthorizationData([u8; 12]),
    /// Mobile Node Identifier.
    //= https://www.rfc-editor.org/rfc/rfc4283#section-3
    NodeIdentifier {
        /// 1 is a Network Access Identifier.
        subtype: u8,
        /// At most 254 octets.
        identifier: &'a [u8],
    },
    /// Mobility Message Authentication.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-5
    MessageAuthentication {
        /// 1 is between mobile node and home agent, and then the code has 12 octets;
        /// 2 is between mobile node and its home network's AAA.
        subtype: u8,
        /// Mobility security parameter index.
        spi: u32,
        /// Message authentication code, at most 250 octets.
        code: &'a [u8],
    },
    /// Mobility message replay protection: an NTP timestamp.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-6
    MessageIdentification {
        /// Seconds since 1900 in the upper 32 bits, fractions in the lower.
        timestamp: u64,
    },
    /// Binding Identifier.
    //= https://www.rfc-editor.org/rfc/rfc5648#section-4.1
    BindingIdentifier(BindingIdentifier),
}

/// A Binding Identifier option in parts.
//= https://www.rfc-editor.org/rfc/rfc5648#section-4.1
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingIdentifier {
    /// Which of a mobile node's bindings; 0 is reserved.
    pub bid: NonZeroU16,
    /// In a Binding Acknowledgement, what of this binding.
    pub status: Status,
    /// H: bindings at home and away are wanted at a time.
    pub at_home: bool,
    /// 7 bits: lower is preferred, 0 where the sender knows no priorities.
    //= https://www.rfc-editor.org/rfc/rfc6089#section-4.1
    pub priority: u8,
    /// The care-of address of this binding.
    pub care_of: Option<CareOf>,
}

/// A care-of address in a Binding Identifier option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CareOf {
    /// Of IPv4 (dual-stack mobile nodes).
    V4(Ipv4Addr),
    /// Of IPv6.
    V6(Ipv6Addr),
}

/// Why an option cannot be read; what follows it cannot either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionError {
    /// Its type.
    pub kind: u8,
    /// Where it is, in octets from the begin of the Mobility Header.
    pub at: usize,
    /// What is wrong: [`Error::Truncated`] when it goes beyond the header,
    /// [`Error::Length`] for a length that its type does not have, [`Error::Value`] for
    /// an impossible content.
    pub error: Error,
}

impl<'a> MobilityOption<'a> {
    /// The value of the Option Type field.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            MobilityOption::RefreshAdvice { .. } => REFRESH_ADVICE,
            MobilityOption::AlternateCareOf(_) => ALTERNATE_CARE_OF,
            MobilityOption::NonceIndices { .. } => NONCE_INDICES,
            MobilityOption::AuthorizationData(_) => AUTHORIZATION_DATA,
            MobilityOption::NodeIdentifier { .. } => NODE_IDENTIFIER,
            MobilityOption::MessageAuthentication { .. } => MESSAGE_AUTHENTICATION,
            MobilityOption::MessageIdentification { .. } => MESSAGE_IDENTIFICATION,
            MobilityOption::BindingIdentifier(_) => BINDING_IDENTIFIER,
        }
    }

    /// Whether it has to be the last option of a message: Binding Authorization Data,
    /// and Mobility Message Authentication between mobile node and home agent.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(
            self,
            MobilityOption::AuthorizationData(_)
                | MobilityOption::MessageAuthentication { subtype: 1, .. }
        )
    }

    /// Where it may begin: at n times the first number plus the second, in octets from
    /// the begin of the Mobility Header.
    #[must_use]
    pub const fn alignment(&self) -> (usize, usize) {
        match self {
            MobilityOption::RefreshAdvice { .. } | MobilityOption::NonceIndices { .. } => (2, 0),
            MobilityOption::AlternateCareOf(_) => (8, 6),
            // As it is the last one and nothing follows it.
            MobilityOption::AuthorizationData(_) => (8, 2),
            MobilityOption::NodeIdentifier { .. } => (1, 0),
            MobilityOption::MessageAuthentication { .. } => (4, 1),
            MobilityOption::MessageIdentification { .. } => (8, 2),
            MobilityOption::BindingIdentifier(option) if option.care_of.is_none() => (2, 0),
            MobilityOption::BindingIdentifier(_) => (8, 2),
        }
    }

    /// Octets of the option, with type and length.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        2 + match self {
            MobilityOption::RefreshAdvice { .. } => 2,
            MobilityOption::AlternateCareOf(_) => 16,
            MobilityOption::NonceIndices { .. } => 4,
            MobilityOption::AuthorizationData(_) => 12,
            MobilityOption::NodeIdentifier { identifier, .. } => 1 + identifier.len(),
            MobilityOption::MessageAuthentication { code, .. } => 5 + code.len(),
            MobilityOption::MessageIdentification { .. } => 8,
            MobilityOption::BindingIdentifier(option) => match option.care_of {
                None => 4,
                Some(CareOf::V4(_)) => 8,
                Some(CareOf::V6(_)) => 20,
            },
        }
    }

    /// Reads an option from its type and data; `None` for padding and types that are
    /// not known.
    #[inline]
    fn parse(kind: u8, data: &'a [u8]) -> Result<Option<Self>, Error> {
        let exactly = |len: usize| match data.len() {
            found if found == len => Ok(()),
            _ => Err(Error::Length),
        };
        Ok(Some(match kind {
            REFRESH_ADVICE => {
                exactly(2)?;
                MobilityOption::RefreshAdvice {
                    interval: be16(data, 0)?,
                }
            }
            ALTERNATE_CARE_OF => {
                exactly(16)?;
                MobilityOption::AlternateCareOf(array::<16>(data, 0)?.into())
            }
            NONCE_INDICES => {
                exactly(4)?;
                MobilityOption::NonceIndices {
                    home: be16(data, 0)?,
                    care_of: be16(data, 2)?,
                }
            }
            AUTHORIZATION_DATA => {
                exactly(12)?;
                MobilityOption::AuthorizationData(array(data, 0)?)
            }
            NODE_IDENTIFIER => {
                let (subtype, identifier) = data.split_first().ok_or(Error::Length)?;
                MobilityOption::NodeIdentifier {
                    subtype: *subtype,
                    identifier,
                }
            }
            MESSAGE_AUTHENTICATION => match data {
                [1, ..] if data.len() != 17 => return Err(Error::Length),
                [subtype, _, _, _, _, code @ ..] => MobilityOption::MessageAuthentication {
                    subtype: *subtype,
                    spi: be32(data, 1)?,
                    code,
                },
                _ => return Err(Error::Length),
            },
            MESSAGE_IDENTIFICATION => {
                exactly(8)?;
                MobilityOption::MessageIdentification {
                    timestamp: u64::from_be_bytes(array(data, 0)?),
                }
            }
            BINDING_IDENTIFIER => {
                MobilityOption::BindingIdentifier(BindingIdentifier::parse(data)?)
            }
            _ => return Ok(None),
        }))
    }

    /// Writes the option into exactly [`MobilityOption::buffer_len`] octets.
    pub(super) fn emit(&self, octets: &mut [u8]) -> Result<(), Error> {
        let len = u8::try_from(self.buffer_len() - 2).map_err(|_| Error::Length)?;
        let (head, data) = octets.split_at_mut_checked(2).ok_or(Error::Truncated)?;
        head.copy_from_slice(&[self.kind(), len]);
        let data = data.get_mut(..usize::from(len)).ok_or(Error::Truncated)?;
        match self {
            MobilityOption::RefreshAdvice { interval } => {
                data.copy_from_slice(&interval.to_be_bytes());
            }
            MobilityOption::AlternateCareOf(address) => data.copy_from_slice(&address.octets()),
            MobilityOption::NonceIndices { home, care_of } => {
                data[..2].copy_from_slice(&home.to_be_bytes());
                data[2..].copy_from_slice(&care_of.to_be_bytes());
            }
            MobilityOption::AuthorizationData(code) => data.copy_from_slice(code),
            MobilityOption::NodeIdentifier {
                subtype,
                identifier,
            } => {
                data[0] = *subtype;
                data[1..].copy_from_slice(identifier);
            }
            MobilityOption::MessageAuthentication { subtype, spi, code } => {
                if *subtype == 1 && code.len() != 12 {
                    return Err(Error::Length);
                }
                data[0] = *subtype;
                data[1..5].copy_from_slice(&spi.to_be_bytes());
                data[5..].copy_from_slice(code);
            }
            MobilityOption::MessageIdentification { timestamp } => {
                data.copy_from_slice(&timestamp.to_be_bytes());
            }
            MobilityOption::BindingIdentifier(option) => option.emit(data)?,
        }
        Ok(())
    }
}

impl BindingIdentifier {
    fn parse(data: &[u8]) -> Result<Self, Error> {
        let care_of = match data.len() {
            4 => None,
            8 => Some(CareOf::V4(array::<4>(data, 4)?.into())),
            20 => Some(CareOf::V6(array::<16>(data, 4)?.into())),
            _ => return Err(Error::Length),
        };
        Ok(Self {
            bid: NonZeroU16::new(be16(data, 0)?).ok_or(Error::Value)?,
            status: Status(data[2]),
            at_home: data[3] & AT_HOME != 0,
            priority: data[3] & !AT_HOME,
            care_of,
        })
    }

    fn emit(&self, data: &mut [u8]) -> Result<(), Error> {
        if self.priority & AT_HOME != 0 {
            return Err(Error::Value);
        }
        data[..2].copy_from_slice(&self.bid.get().to_be_bytes());
        data[2] = self.status.0;
        data[3] = self.priority | if self.at_home { AT_HOME } else { 0 };
        match self.care_of {
            None => {}
            Some(CareOf::V4(address)) => data[4..].copy_from_slice(&address.octets()),
            Some(CareOf::V6(address)) => data[4..].copy_from_slice(&address.octets()),
        }
        Ok(())
    }
}

/// An option as it stands in a message: also padding of several octets and types that
/// are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawOption<'a> {
    /// Where it begins, in octets from the begin of the Mobility Header.
    pub at: usize,
    /// The value of the Option Type field.
    pub kind: u8,
    /// What is behind the length field.
    pub data: &'a [u8],
}

/// Every option but Pad1, in the order of the message. After an error it ends.
#[derive(Debug, Clone, Copy)]
pub struct RawOptions<'a> {
    pub(super) rest: &'a [u8],
    /// Where `rest` begins.
    pub(super) at: usize,
}

impl<'a> Iterator for RawOptions<'a> {
    type Item = Result<RawOption<'a>, OptionError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (kind, data) = match *self.rest {
                [] => return None,
                [PAD1, ref rest @ ..] => {
                    self.rest = rest;
                    self.at += 1;
                    continue;
                }
                [kind, len, ref rest @ ..] => (kind, rest.split_at_checked(len.into())),
                [kind] => (kind, None),
            };
            let at = self.at;
            return Some(if let Some((data, rest)) = data {
                self.rest = rest;
                self.at += 2 + data.len();
                Ok(RawOption { at, kind, data })
            } else {
                self.rest = &[];
                let error = Error::Truncated;
                Err(OptionError { kind, at, error })
            });
        }
    }
}

/// An option and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedOption<'a> {
    /// Where it begins, in octets from the begin of the Mobility Header.
    pub at: usize,
    /// The option.
    pub option: MobilityOption<'a>,
}

impl PlacedOption<'_> {
    /// Whether it stands where its alignment wants it. Receivers need not care, senders
    /// must (RFC 6275 §6.2.1).
    #[must_use]
    pub const fn is_aligned(&self) -> bool {
        let (unit, rest) = self.option.alignment();
        self.at % unit == rest
    }
}

/// The options that are known, in the order of the message. After an error it ends.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a>(pub(super) RawOptions<'a>);

impl<'a> Iterator for Options<'a> {
    type Item = Result<PlacedOption<'a>, OptionError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let RawOption { at, kind, data } = match self.0.next()? {
                Ok(raw) => raw,
                Err(error) => return Some(Err(error)),
            };
            match MobilityOption::parse(kind, data) {
                Ok(Some(option)) => return Some(Ok(PlacedOption { at, option })),
                //= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.1
                //# Implementations MUST silently ignore any mobility
                //# options that they do not understand.
                Ok(None) => {}
                Err(error) => {
                    self.0.rest = &[];
                    return Some(Err(OptionError { kind, at, error }));
                }
            }
        }
    }
}
