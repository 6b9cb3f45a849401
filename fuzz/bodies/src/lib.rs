//! What the fuzz targets do with their input: one function for each parser of
//! bytes that somebody else made. It panics when a promise of the parser is
//! broken, which is more than a crash: most of them are compared with a second,
//! plainer reading of the same bytes.
//!
//! `fuzz/fuzz_targets` calls these functions under libFuzzer; `tests/replay.rs`
//! gives them the kept inputs of `fuzz/corpus` on stable Rust.

/// Parsers of aarp-run, which is a program and has no library.
#[allow(dead_code)]
#[path = "../../../aarp-run/src/elf.rs"]
mod elf;
#[allow(dead_code)]
#[path = "../../../aarp-run/src/privilege.rs"]
mod privilege;
#[allow(dead_code)]
#[path = "../../../aarp-run/src/script.rs"]
mod script;

/// And of aarp-responder; they refer to one another by these names.
#[allow(dead_code)]
#[path = "../../../aarp-responder/src/config.rs"]
mod config;
#[allow(dead_code)]
#[path = "../../../aarp-responder/src/ruleset.rs"]
mod ruleset;
#[allow(dead_code)]
#[path = "../../../aarp-responder/src/services.rs"]
mod services;
#[allow(dead_code)]
#[path = "../../../aarp-responder/src/state.rs"]
mod state;

/// And the tables of aarp-agent and aarp-binding.
#[allow(dead_code)]
#[path = "../../../aarp-agent/src/settings.rs"]
mod agent_config;
#[allow(dead_code)]
#[path = "../../../aarp-binding/src/settings.rs"]
mod binding_config;

/// And what aarpd reads.
#[allow(dead_code)]
#[path = "../../../aarpd/src/settings.rs"]
mod daemon_config;
#[allow(dead_code)]
#[path = "../../../aarpd/src/exporter.rs"]
mod exporter;

/// What the tests of the health checks do with any octets.
#[path = "../../../crates/health/tests/bodies/mod.rs"]
mod health;

mod daemon;
mod input;
mod lab;
mod mapper;
mod messages;
mod mobile;
mod mobile_settings;
mod programs;
mod question;
mod registrant;
mod registrar;
mod relay;
mod responder;
mod settings;
mod table;

pub use daemon::{daemon_settings, route_change, scrape};
pub use health::settings as checks;
pub use lab::{capture, frame, scenario};
pub use mapper::mapper;
pub use messages::{echo, errqueue, payload, route, route_request};
pub use mobile::{icmpv6_error, ipv6, mobility, mobility_options};
pub use mobile_settings::{agent_settings, binding_settings, keys, nflog};
pub use programs::{capabilities, elf, env, shebang};
pub use question::{question, unreachable};
pub use registrant::registrant;
pub use registrar::registrar;
pub use relay::relay;
pub use responder::{inventory, listeners, nft, record, responder_config};
pub use settings::{document, prefix, variable};
pub use table::table;

/// Answers of HTTP servers: `aarp_health::http::Response`.
pub fn http(data: &[u8]) {
    health::http(data);
}

/// Answers of name servers, and the names that are asked for: `aarp_health::dns`.
pub fn dns(data: &[u8]) {
    health::dns(data);
    health::dns_name(data);
}

/// A target: its name, which is that of its folder in `fuzz/corpus`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 41] = [
    ("agent_settings", agent_settings),
    ("binding_settings", binding_settings),
    ("capabilities", capabilities),
    ("capture", capture),
    ("checks", checks),
    ("daemon_settings", daemon_settings),
    ("dns", dns),
    ("document", document),
    ("echo", echo),
    ("elf", elf),
    ("env", env),
    ("errqueue", errqueue),
    ("frame", frame),
    ("http", http),
    ("icmpv6_error", icmpv6_error),
    ("inventory", inventory),
    ("ipv6", ipv6),
    ("keys", keys),
    ("listeners", listeners),
    ("mapper", mapper),
    ("mobility", mobility),
    ("mobility_options", mobility_options),
    ("nflog", nflog),
    ("nft", nft),
    ("payload", payload),
    ("prefix", prefix),
    ("question", question),
    ("record", record),
    ("registrant", registrant),
    ("registrar", registrar),
    ("relay", relay),
    ("responder_config", responder_config),
    ("route", route),
    ("route_change", route_change),
    ("route_request", route_request),
    ("scenario", scenario),
    ("scrape", scrape),
    ("shebang", shebang),
    ("table", table),
    ("unreachable", unreachable),
    ("variable", variable),
];
