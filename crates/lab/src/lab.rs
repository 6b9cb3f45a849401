//! A network at work.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::capture::{Capture, Snap};
use crate::error::Context;
use crate::expand::Variables;
use crate::folder::Folder;
use crate::host::Host;
use crate::links::{self, Wires};
use crate::network::{End, Network};
use crate::scenario::Scenario;
use crate::wait::wait_until;
use crate::{Error, Result, tools};
use aarp_sys::netns;
use aarp_sys::packet::{disable_offloads, is_running};
use parking_lot::Mutex;

/// A network in namespaces. Dropping it ends every process in it and removes it.
#[derive(Debug)]
pub struct Lab {
    // In this order: hosts end first, then what joins them, then their files.
    hosts: BTreeMap<String, Host>,
    wires: Wires,
    marks: Mutex<BTreeMap<String, Duration>>,
    captures: AtomicU32,
    work: Folder,
}

impl Lab {
    /// Makes a network.
    pub fn new(network: &Network) -> Result<Self> {
        Self::new_in(network, Folder::make()?)
    }

    /// Makes the network of a scenario, by name or file, with its files; nothing
    /// is started in it. [`Runner::start`](crate::Runner::start) does that too.
    pub fn from_scenario(name: &str, variables: Variables) -> Result<Self> {
        let (scenario, work) = Scenario::open(name, variables)?;
        Self::new_in(&scenario.network(), work)
    }

    /// Makes a network whose files are in `work`.
    pub(crate) fn new_in(network: &Network, work: Folder) -> Result<Self> {
        network.check("network")?;
        if !netns::may_administer() {
            let why = "CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN are needed";
            return Err(Error::NotPermitted(why.to_owned()));
        }
        tools::find("ip")?;
        let hosts_file = work.path().join("hosts");
        fs::write(&hosts_file, hosts_table(network))
            .context(|| format!("write {}", hosts_file.display()))?;
        let mut hosts = BTreeMap::new();
        for name in network.hosts.keys() {
            let host = Host::start(name, work.path().join(name), &hosts_file)?;
            hosts.insert(name.clone(), host);
        }
        let mut lab = Self {
            hosts,
            wires: Wires::default(),
            marks: Mutex::default(),
            captures: AtomicU32::new(0),
            work,
        };
        lab.configure(network)?;
        Ok(lab)
    }

    fn configure(&mut self, network: &Network) -> Result<()> {
        for (name, host) in &self.hosts {
            let spec = &network.hosts[name];
            for scope in ["all", "default"] {
                host.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "0")?;
                // No router advertisements are sent here: nobody need ask for them.
                host.sysctl(&format!("net.ipv6.conf.{scope}.router_solicitations"), "0")?;
            }
            if spec.forwarding {
                host.sysctl("net.ipv6.conf.all.forwarding", "1")?;
                host.sysctl("net.ipv4.ip_forward", "1")?;
            }
            // As systemd sets it; a user namespace knows no group but its own.
            if host
                .sysctl("net.ipv4.ping_group_range", "0 2147483647")
                .is_err()
            {
                host.sysctl("net.ipv4.ping_group_range", "0 0")?;
            }
            for (name, value) in &spec.sysctls {
                if name.contains(".conf.all.") || name.contains(".conf.default.") {
                    host.sysctl(name, value)?;
                }
            }
        }
        self.wires = links::make(network, &self.hosts)?;
        self.each(|host| host.ip_batch("-6", &addresses(network, host.name())))?;
        for end in network.links.iter().flat_map(|link| &link.ends) {
            let Some(end) = End::parse(end) else { continue };
            let (host, device) = (self.host(end.host)?, end.interface.to_owned());
            let what = format!("{}:{device} has a carrier", end.host);
            wait_until(&what, Duration::from_secs(5), || {
                let device = device.clone();
                host.enter(move || is_running(&device))
                    .context(|| what.clone())
            })?;
        }
        self.each(|host| {
            let spec = &network.hosts[host.name()];
            for family in ["-6", "-4"] {
                let lines = routes(&spec.routes, family);
                host.ip_batch(family, &lines)?;
            }
            for (name, value) in &spec.sysctls {
                host.sysctl(name, value)?;
            }
            match &spec.firewall {
                Some(rules) => host.nft(rules),
                None => Ok(()),
            }
        })
    }

    /// Does something in every host, in all of them at once.
    fn each(&self, job: impl Fn(&Host) -> Result<()> + Sync) -> Result<()> {
        std::thread::scope(|scope| {
            let job = &job;
            let threads: Vec<_> = self
                .hosts
                .values()
                .map(|host| scope.spawn(move || job(host)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|p| std::panic::resume_unwind(p))
                })
                .collect::<Vec<_>>()
                .into_iter()
                .collect()
        })
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.get(name).ok_or_else(|| Error::Unknown {
            kind: "host",
            name: name.to_owned(),
        })
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// The folder for this lab's files; removed with it.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Runs `ip` with these words in a host.
    pub fn ip(&self, host: &str, words: &str) -> Result<String> {
        self.host(host)?.ip(words)
    }

    /// Starts capturing packets on an interface of a host.
    pub fn capture(&self, host: &str, interface: &str) -> Result<Capture> {
        self.capture_with(host, interface, Snap::Headers)
    }

    /// Starts capturing packets, as much of each as `snap` says.
    pub fn capture_with(&self, host: &str, interface: &str, snap: Snap) -> Result<Capture> {
        let number = self.captures.fetch_add(1, Ordering::Relaxed);
        let file = format!("{number}-{host}-{interface}.pcap");
        let path = self.work.path().join(file);
        Capture::start(self.host(host)?, interface, snap, path)
    }

    /// Gives the present moment a name, and returns it on the clock of captured
    /// packets.
    pub fn mark(&self, name: &str) -> Duration {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut marks = self.marks.lock();
        marks.insert(name.to_owned(), now);
        now
    }

    /// The moment of that name.
    pub fn marked(&self, name: &str) -> Result<Duration> {
        let marks = self.marks.lock();
        marks.get(name).copied().ok_or_else(|| Error::Unknown {
            kind: "mark",
            name: name.to_owned(),
        })
    }

    /// Frames that links with a delay or a rate have lost so far.
    pub fn lost(&self) -> u64 {
        self.wires.lost()
    }

    /// What makes the delays: `"netem"`, `"relay"`, or nothing.
    pub fn delayed_by(&self) -> Option<&'static str> {
        self.wires.kind()
    }
}

fn hosts_table(network: &Network) -> String {
    let mut table = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n".to_owned();
    for (name, addresses) in &network.names {
        for address in addresses {
            let _ = writeln!(table, "{address} {name}");
        }
    }
    table
}

/// The lines of `ip -batch` that add the routes of a family.
fn routes(routes: &[String], family: &str) -> String {
    routes
        .iter()
        .filter(|route| route.contains(':') == (family == "-6"))
        .map(|route| format!("route add {route}\n"))
        .collect()
}

/// The lines of `ip -batch` that bring a host's interfaces up with their addresses.
fn addresses(network: &Network, host: &str) -> String {
    let mut lines = "link set dev lo up\n".to_owned();
    let ends = network.links.iter().flat_map(|link| &link.ends);
    let ends: Vec<_> = ends
        .filter_map(|end| End::parse(end))
        .filter(|end| end.host == host)
        .collect();
    let add = |lines: &mut String, address: &str, interface: &str| {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        let _ = writeln!(lines, "address add {address} dev {interface}{nodad}");
    };
    for end in &ends {
        for address in &end.addresses {
            add(&mut lines, address, end.interface);
        }
        let _ = writeln!(lines, "link set dev {} up", end.interface);
    }
    for (interface, list) in &network.hosts[host].addresses {
        for address in list {
            add(&mut lines, address, interface);
        }
    }
    lines
}

pub(crate) fn without_offloads(host: &Host, interface: &str) -> Result<()> {
    let device = interface.to_owned();
    host.enter(move || disable_offloads(&device))
        .context(|| format!("{}:{interface}: switch offloads off", host.name()))
}
