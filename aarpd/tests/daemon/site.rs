//! The network of these tests, and the daemon in it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aarp_core::table::{Hit, TableView};
use aarp_lab::{Host, HostSpec, Lab, Network, Process, rootless, wait_until};
use aarp_sys::clock::boottime;

use crate::talk::Client;

/// For what has to happen; far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const A: &str = "2001:db8:a::53";

/// The unicast address of responder `n`.
pub fn u(n: usize) -> String {
    format!("2001:db8:5{n}::2")
}

/// Answers our own probes to any A from `u`, as aarp-responder has it.
fn answers_from(u: &str) -> String {
    format!(
        "table inet answers {{
            chain out {{
                type filter hook output priority mangle; policy accept;
                ip6 saddr 2001:db8:a::/48 icmpv6 type echo-reply @th,64,32 0x41415250 ip6 saddr set {u}
                ip6 saddr 2001:db8:a::/48 icmpv6 type destination-unreachable @th,448,32 0x41415250 ip6 saddr set {u}
            }}
        }}\n"
    )
}

/// client - router - two responders for 2001:db8:a::/48, which is routed to the first.
pub fn responders() -> Network {
    let mut network = Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:1::1"))
        .host(
            "router",
            HostSpec::router().route(format!("2001:db8:a::/48 via {}", u(1))),
        )
        .link("client:eth0 2001:db8:1::2/64", "router:c 2001:db8:1::1/64");
    for n in 1..=2 {
        let host = HostSpec::new()
            .route(format!("default via 2001:db8:5{n}::1"))
            .route("local 2001:db8:a::/48 dev lo")
            .firewall(answers_from(&u(n)));
        network = network.host(format!("s{n}"), host).link(
            format!("s{n}:eth0 {}/64", u(n)),
            format!("router:s{n} 2001:db8:5{n}::1/64"),
        );
    }
    network
}

/// A configuration that asks about the responders' addresses.
pub const PREFIXES: &str = "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n";

/// The network, and a daemon's folder in it.
pub struct Site {
    pub lab: Lab,
    pub config: PathBuf,
    pub run: PathBuf,
}

impl Site {
    pub fn new(config: &str) -> Self {
        Self::of(&responders(), config)
    }

    /// In a network of its own kind.
    pub fn of(network: &Network, config: &str) -> Self {
        let lab = Lab::new(network).unwrap();
        let (file, run) = (lab.work().join("aarp.toml"), lab.work().join("run"));
        std::fs::write(&file, config).unwrap();
        Self {
            config: file,
            run,
            lab,
        }
    }

    pub fn host(&self) -> &Host {
        self.lab.host("client").unwrap()
    }

    /// Permits nobody a ping socket on the client's host; whether that can be done.
    pub fn without_ping_sockets(&self) -> bool {
        if rootless::is_inside() {
            // Not all groups are there.
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("a test of aarpd");
            rootless::skipped(name, "a user namespace cannot forbid ping sockets");
            return false;
        }
        let range = "net.ipv4.ping_group_range";
        self.host().sysctl(range, "1 0").unwrap();
        true
    }

    /// Starts a daemon that is to end by itself, or to be waited for.
    pub fn spawn(&self, arguments: &[&str]) -> Process {
        let command = self.host().command(env!("CARGO_BIN_EXE_aarpd"));
        let command = command
            .args(["run", "--run-dir"])
            .arg(&self.run)
            .arg("--config")
            .arg(&self.config);
        command.args(arguments).spawn().unwrap()
    }

    /// A daemon that serves.
    pub fn start(&self) -> Process {
        let daemon = self.spawn(&[]);
        serves(&daemon);
        daemon
    }

    pub fn socket(&self) -> PathBuf {
        self.run.join("aarpd.sock")
    }

    pub fn table(&self) -> PathBuf {
        self.run.join("table")
    }

    /// A program of this host.
    pub fn connect(&self) -> Client {
        self.connect_to(&self.socket())
    }

    /// One that asks another daemon of this host.
    pub fn connect_to(&self, socket: &Path) -> Client {
        let socket = socket.to_owned();
        self.host().enter(move || Client::connect(&socket)).unwrap()
    }

    /// What a program that looks in the table finds about an A.
    pub fn look(&self, a: &str) -> Option<Hit> {
        let snapshot = snapshot(&self.table());
        let table = TableView::open(&snapshot).unwrap();
        table.lookup(a.parse().unwrap(), boottime())
    }

    /// The U that it finds.
    pub fn found(&self, a: &str) -> Option<String> {
        self.look(a).map(|hit| hit.mapping.u.to_string())
    }

    /// From now on the router sends every A to responder `n`.
    pub fn move_to(&self, n: usize) {
        let route = format!("-6 route replace 2001:db8:a::/48 via {}", u(n));
        self.lab.ip("router", &route).unwrap();
    }
}

/// The words of a table at this moment.
pub fn snapshot(table: &Path) -> Vec<AtomicU64> {
    let octets = std::fs::read(table).unwrap();
    let words = octets.as_chunks().0.iter().copied();
    words
        .map(|word| AtomicU64::new(u64::from_ne_bytes(word)))
        .collect()
}

/// Waits until a daemon serves.
pub fn serves(daemon: &Process) {
    wait_until("the daemon serves", PATIENCE, || {
        let said = daemon.stderr()?;
        assert!(daemon.try_wait()?.is_none(), "it has ended: {said}");
        Ok(said.contains("serves "))
    })
    .unwrap();
}
