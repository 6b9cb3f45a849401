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

mod input;
mod lab;
mod messages;
mod mobile;
mod programs;
mod question;
mod responder;
mod settings;

pub use lab::{capture, frame, scenario};
pub use messages::{echo, errqueue, payload, route, route_request};
pub use mobile::{icmpv6_error, ipv6, mobility, mobility_options};
pub use programs::{capabilities, elf, env, shebang};
pub use question::{question, unreachable};
pub use responder::{inventory, listeners, nft, record, responder_config};
pub use settings::{document, prefix, variable};

/// A target: its name, which is that of its folder in `fuzz/corpus`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 26] = [
    ("capabilities", capabilities),
    ("capture", capture),
    ("document", document),
    ("echo", echo),
    ("elf", elf),
    ("env", env),
    ("errqueue", errqueue),
    ("frame", frame),
    ("icmpv6_error", icmpv6_error),
    ("inventory", inventory),
    ("ipv6", ipv6),
    ("listeners", listeners),
    ("mobility", mobility),
    ("mobility_options", mobility_options),
    ("nft", nft),
    ("payload", payload),
    ("prefix", prefix),
    ("question", question),
    ("record", record),
    ("responder_config", responder_config),
    ("route", route),
    ("route_request", route_request),
    ("scenario", scenario),
    ("shebang", shebang),
    ("unreachable", unreachable),
    ("variable", variable),
];
