//! The messages of the Mobility Header, without their options.

use core::net::Ipv6Addr;

use super::{
    AcknowledgementFlags, ErrorStatus, RevocationFlags, RevocationTrigger, Status, UpdateFlags,
    field,
};
use crate::{Error, array, be16};

pub(super) const REFRESH_REQUEST: u8 = 0;
pub(super) const HOME_TEST_INIT: u8 = 1;
pub(super) const CARE_OF_TEST_INIT: u8 = 2;
pub(super) const HOME_TEST: u8 = 3;
pub(super) const CARE_OF_TEST: u8 = 4;
pub(super) const UPDATE: u8 = 5;
pub(super) const ACKNOWLEDGEMENT: u8 = 6;
pub(super) const ERROR: u8 = 7;
pub(super) const REVOCATION: u8 = 16;
/// The two messages of type 16.
const REVOCATION_INDICATION: u8 = 1;
const REVOCATION_ACKNOWLEDGEMENT: u8 = 2;

/// A message in parts. Lifetimes are in units of four seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Binding Refresh Request: the mobile node shall renew its binding.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.2
    BindingRefreshRequest,
    /// Home Test Init: asks a correspondent for a home keygen token.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.3
    HomeTestInit {
        /// Random, to come back in the Home Test.
        cookie: [u8; 8],
    },
    /// Care-of Test Init: asks a correspondent for a care-of keygen token.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.4
    CareOfTestInit {
        /// Random, to come back in the Care-of Test.
        cookie: [u8; 8],
    },
    /// Home Test: the correspondent's answer.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.5
    HomeTest {
        /// Index of the nonce that the token was made with.
        nonce_index: u16,
        /// From the Home Test Init.
        cookie: [u8; 8],
        /// Home keygen token.
        token: [u8; 8],
    },
    /// Care-of Test: the correspondent's answer.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.6
    CareOfTest {
        /// Index of the nonce that the token was made with.
        nonce_index: u16,
        /// From the Care-of Test Init.
        cookie: [u8; 8],
        /// Care-of keygen token.
        token: [u8; 8],
    },
    /// Binding Update.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.7
    BindingUpdate {
        /// Sequence number, modulo 2^16.
        sequence: u16,
        /// Flags; bits without a name are kept.
        flags: UpdateFlags,
        /// For how long the binding is asked for; 0 deletes it.
        lifetime: u16,
    },
    /// Binding Acknowledgement.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.8
    BindingAcknowledgement {
        /// Accepted, or why not.
        status: Status,
        /// Flags; bits without a name are kept.
        flags: AcknowledgementFlags,
        /// That of the Binding Update; with status 135 the last one accepted.
        sequence: u16,
        /// For how long the binding is granted.
        lifetime: u16,
    },
    /// Binding Error.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.9
    BindingError {
        /// Why.
        status: ErrorStatus,
        /// From the Home Address option; unspecified where there was none.
        home_address: Ipv6Addr,
    },
    /// Binding Revocation Indication.
    //= https://www.rfc-editor.org/rfc/rfc5846#section-5.1
    RevocationIndication {
        /// Why.
        trigger: RevocationTrigger,
        /// Sequence number.
        sequence: u16,
        /// Flags; bits without a name are kept.
        flags: RevocationFlags,
    },
    /// Binding Revocation Acknowledgement.
    //= https://www.rfc-editor.org/rfc/rfc5846#section-5.2
    RevocationAcknowledgement {
        /// Status; 0 is success, 128 and more are failures (RFC 5846 §5.2).
        status: u8,
        /// That of the Indication.
        sequence: u16,
        /// Flags; bits without a name are kept.
        flags: RevocationFlags,
    },
}

/// Octets of the fixed part of a message, from the begin of the Mobility Header: where
/// its options begin. `None` for a type that is not known.
pub(super) const fn fixed_len(kind: u8) -> Option<usize> {
    Some(match kind {
        REFRESH_REQUEST => 8,
        HOME_TEST_INIT | CARE_OF_TEST_INIT => 16,
        HOME_TEST | CARE_OF_TEST | ERROR => 24,
        UPDATE | ACKNOWLEDGEMENT | REVOCATION => 12,
        _ => return None,
    })
}

impl Message {
    /// The value of the MH Type field.
    #[must_use]
    pub const fn mh_type(&self) -> u8 {
        match self {
            Message::BindingRefreshRequest => REFRESH_REQUEST,
            Message::HomeTestInit { .. } => HOME_TEST_INIT,
            Message::CareOfTestInit { .. } => CARE_OF_TEST_INIT,
            Message::HomeTest { .. } => HOME_TEST,
            Message::CareOfTest { .. } => CARE_OF_TEST,
            Message::BindingUpdate { .. } => UPDATE,
            Message::BindingAcknowledgement { .. } => ACKNOWLEDGEMENT,
            Message::BindingError { .. } => ERROR,
            Message::RevocationIndication { .. } | Message::RevocationAcknowledgement { .. } => {
                REVOCATION
            }
        }
    }

    /// Where the options begin, in octets from the begin of the Mobility Header.
    pub(super) const fn options_at(&self) -> usize {
        match fixed_len(self.mh_type()) {
            Some(len) => len,
            // Every message has one of the known types.
            None => field::DATA,
        }
    }

    /// Reads the fixed part of a Mobility Header of the given type.
    #[inline]
    pub(super) fn parse(kind: u8, octets: &[u8]) -> Result<Self, Error> {
        let octet = |at: usize| octets.get(at).copied().ok_or(Error::Truncated);
        Ok(match kind {
            REFRESH_REQUEST => Message::BindingRefreshRequest,
            HOME_TEST_INIT => Message::HomeTestInit {
                cookie: array(octets, 8)?,
            },
            CARE_OF_TEST_INIT => Message::CareOfTestInit {
                cookie: array(octets, 8)?,
            },
            HOME_TEST => Message::HomeTest {
                nonce_index: be16(octets, 6)?,
                cookie: array(octets, 8)?,
                token: array(octets, 16)?,
            },
            CARE_OF_TEST => Message::CareOfTest {
                nonce_index: be16(octets, 6)?,
                cookie: array(octets, 8)?,
                token: array(octets, 16)?,
            },
            UPDATE => Message::BindingUpdate {
                sequence: be16(octets, 6)?,
                flags: UpdateFlags(be16(octets, 8)?),
                lifetime: be16(octets, 10)?,
            },
            ACKNOWLEDGEMENT => Message::BindingAcknowledgement {
                status: Status(octet(6)?),
                flags: AcknowledgementFlags(octet(7)?),
                sequence: be16(octets, 8)?,
                lifetime: be16(octets, 10)?,
            },
            ERROR => Message::BindingError {
                status: ErrorStatus(octet(6)?),
                home_address: array::<16>(octets, 8)?.into(),
            },
            REVOCATION => {
                let sequence = be16(octets, 8)?;
                let flags = RevocationFlags(be16(octets, 10)?);
                match octet(6)? {
                    REVOCATION_INDICATION => Message::RevocationIndication {
                        trigger: RevocationTrigger(octet(7)?),
                        sequence,
                        flags,
                    },
                    REVOCATION_ACKNOWLEDGEMENT => Message::RevocationAcknowledgement {
                        status: octet(7)?,
                        sequence,
                        flags,
                    },
                    _ => return Err(Error::Value),
                }
            }
            _ => return Err(Error::Type),
        })
    }

    /// Writes the data behind the checksum into a Mobility Header.
    #[inline]
    pub(super) fn emit(&self, octets: &mut [u8]) {
        let mut put = |at: usize, value: &[u8]| {
            octets[at..at + value.len()].copy_from_slice(value);
        };
        match *self {
            Message::BindingRefreshRequest => put(6, &[0; 2]),
            Message::HomeTestInit { cookie } | Message::CareOfTestInit { cookie } => {
                put(6, &[0; 2]);
                put(8, &cookie);
            }
            Message::HomeTest {
                nonce_index,
                cookie,
                token,
            }
            | Message::CareOfTest {
                nonce_index,
                cookie,
                token,
            } => {
                put(6, &nonce_index.to_be_bytes());
                put(8, &cookie);
                put(16, &token);
            }
            Message::BindingUpdate {
                sequence,
                flags,
                lifetime,
            } => {
                put(6, &sequence.to_be_bytes());
                put(8, &flags.0.to_be_bytes());
                put(10, &lifetime.to_be_bytes());
            }
            Message::BindingAcknowledgement {
                status,
                flags,
                sequence,
                lifetime,
            } => {
                put(6, &[status.0, flags.0]);
                put(8, &sequence.to_be_bytes());
                put(10, &lifetime.to_be_bytes());
            }
            Message::BindingError {
                status,
                home_address,
            } => {
                put(6, &[status.0, 0]);
                put(8, &home_address.octets());
            }
            Message::RevocationIndication {
                trigger: RevocationTrigger(value),
                sequence,
                flags,
            }
            | Message::RevocationAcknowledgement {
                status: value,
                sequence,
                flags,
            } => {
                let kind = match self {
                    Message::RevocationIndication { .. } => REVOCATION_INDICATION,
                    _ => REVOCATION_ACKNOWLEDGEMENT,
                };
                put(6, &[kind, value]);
                put(8, &sequence.to_be_bytes());
                put(10, &flags.0.to_be_bytes());
            }
        }
    }
}
