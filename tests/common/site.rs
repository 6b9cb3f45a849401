//! A network with two responders, for tests of whole programs.
//!
//! ```text
//!                 .-- r1 -- s1   U1
//! c -- r0 -------<                     both own the anycast addresses
//!                 '-- r2 -- s2   U2
//! ```
//! The delay is between c and r0.
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_lab::{Capture, Command, Host, HostSpec, Lab, LinkSpec, Network, Packet, Process};

use crate::common;

pub(crate) const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub(crate) const NAME: &str = "www.any.test";

/// How long anything that must happen may take, on a machine however slow.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    S1,
    S2,
}

impl Node {
    pub(crate) const ALL: [Self; 2] = [Self::S1, Self::S2];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S1 => "s1",
            Self::S2 => "s2",
        }
    }

    /// U.
    pub(crate) const fn unicast(self) -> Ipv6Addr {
        let site = 0x51 + self as u16;
        Ipv6Addr::new(0x2001, 0xdb8, site, 0, 0, 0, 0, 2)
    }

    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::S1 => Self::S2,
            Self::S2 => Self::S1,
        }
    }

    /// The router that leads to it, seen from r0.
    fn next_hop(self) -> String {
        format!("2001:db8:{}::1", self as u16 + 1)
    }
}

/// The network at work.
#[derive(Debug)]
pub(crate) struct Site {
    services: Vec<Process>,
    captures: [(&'static str, Capture); 3],
    pub(crate) lab: Lab,
    pub(crate) stage: PathBuf,
    anycast: Vec<Ipv6Addr>,
    /// Where their routes lead.
    node: Node,
}

/// The moment, on the clock of captured packets.
pub(crate) fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is past 1970")
}

/// The distribution's program, whatever stands before it in PATH.
pub(crate) fn system(name: &str) -> String {
    let path = format!("/usr/bin/{name}");
    match Path::new(&path).is_file() {
        true => path,
        // Looked up; if that is not there either, the lab says so.
        false => name.trim_end_matches(".openbsd").to_owned(),
    }
}

impl Site {
    /// Makes it, with this round trip between c and the responders; of the anycast
    /// addresses the first has a name.
    pub(crate) fn new(round_trip: Duration, anycast: &[Ipv6Addr]) -> Self {
        let stage = common::stage();
        let lab = Lab::new(&network(round_trip, anycast)).unwrap();
        std::fs::write(lab.work().join("empty.toml"), "").unwrap();
        let captures = ["c", "s1", "s2"].map(|host| (host, lab.capture(host, "eth0").unwrap()));
        let mut site = Self {
            services: Vec::new(),
            captures,
            lab,
            stage,
            anycast: anycast.to_owned(),
            node: Node::S1,
        };
        for node in Node::ALL {
            let mut command = site
                .host(node)
                .command(site.stage.join("bin/aarp-responder"))
                .arg("run");
            for address in anycast {
                command = command.args(["--anycast", &address.to_string()]);
            }
            let responder = command.spawn().unwrap();
            for address in anycast {
                let owns = format!("owns {address}");
                responder.wait_stderr(&owns, LIMIT).unwrap();
            }
            site.services.push(responder);
        }
        // Every router on both ways knows its neighbours: no probe waits for that.
        for node in [Node::S2, Node::S1] {
            site.route_to(node);
            for address in [node.unicast(), anycast[0]] {
                let ping = site.client_host().command("ping");
                let ping = ping.args(["-nc1", "-W30", &address.to_string()]);
                ping.run().unwrap();
            }
        }
        site
    }

    pub(crate) fn client_host(&self) -> &Host {
        self.lab.host("c").unwrap()
    }

    pub(crate) fn host(&self, node: Node) -> &Host {
        self.lab.host(node.name()).unwrap()
    }

    /// The responder that the route of A leads to.
    pub(crate) fn node(&self) -> Node {
        self.node
    }

    /// Moves the routes of the anycast addresses; returns when that was done.
    pub(crate) fn route_to(&mut self, node: Node) -> Duration {
        for address in &self.anycast {
            let words = format!("-6 route replace {address}/128 via {}", node.next_hop());
            self.lab.ip("r0", &words).unwrap();
        }
        self.node = node;
        now()
    }

    /// Where c's programs may write.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.client_host().dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    /// A program on c as it is.
    pub(crate) fn native(&self, program: &str) -> Command<'_> {
        self.client_host().command(program)
    }

    /// A program on c under the ARL, with no configuration.
    pub(crate) fn under_arl(&self, program: &str) -> Command<'_> {
        let run = self.stage.join("bin/aarp-run");
        let command = self.client_host().command(run).arg(program);
        command
            .env("AARP_CONFIG", self.lab.work().join("empty.toml"))
            .env("AARP_LOG", "debug")
    }

    /// What a host's interface has carried so far.
    pub(crate) fn seen_at(&self, host: &str) -> Vec<Packet> {
        let capture = self.captures.iter().find(|capture| capture.0 == host);
        capture.unwrap().1.packets().unwrap()
    }

    /// Keeps a service that has been started.
    pub(crate) fn keep(&mut self, service: Process) {
        self.services.push(service);
    }
}

fn network(round_trip: Duration, anycast: &[Ipv6Addr]) -> Network {
    let [u1, u2] = Node::ALL.map(Node::unicast);
    let to_client = LinkSpec::new("c:eth0 2001:db8:c::2/64", "r0:c 2001:db8:c::1/64");
    let mut r0 = HostSpec::router()
        .route("2001:db8:51::/64 via 2001:db8:1::1")
        .route("2001:db8:52::/64 via 2001:db8:2::1");
    for address in anycast {
        r0 = r0.route(format!("{address}/128 via {}", Node::S1.next_hop()));
    }
    Network::new()
        .host("c", HostSpec::new().route("default via 2001:db8:c::1"))
        .host("r0", r0)
        .host("r1", access_router(anycast, u1, "2001:db8:1::"))
        .host("r2", access_router(anycast, u2, "2001:db8:2::"))
        .host("s1", HostSpec::new().route("default via 2001:db8:51::1"))
        .host("s2", HostSpec::new().route("default via 2001:db8:52::1"))
        .add_link(to_client.delay(round_trip / 2))
        .link("r0:r1 2001:db8:1::/127", "r1:r0 2001:db8:1::1/127")
        .link("r0:r2 2001:db8:2::/127", "r2:r0 2001:db8:2::1/127")
        .link(format!("s1:eth0 {u1}/64"), "r1:s1 2001:db8:51::1/64")
        .link(format!("s2:eth0 {u2}/64"), "r2:s2 2001:db8:52::1/64")
        .name(NAME, anycast[0].to_string())
}

fn access_router(anycast: &[Ipv6Addr], unicast: Ipv6Addr, default: &str) -> HostSpec {
    let router = HostSpec::router().route(format!("default via {default}"));
    anycast.iter().fold(router, |router, address| {
        router.route(format!("{address}/128 via {unicast}"))
    })
}
