//! A network with an agent and two responders.
//!
//! ```text
//!                  .-- haa          the agent; A is on its link
//! c -- rc -- rt --<--- r1 -- s1     U1
//!                  '-- r2 -- s2     U2
//! ```
//! Packets between any two of c, the agent and the responders pass rt, which can lose
//! them; a path between two routers can be narrow, which no host knows beforehand.
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_lab::{Command, Host, HostSpec, Lab, LinkSpec, Network, Process, rootless, wait_until};
use serde_json::Value;

use crate::common;

const fn address(subnet: u16, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, last)
}

pub(crate) const AGENT: Ipv6Addr = address(1, 2);
/// The anycast address, on the agent's link.
pub(crate) const A: Ipv6Addr = address(1, 0xa);
/// Another one.
pub(crate) const B: Ipv6Addr = address(1, 0xb);
pub(crate) const CLIENT: Ipv6Addr = address(2, 2);
pub(crate) const U1: Ipv6Addr = address(4, 2);
pub(crate) const U2: Ipv6Addr = address(5, 2);

/// How long anything that must happen may take, on a machine however slow.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The network at work.
#[derive(Debug)]
pub(crate) struct Site {
    services: Vec<Process>,
    pub(crate) lab: Lab,
    pub(crate) stage: PathBuf,
}

/// The moment, on the clock of captured packets.
pub(crate) fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is past 1970")
}

/// Runs the body of a test that needs networks and TUN devices.
pub(crate) fn networked(body: impl FnOnce()) {
    rootless::test(|| {
        let tun = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun");
        match tun {
            Ok(_) => body(),
            Err(error) => common::skipped(&format!("/dev/net/tun: {error}")),
        }
    });
}

/// Two keys, each of one responder.
const KEYS: &str = "[[key]]\nspi = 256\nkey = \"000102030405060708090a0b0c0d0e0f\"\n\
     peer = \"ar1@example.org\"\nmay_register = [\"2001:db8:0:1::a\"]\n\
     [[key]]\nspi = 257\nkey = \"101112131415161718191a1b1c1d1e1f\"\n\
     peer = \"ar2@example.org\"\nmay_register = [\"2001:db8:0:1::a\"]\n";

impl Site {
    pub(crate) fn new() -> Self {
        let stage = common::stage();
        let lab = Lab::new(&network()).unwrap();
        std::fs::write(lab.work().join("empty.toml"), "").unwrap();
        let site = Self {
            services: Vec::new(),
            lab,
            stage,
        };
        // RetransTimer: how long the agent's duplicate address detection takes, in each
        // of these tests.
        let timer = "net.ipv6.neigh.eth0.retrans_time_ms";
        site.host("haa").sysctl(timer, "300").unwrap();
        site.private("keys.toml", KEYS);
        // Every router knows its neighbours: no packet that is counted waits for that.
        for address in [AGENT, U1, U2] {
            let ping = site.host("c").command("ping");
            let ping = ping.args(["-nc1", "-W30", &address.to_string()]);
            ping.run().unwrap();
        }
        site
    }

    /// A file that only its owner may read.
    pub(crate) fn private(&self, name: &str, text: &str) -> PathBuf {
        let file = self.lab.work().join(name);
        std::fs::write(&file, text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).unwrap();
        file
    }

    pub(crate) fn host(&self, name: &str) -> &Host {
        self.lab.host(name).unwrap()
    }

    /// A program of the stage.
    pub(crate) fn program<'s>(&'s self, host: &str, name: &str) -> Command<'s> {
        let command = self.host(host).command(self.stage.join("bin").join(name));
        command.env("AARP_CONFIG", self.lab.work().join("empty.toml"))
    }

    /// Has the other programs run from a copy that everybody may run and read: what was
    /// built may be in a folder of root's alone.
    pub(crate) fn run_from_copies(&mut self) {
        let folder = self.lab.work().join("copies");
        let programs = folder.join("bin");
        std::fs::create_dir_all(&programs).unwrap();
        for name in ["aarp-agent", "aarp-binding"] {
            let program = std::fs::read(self.stage.join("bin").join(name)).unwrap();
            aarp_lab::write_executable(programs.join(name), program).unwrap();
        }
        for folder in [self.lab.work(), &folder, &programs] {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(folder, open).unwrap();
        }
        self.stage = folder;
    }

    /// `aarp-agent run` for A, with these words besides.
    pub(crate) fn agent_command(&self, words: &[&str]) -> Command<'_> {
        let agent = self.program("haa", "aarp-agent").arg("run");
        let agent = agent.args(["--address", &AGENT.to_string(), "--home", &A.to_string()]);
        agent.args(words)
    }

    /// An agent that serves A, without authentication.
    pub(crate) fn open_agent(&self) -> Process {
        self.agent(&["--insecure-unauthenticated", "--keys", "/nonexistent"])
    }

    /// An agent that serves A, with keys.
    pub(crate) fn keyed_agent(&self) -> Process {
        let keys = self.lab.work().join("keys.toml");
        self.agent(&["--keys", &keys.to_string_lossy()])
    }

    pub(crate) fn agent(&self, words: &[&str]) -> Process {
        let agent = self.agent_command(words).spawn().unwrap();
        agent.wait_stderr("serves ", LIMIT).unwrap();
        agent
    }

    /// `aarp-binding run` for A, with these words besides.
    pub(crate) fn binding_command(&self, host: &str, words: &[&str]) -> Command<'_> {
        let state = self.lab.work().join(format!("state-{host}"));
        let binding = self.program(host, "aarp-binding").arg("run");
        let binding = binding.args(["--anycast", &A.to_string(), "--agent", &AGENT.to_string()]);
        let binding = binding.arg("--keys").arg(self.lab.work().join("keys.toml"));
        binding.arg("--state-dir").arg(state).args(words)
    }

    /// A sidecar whose address is registered.
    pub(crate) fn binding(&self, host: &str, words: &[&str]) -> Process {
        let binding = self.binding_command(host, words).spawn().unwrap();
        binding.wait_stderr("registered with", LIMIT).unwrap();
        binding
    }

    /// An agent and a registered responder without authentication.
    pub(crate) fn simple(words: &[&str]) -> Self {
        let mut site = Self::new();
        let agent = site.open_agent();
        let binding = site.binding("s1", words);
        site.keep(agent);
        site.keep(binding);
        site
    }

    /// Ends the sidecar of [`Site::simple`] as a crash would.
    pub(crate) fn kill_binding(&self) {
        self.services[1].kill();
    }

    /// Keeps a program that has been started.
    pub(crate) fn keep(&mut self, process: Process) {
        self.services.push(process);
    }

    /// nginx on port 80 of all addresses: /who is the name of the host, everything
    /// else a file of its folder `www`.
    pub(crate) fn nginx(&self, name: &str) -> Process {
        let host = self.host(name);
        let dir = host.dir().display();
        std::fs::create_dir_all(host.dir().join("www")).unwrap();
        let mut text = format!(
            "user root; daemon off; master_process off; pid {dir}/nginx.pid;\n\
             error_log stderr; events {{}}\nhttp {{ access_log off;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(text, "{kind}_temp_path {dir}/{kind};").unwrap();
        }
        writeln!(
            text,
            "server {{ listen [::]:80; root {dir}/www;\nlocation = /who {{ \
             default_type text/plain; return 200 \"{name}\\n\"; }} }} }}"
        )
        .unwrap();
        let file = host.dir().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let server = host.command("nginx").args(["-e", "stderr", "-c"]).arg(file);
        let server = server.spawn().unwrap();
        host.wait_tcp(80, LIMIT).unwrap();
        server
    }

    /// curl on c, which gives up after so many seconds.
    pub(crate) fn curl(&self, seconds: u32, path: &str) -> Command<'_> {
        let curl = self.host("c").command("curl").args(["-gsS", "--max-time"]);
        curl.args([&seconds.to_string(), &format!("http://[{A}]{path}")])
    }

    /// Which responder serves A now.
    pub(crate) fn who(&self) -> String {
        let answer = self.curl(50, "/who").run().unwrap();
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    }

    /// What stands between rt and its neighbours: a rule of the chain at the forward
    /// hook, or nothing.
    pub(crate) fn forwarding(&self, rule: &str) {
        let rules = format!(
            "table inet path\ndelete table inet path\ntable inet path {{ chain forward {{\n\
             type filter hook forward priority 0;\n{rule}\n}}\n}}\n"
        );
        self.host("rt").nft(&rules).unwrap();
    }

    /// Makes the path between rt and another router as narrow as that.
    pub(crate) fn narrow(&self, router: &str, mtu: u32) {
        let words = |device: &str| format!("link set dev {device} mtu {mtu}");
        self.lab.ip("rt", &words(router)).unwrap();
        self.lab.ip(router, &words("rt")).unwrap();
    }

    /// The records of the status of a program.
    pub(crate) fn status(&self, host: &str, program: &str) -> Vec<Value> {
        let status = self.program(host, program).args(["status", "--json"]);
        let output = status.run().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let records = lines.lines().map(serde_json::from_str);
        records.collect::<Result<_, _>>().unwrap()
    }

    /// The agent's own record.
    pub(crate) fn agent_record(&self) -> Value {
        self.status("haa", "aarp-agent").swap_remove(0)
    }

    /// The care-of address of A at the agent.
    pub(crate) fn owner(&self) -> Option<Ipv6Addr> {
        let records = self.status("haa", "aarp-agent");
        let binding = records
            .iter()
            .find(|record| record["anycast"] == A.to_string());
        binding.map(|record| record["care_of"].as_str().unwrap().parse().unwrap())
    }
}

/// Waits until a program has said this so many times.
pub(crate) fn said(program: &Process, text: &str, times: usize) {
    let what = format!("{text:?}, {times} times");
    let done = wait_until(&what, LIMIT, || {
        Ok(program.stderr()?.matches(text).count() >= times)
    });
    done.unwrap_or_else(|error| panic!("{error}: {}", program.stderr().unwrap()));
}

/// A number of a record; zero where it is not named.
pub(crate) fn count(record: &Value, path: &str) -> u64 {
    record
        .pointer(path)
        .map_or(0, |value| value.as_u64().unwrap())
}

fn network() -> Network {
    let link = |one: String, other: String| LinkSpec::new(one, other).offloads(false);
    let routed = |gateway| HostSpec::new().route(format!("default via {gateway}"));
    let router = |gateway| HostSpec::router().route(format!("default via {gateway}"));
    let rt = HostSpec::router()
        .route("2001:db8:0:2::/64 via 2001:db8:0:12::2")
        .route("2001:db8:0:4::/64 via 2001:db8:0:14::2")
        .route("2001:db8:0:5::/64 via 2001:db8:0:15::2");
    let mut network = Network::new()
        .host("c", routed(address(2, 1)))
        .host("rc", router(address(0x12, 1)))
        .host("rt", rt)
        .host("haa", router(address(1, 1)))
        .host("r1", router(address(0x14, 1)))
        .host("s1", routed(address(4, 1)))
        .host("r2", router(address(0x15, 1)))
        .host("s2", routed(address(5, 1)))
        .add_link(link(
            format!("haa:eth0 {AGENT}/64"),
            format!("rt:haa {}/64", address(1, 1)),
        ));
    for (router, host, subnet) in [("rc", "c", 2), ("r1", "s1", 4), ("r2", "s2", 5)] {
        let [gateway, inner] = [1, 2].map(|last| address(subnet, last));
        let [upper, lower] = [1, 2].map(|last| address(subnet + 0x10, last));
        network = network
            .add_link(link(
                format!("{host}:eth0 {inner}/64"),
                format!("{router}:in {gateway}/64"),
            ))
            .add_link(link(
                format!("rt:{router} {upper}/64"),
                format!("{router}:rt {lower}/64"),
            ));
    }
    network
}
