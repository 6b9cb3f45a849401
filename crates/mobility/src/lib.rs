//! What aarp-binding and aarp-agent share: reading their tables of aarp.toml, the
//! keys of RFC 4285, the channel for control messages, and the two ends of the
//! tunnel.

pub mod alarm;
pub mod channel;
pub mod document;
pub mod host;
pub mod initiators;
pub mod keys;
pub mod neighbour;
pub mod registrant;
pub mod registrar;
pub mod sealed;
pub mod status;
