//! The networks that the tests have in common, and the program in them.

use std::path::PathBuf;
use std::time::Duration;

use aarp_lab::{Command, Host, HostSpec, Lab, Network};
use serde_json::Value;

/// For what has to happen; far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const A: &str = "2001:db8:a::53";
pub const NAME: &str = "www.any.test";

/// The unicast address of responder `n`.
pub fn u(n: usize) -> String {
    format!("2001:db8:5{n}::2")
}

/// Answers our own probes to `a` from `u`, as aarp-responder has it.
pub fn answers_from(a: &str, u: &str) -> String {
    let name = a.replace([':', '.'], "_");
    format!(
        "table inet answers_{name} {{
            chain out {{
                type filter hook output priority mangle; policy accept;
                ip6 saddr {a} icmpv6 type echo-reply @th,64,32 0x41415250 ip6 saddr set {u}
                ip6 saddr {a} icmpv6 type destination-unreachable @th,448,32 0x41415250 ip6 saddr set {u}
            }}
        }}\n"
    )
}

/// client - router - `count` responders for A, whose route goes to all of them.
pub fn responders(count: usize) -> Network {
    let hops: Vec<String> = (1..=count)
        .map(|n| format!("nexthop via {}", u(n)))
        .collect();
    let mut network = Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:1::1"))
        .host(
            "router",
            HostSpec::router().route(format!("{A}/128 {}", hops.join(" "))),
        )
        .link("client:eth0 2001:db8:1::2/64", "router:c 2001:db8:1::1/64")
        .name(NAME, A);
    for n in 1..=count {
        let host = HostSpec::new()
            .address("lo", format!("{A}/128 preferred_lft 0"))
            .route(format!("default via 2001:db8:5{n}::1"))
            .firewall(answers_from(A, &u(n)));
        network = network.host(format!("s{n}"), host).link(
            format!("s{n}:eth0 {}/64", u(n)),
            format!("router:s{n} 2001:db8:5{n}::1/64"),
        );
    }
    network
}

/// From now on the router sends A to responder `n`.
pub fn move_to(lab: &Lab, n: usize) {
    lab.ip("router", &format!("-6 route replace {A}/128 via {}", u(n)))
        .unwrap();
}

/// A filter that lets in what belongs to something that was sent, and no more, in the
/// chain of that hook.
pub fn stateful(hook: &str) -> String {
    format!(
        "table inet filter {{
            chain {hook} {{
                type filter hook {hook} priority 0; policy drop
                ct state established,related accept
                icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, echo-request }} accept
                udp dport 33999 accept
            }}
        }}\n"
    )
}

/// From now on a host hears nothing that is sent to A.
pub fn silence(host: &Host) {
    host.nft(&format!(
        "table inet silent {{ chain in {{ type filter hook input priority 0;
            ip6 daddr {A} drop\n}}\n}}\n"
    ))
    .unwrap();
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The records that it printed, each of which is valid.
    pub fn records(&self) -> Vec<Value> {
        records(&self.stdout)
    }
}

/// The records in a text, each of which is valid.
pub fn records(text: &str) -> Vec<Value> {
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    crate::schema::validate(&records);
    records
}

/// aarp-probe on a host, with no configuration but what the test gives it.
pub fn probe<'h>(host: &'h Host, arguments: &[&str]) -> Command<'h> {
    host.command(program())
        .env("AARP_CONFIG", "/dev/null")
        .args(arguments)
}

/// The program.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_aarp-probe"))
}

/// The installed library.
pub fn installed() -> Option<PathBuf> {
    let stage = std::env::var_os("AARP_STAGE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/stage"),
        PathBuf::from,
    );
    let library = stage.join("lib/aarp/libaarp.so").canonicalize().ok()?;
    library.is_file().then_some(library)
}

/// Runs it to its end.
pub fn ended(command: Command<'_>) -> Ended {
    let output = command.output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    Ended {
        code: output.status.code().expect("an exit code"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
