//! The options of a message, read in one pass.

use core::net::Ipv6Addr;

use super::authenticator::Authenticator;
use super::option::{BindingIdentifier, MobilityOption, OptionError};
use super::{AUTHENTICATOR, MobilityPacket};
use crate::Error;

/// What the options of a message say, for messages in which each stands once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindingOptions<'a> {
    /// Refresh interval of a Binding Refresh Advice, in units of four seconds.
    pub refresh_interval: Option<u16>,
    /// Alternate Care-of Address.
    pub alternate_care_of: Option<Ipv6Addr>,
    /// Home and care-of nonce index.
    pub nonce_indices: Option<(u16, u16)>,
    /// Subtype and octets of the Mobile Node Identifier.
    pub node_identifier: Option<(u8, &'a [u8])>,
    /// Timestamp of the Message Identification.
    pub timestamp: Option<u64>,
    /// The first Binding Identifier.
    pub binding_identifier: Option<BindingIdentifier>,
    /// Binding Identifiers, of which there may be several (RFC 5648 §4.1).
    pub binding_identifiers: usize,
    /// The authenticator: its place, and its octets.
    pub authenticator: Option<(Authenticator, &'a [u8; AUTHENTICATOR])>,
}

impl<'a> BindingOptions<'a> {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`] for an option that cannot be read or, with
    /// [`Error::Duplicate`], stands there a second time.
    #[inline]
    pub fn parse(packet: &MobilityPacket<'a>) -> Result<Self, OptionError> {
        let mut found = Self::default();
        for placed in packet.options() {
            let placed = placed?;
            let is_new = match placed.option {
                MobilityOption::RefreshAdvice { interval } => {
                    found.refresh_interval.replace(interval).is_none()
                }
                MobilityOption::AlternateCareOf(address) => {
                    found.alternate_care_of.replace(address).is_none()
                }
                MobilityOption::NonceIndices { home, care_of } => {
                    found.nonce_indices.replace((home, care_of)).is_none()
                }
                MobilityOption::NodeIdentifier {
                    subtype,
                    identifier,
                } => found
                    .node_identifier
                    .replace((subtype, identifier))
                    .is_none(),
                MobilityOption::MessageIdentification { timestamp } => {
                    found.timestamp.replace(timestamp).is_none()
                }
                MobilityOption::BindingIdentifier(option) => {
                    found.binding_identifiers += 1;
                    found.binding_identifier.get_or_insert(option);
                    true
                }
                MobilityOption::AuthorizationData(_)
                | MobilityOption::MessageAuthentication { .. } => {
                    match Authenticator::of(&placed, packet.octets()) {
                        // Of another kind than between mobile node and home agent.
                        None => true,
                        Some(place) => {
                            let code =
                                place.code(packet.octets()).map_err(|error| OptionError {
                                    kind: placed.option.kind(),
                                    at: placed.at,
                                    error,
                                })?;
                            found.authenticator.replace((place, code)).is_none()
                        }
                    }
                }
            };
            if !is_new {
                return Err(OptionError {
                    kind: placed.option.kind(),
                    at: placed.at,
                    error: Error::Duplicate,
                });
            }
        }
        Ok(found)
    }
}
