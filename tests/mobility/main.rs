//! The anycast agent and the binding sidecar as they are installed: real services, real
//! networks, and what becomes of them when something is lost, restarted or forged. What
//! is claimed is seen in captures.
mod agents;
mod agreement;
mod astray;
mod changing;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod decode;
mod direct;
mod errors;
mod firewall;
mod floods;
mod following;
mod forged;
mod hardened;
mod hostile;
mod neighbours;
mod recovery;
mod reload;
mod removed;
mod responder;
mod restored;
mod serving;
mod settings;
mod site;
