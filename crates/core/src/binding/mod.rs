//! Bindings of Mobile IPv6 (RFC 6275) between an anycast address A, which stands for
//! the home address, and the unicast address U of a responder, its care-of address.
//!
//! The responder's side is the binding update list ([`update_list`]), the agent's the
//! anycast binding cache ([`cache`]). Messages are authenticated as in RFC 4285
//! ([`authentication`], [`keyring`], [`timestamp`]) unless IPsec does it.

pub mod authentication;
pub mod cache;
pub mod keyring;
pub mod lifetime;
pub mod message;
pub mod sequence;
pub mod timestamp;
pub mod update_list;
