//! A routed network with two responders, whose routes are told by BIRD's RIPng.
//!
//! ```text
//!                       .-- r1 -- s1   U1
//! client -- r0 --------<                    both own A and announce it; r0 prefers s1
//!                       '-- r2 -- s2   U2
//! ```

use std::io::{BufRead, BufReader};
use std::net::Ipv6Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use aarp_lab::{Host, HostSpec, Lab, LinkSpec, Network, Process, wait_until};
use anyhow::{Context, Result};

pub(crate) const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
pub(crate) const PORT: u16 = 80;
/// One way, between the client and its router. Without any, an ICMPv6 error would come while
/// connect() still holds the socket, and the kernel would keep it for the next SYN, a second
/// later: as it never is between two machines.
const DELAY: Duration = Duration::from_millis(2);
const ROUTED: [&str; 5] = ["r0", "r1", "r2", "s1", "s2"];
/// What must happen does within this time, on a machine however slow.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Waits for a condition.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let mut failed = None;
    wait_until(what, LIMIT, || match is_so() {
        Ok(is_so) => Ok(is_so),
        Err(error) => {
            failed = Some(error);
            Ok(true)
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// The network at work.
pub(crate) struct Routed {
    services: Vec<Process>,
    /// That of s1, which dies and comes back.
    service: Option<Process>,
    announcers: Vec<JoinHandle<()>>,
    pub(crate) lab: Lab,
}

/// How a responder dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Death {
    /// The service is killed; the host goes on.
    Service,
    /// Nothing that the host would send or answer leaves it or comes in.
    Host,
    /// The link between the host and its router goes down, which both see.
    Link,
}

impl Death {
    pub(crate) const ALL: [Self; 3] = [Self::Service, Self::Host, Self::Link];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Host => "host",
            Self::Link => "link",
        }
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

pub(crate) fn unicast(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x50 + number, 0, 0, 0, 0, 2)
}

impl Routed {
    pub(crate) fn new(stage: &Path) -> Result<Self> {
        let lab = Lab::new(&network())?;
        let mut routed = Self {
            services: Vec::new(),
            service: None,
            announcers: Vec::new(),
            lab,
        };
        for (number, name) in ROUTED.iter().enumerate() {
            let host = routed.host(name)?;
            let file = host.dir().join("bird.conf");
            std::fs::write(&file, routing(number + 1, name))?;
            let bird = host.command("bird").args(["-f", "-c"]).arg(&file);
            let bird = bird
                .args(["-s", "bird.ctl", "-P", "bird.pid"])
                .cwd(host.dir());
            routed.services.push(bird.spawn()?);
            let socket = routed.host(name)?.dir().join("bird.ctl");
            wait_until("bird listens", LIMIT, || Ok(socket.exists()))?;
        }
        for name in ["s1", "s2"] {
            let responder = routed.responder(stage, name)?;
            routed.services.push(responder);
            let service = routed.serve(name)?;
            match name {
                "s1" => routed.service = Some(service),
                _ => routed.services.push(service),
            }
            routed.announce(name)?;
        }
        Ok(routed)
    }

    pub(crate) fn host(&self, name: &str) -> Result<&Host> {
        Ok(self.lab.host(name)?)
    }

    /// Starts aarp-responder, which checks the service.
    fn responder(&self, stage: &Path, name: &str) -> Result<Process> {
        let host = self.host(name)?;
        let config = host.dir().join("aarp.toml");
        // The defaults of docs/health.md: each 2 s, down after three failures.
        let text = format!("[[responder]]\nanycast = \"{A}\"\nchecks = [\"http:{PORT}/who\"]\n");
        std::fs::write(&config, text)?;
        let command = host.command(stage.join("bin/aarp-responder")).arg("run");
        let command = command.env("AARP_CONFIG", &config);
        let process = command
            .env("AARP_RUN_DIR", host.dir().join("run"))
            .spawn()?;
        process.wait_stderr(&format!("owns {A}"), LIMIT)?;
        Ok(process)
    }

    fn serve(&self, name: &str) -> Result<Process> {
        let host = self.host(name)?;
        let dir = host.dir().display();
        let file = host.dir().join("nginx.conf");
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
            .concat();
        let text = format!(
            "user root; daemon off; master_process off; pid {dir}/nginx.pid;\n\
             error_log stderr; events {{}}\nhttp {{ access_log off; {folders}\
             server {{ listen [::]:{PORT}; location = /who {{ default_type text/plain; \
             return 200 \"{name}\"; }} }} }}\n"
        );
        std::fs::write(&file, text)?;
        let server = host
            .command("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(&file);
        let server = server.spawn()?;
        host.wait_tcp(PORT, LIMIT)?;
        Ok(server)
    }

    /// Has BIRD announce A while aarp-responder says that its service is up: what an
    /// operator's own program does, as long as aarp-responder does not.
    fn announce(&mut self, name: &str) -> Result<()> {
        let dir = self.host(name)?.dir().to_owned();
        let socket = dir.join("run/responder.sock");
        wait_until("aarp-responder tells", LIMIT, || Ok(socket.exists()))?;
        let stream =
            UnixStream::connect(&socket).with_context(|| format!("{}", socket.display()))?;
        let follow = move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let word = match serde_json::from_str::<serde_json::Value>(&line) {
                    Ok(record) if record["state"] == "up" => "enable",
                    _ => "disable",
                };
                let told = std::process::Command::new("birdc")
                    .args(["-s", "bird.ctl", word, "anycast"])
                    .current_dir(&dir)
                    .output();
                if let Err(error) = told {
                    eprintln!("birdc: {error}");
                }
            }
        };
        self.announcers.push(std::thread::spawn(follow));
        Ok(())
    }

    /// Which responder the route of A leads to at r0; none where there is no route.
    pub(crate) fn leads_to(&self) -> Result<Option<u16>> {
        let route = self.lab.ip("r0", &format!("-6 route show {A}"))?;
        Ok([1, 2]
            .into_iter()
            .find(|n| route.contains(&format!("dev r{n} "))))
    }

    pub(crate) fn kill(&mut self, death: Death) -> Result<()> {
        match death {
            Death::Service => drop(self.service.take()),
            Death::Host => self.host("s1")?.nft(
                "table netdev dead {\nchain in {\n\
                 type filter hook ingress device eth0 priority 0; policy drop;\n}\n}\n\
                 table inet dead {\nchain out {\n\
                 type filter hook output priority -400\noifname eth0 drop\n}\n}\n",
            )?,
            Death::Link => drop(self.lab.ip("r1", "link set s1 down")?),
        }
        Ok(())
    }

    pub(crate) fn revive(&mut self, death: Death) -> Result<()> {
        match death {
            Death::Service => self.service = Some(self.serve("s1")?),
            Death::Host => self
                .host("s1")?
                .nft("delete table netdev dead\ndelete table inet dead\n")?,
            Death::Link => drop(self.lab.ip("r1", "link set s1 up")?),
        }
        until("r0 prefers s1 again", || Ok(self.leads_to()? == Some(1)))
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        // Their sockets end with what they follow.
        self.services.clear();
        for announcer in self.announcers.drain(..) {
            let _ = announcer.join();
        }
    }
}

fn network() -> Network {
    let responder = |number: u16| {
        HostSpec::new()
            .route(format!("default via 2001:db8:5{number}::1"))
            .sysctl("net.ipv6.conf.eth0.keep_addr_on_down", "1")
    };
    let kept = |interface: &str| {
        let name = format!("net.ipv6.conf.{interface}.keep_addr_on_down");
        HostSpec::router().sysctl(name, "1")
    };
    let to_client = LinkSpec::new("client:eth0 2001:db8:c::2/64", "r0:c 2001:db8:c::1/64");
    Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:c::1"))
        .host("r0", HostSpec::router())
        .host("r1", kept("s1"))
        .host("r2", kept("s2"))
        .host("s1", responder(1))
        .host("s2", responder(2))
        .add_link(to_client.delay(DELAY))
        .link("r0:r1 2001:db8:1::/127", "r1:r0 2001:db8:1::1/127")
        .link("r0:r2 2001:db8:2::/127", "r2:r0 2001:db8:2::1/127")
        .link(
            format!("s1:eth0 {}/64", unicast(1)),
            "r1:s1 2001:db8:51::1/64",
        )
        .link(
            format!("s2:eth0 {}/64", unicast(2)),
            "r2:s2 2001:db8:52::1/64",
        )
}

/// The configuration of BIRD: RIPng that updates each second and forgets after four, as
/// fast as it can be told to be.
fn routing(number: usize, name: &str) -> String {
    let is_responder = name.starts_with('s');
    let (anycast, is_enabled) = match is_responder {
        true => (
            format!("protocol static anycast {{ disabled; ipv6; route {A}/128 blackhole; }}\n"),
            "export where source = RTS_STATIC;",
        ),
        false => (String::new(), "export all;"),
    };
    // The way to s2 is the longer one.
    let metric = if name == "r0" {
        "interface \"r2\" { metric 3; update time 1; timeout time 4; garbage time 3; };\n"
    } else {
        ""
    };
    format!(
        "router id 10.0.0.{number};\nlog stderr all;\nprotocol device {{ scan time 1; }}\n\
         protocol direct {{ ipv6; interface \"-lo\", \"*\"; }}\n\
         protocol kernel {{ ipv6 {{ import none; export where source = RTS_RIP; }}; }}\n{anycast}\
         protocol rip ng ripng {{ ipv6 {{ import all; {is_enabled} }};\n{metric}\
         interface \"*\" {{ update time 1; timeout time 4; garbage time 3; }};\n}}\n"
    )
}
