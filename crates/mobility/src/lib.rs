//! What aarp-binding and aarp-agent share: the keys of RFC 4285, the channel for control
//! messages, and the two ends of the tunnel.

pub mod channel;
pub mod host;
pub mod initiators;
pub mod keys;
pub mod neighbour;
pub mod registrant;
pub mod registrar;
pub mod sealed;
pub mod status;
