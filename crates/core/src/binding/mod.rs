//! Bindings of Mobile IPv6 (RFC 6275) between an anycast address A, which stands for
//! the home address, and the unicast address U of a responder, its care-of address.

pub mod lifetime;
pub mod sequence;
