//! The network of these tests, and the services on its responders.
//!
//! ```text
//!                 .-- r1 -- s1   U1
//! c -- r0 -------<                     both own A, and serve the same
//!                 '-- r2 -- s2   U2
//! ```
//! The delay is between c and r0.
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_lab::{Capture, Command, Host, HostSpec, Lab, LinkSpec, Network, Packet, Process};

use crate::common;
use crate::upstream::Upstream;

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
    const ALL: [Self; 2] = [Self::S1, Self::S2];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S1 => "s1",
            Self::S2 => "s2",
        }
    }

    /// U.
    pub(crate) fn unicast(self) -> Ipv6Addr {
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
    pub(crate) upstream: Upstream,
    services: Vec<Process>,
    captures: [(&'static str, Capture); 3],
    pub(crate) lab: Lab,
    pub(crate) stage: PathBuf,
    /// What every download and repository has to give.
    pub(crate) content: Vec<u8>,
    /// Where the route of A leads.
    node: Node,
}

/// The moment, on the clock of captured packets.
pub(crate) fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is past 1970")
}

impl Site {
    /// Makes it, with this round trip between c and the responders, and a content
    /// of so many octets.
    pub(crate) fn new(round_trip: Duration, octets: usize) -> Self {
        let stage = common::stage();
        let lab = Lab::new(&network(round_trip)).unwrap();
        let content = noise(octets);
        let www = lab.work().join("www");
        std::fs::create_dir(&www).unwrap();
        std::fs::write(www.join("plain"), &content).unwrap();
        std::fs::write(lab.work().join("empty.toml"), "").unwrap();
        let socket = lab.work().join("upstream");
        let upstream = Upstream::start(&socket, content.clone(), lab.work()).unwrap();
        let captures = ["c", "s1", "s2"].map(|host| (host, lab.capture(host, "eth0").unwrap()));
        let mut site = Self {
            upstream,
            services: Vec::new(),
            captures,
            lab,
            stage,
            content,
            node: Node::S1,
        };
        for node in Node::ALL {
            let command = site
                .host(node)
                .command(site.stage.join("bin/aarp-responder"));
            let responder = command.args(["run", "--anycast", &A.to_string()]);
            let responder = responder.spawn().unwrap();
            let owns = format!("owns {A}");
            responder.wait_stderr(&owns, LIMIT).unwrap();
            site.services.push(responder);
        }
        // Every router on both ways knows its neighbours: no probe waits for that.
        for node in [Node::S2, Node::S1] {
            site.route_to(node);
            for address in [node.unicast(), A] {
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

    /// Lets no probe through to a responder any more.
    pub(crate) fn silence(&self) {
        let rules = "table ip6 silence { chain forward { type filter hook forward priority 0; \
                     icmpv6 type echo-request drop; }; }";
        self.lab.host("r0").unwrap().nft(rules).unwrap();
    }

    /// Moves the route of A; returns when that was done.
    pub(crate) fn route_to(&mut self, node: Node) -> Duration {
        let words = format!("-6 route replace {A}/128 via {}", node.next_hop());
        self.lab.ip("r0", &words).unwrap();
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

    /// Starts a web server on both responders.
    pub(crate) fn serve_http(&mut self) {
        for node in Node::ALL {
            let file = self.lab.work().join(format!("{}.conf", node.name()));
            std::fs::write(&file, nginx(self.lab.work(), node)).unwrap();
            let nginx = self.host(node).command("nginx");
            let nginx = nginx.args(["-e", "stderr", "-c"]).arg(&file);
            self.serve(node, nginx.spawn().unwrap(), 80);
        }
    }

    /// Starts an ssh server on both responders, with one host key: they are one
    /// service.
    pub(crate) fn serve_ssh(&mut self) {
        let work = self.lab.work().to_owned();
        for key in ["host-key", "user-key"] {
            let file = work.join(key).to_string_lossy().into_owned();
            common::run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &file]);
        }
        let config = format!(
            "Port 22\nAddressFamily inet6\nHostKey {0}/host-key\nPidFile none\nUsePAM no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile {0}/user-key.pub\n\
             StrictModes no\nUseDNS no\n",
            work.display()
        );
        let file = work.join("sshd_config");
        std::fs::write(&file, config).unwrap();
        let key = std::fs::read_to_string(work.join("host-key.pub")).unwrap();
        std::fs::write(work.join("known_hosts"), format!("* {key}")).unwrap();
        for node in Node::ALL {
            // It leaves its privileges there; every host has a /run of its own.
            let made = self.host(node).enter(|| std::fs::create_dir("/run/sshd"));
            made.unwrap();
            let sshd = self.host(node).command("/usr/sbin/sshd");
            let sshd = sshd.args(["-D", "-e", "-f"]).arg(&file);
            self.serve(node, sshd.spawn().unwrap(), 22);
        }
    }

    fn serve(&mut self, node: Node, service: Process, port: u16) {
        let listening = self.host(node).wait_tcp(port, LIMIT);
        listening.unwrap_or_else(|error| panic!("{error}: {}", service.stderr().unwrap()));
        self.services.push(service);
    }

    /// Makes a repository that has the content as a file.
    pub(crate) fn make_repository(&self) {
        let work = self.lab.work();
        let tree = work.join("tree").to_string_lossy().into_owned();
        let bare = work.join("repo.git").to_string_lossy().into_owned();
        common::run("git", ["init", "-q", &tree]);
        std::fs::write(work.join("tree/plain"), &self.content).unwrap();
        common::run("git", ["-C", &tree, "add", "plain"]);
        common::run("git", commit(&tree, "Add the file"));
        common::run("git", ["clone", "-q", "--bare", &tree, &bare]);
    }

    /// Makes a repository that is nothing but files of the web servers', with at
    /// least so many objects, each in a file of its own.
    pub(crate) fn make_dumb_repository(&self, objects: usize) {
        let tree = self.lab.work().join("tree");
        for number in 0..objects {
            std::fs::write(tree.join(number.to_string()), number.to_string()).unwrap();
        }
        let bare = self.lab.work().join("www/dumb.git");
        let [tree, bare] = [tree, bare].map(|path| path.to_string_lossy().into_owned());
        common::run("git", ["-C", &tree, "add", "."]);
        common::run("git", commit(&tree, "Add many files"));
        // Copied as they are, not packed.
        common::run("git", ["clone", "-q", "--bare", "--local", &tree, &bare]);
        common::run("git", ["-C", &bare, "update-server-info"]);
    }
}

/// The words with which git commits.
fn commit<'w>(tree: &'w str, message: &'w str) -> [&'w str; 10] {
    let (name, email) = ("user.name=Test", "user.email=test@any.test");
    [
        "-C", tree, "-c", name, "-c", email, "commit", "-q", "-m", message,
    ]
}

fn network(round_trip: Duration) -> Network {
    let [u1, u2] = Node::ALL.map(Node::unicast);
    let to_client = LinkSpec::new("c:eth0 2001:db8:c::2/64", "r0:c 2001:db8:c::1/64");
    let first = format!("{A}/128 via {}", Node::S1.next_hop());
    Network::new()
        .host("c", HostSpec::new().route("default via 2001:db8:c::1"))
        .host(
            "r0",
            HostSpec::router()
                .route(first)
                .route("2001:db8:51::/64 via 2001:db8:1::1")
                .route("2001:db8:52::/64 via 2001:db8:2::1"),
        )
        .host("r1", access_router(u1, "2001:db8:1::"))
        .host("r2", access_router(u2, "2001:db8:2::"))
        .host("s1", HostSpec::new().route("default via 2001:db8:51::1"))
        .host("s2", HostSpec::new().route("default via 2001:db8:52::1"))
        .add_link(to_client.delay(round_trip / 2))
        .link("r0:r1 2001:db8:1::/127", "r1:r0 2001:db8:1::1/127")
        .link("r0:r2 2001:db8:2::/127", "r2:r0 2001:db8:2::1/127")
        .link(format!("s1:eth0 {u1}/64"), "r1:s1 2001:db8:51::1/64")
        .link(format!("s2:eth0 {u2}/64"), "r2:s2 2001:db8:52::1/64")
        .name(NAME, A.to_string())
}

fn access_router(unicast: Ipv6Addr, default: &str) -> HostSpec {
    HostSpec::router()
        .route(format!("{A}/128 via {unicast}"))
        .route(format!("default via {default}"))
}

fn nginx(work: &Path, node: Node) -> String {
    let work = work.display();
    let node = node.name();
    format!(
        "# As who it is started: there may be no other user in a user namespace.\n\
         user root;\n\
         daemon off;\n\
         master_process off;\n\
         pid {work}/{node}/nginx.pid;\n\
         error_log stderr;\n\
         events {{}}\n\
         http {{\n\
             access_log off;\n\
             client_body_temp_path {work}/{node}/body;\n\
             proxy_temp_path {work}/{node}/proxy;\n\
             fastcgi_temp_path {work}/{node}/fastcgi;\n\
             uwsgi_temp_path {work}/{node}/uwsgi;\n\
             scgi_temp_path {work}/{node}/scgi;\n\
             server {{\n\
                 listen [::]:80;\n\
                 root {work}/www;\n\
                 location ~ ^/(gated|git)/ {{\n\
                     proxy_pass http://unix:{work}/upstream:;\n\
                     proxy_buffering off;\n\
                     proxy_read_timeout 300s;\n\
                 }}\n\
             }}\n\
         }}\n"
    )
}

/// Octets that do not compress, the same at every call (xorshift64).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.take(count / 8).flat_map(u64::to_le_bytes).collect()
}
