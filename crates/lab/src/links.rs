//! Links: veth pairs between hosts, and what delays them.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use aarp_sys::netns;
use aarp_sys::packet::{Ring, disable_offloads};

use crate::error::Context;
use crate::host::{Host, Worker};
use crate::lab::without_offloads;
use crate::network::{End, LinkSpec, Network};
use crate::relay::{Relay, Shape};
use crate::{Error, Result, tools};

const MTU: u32 = 1500;

/// What stands between hosts.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    relays: Vec<Relay>,
    kind: Option<&'static str>,
    // Ends last: its namespace holds the middle of every delayed link.
    worker: Option<Worker>,
}

impl Wires {
    pub(crate) fn lost(&self) -> u64 {
        self.relays.iter().map(Relay::lost).sum()
    }

    pub(crate) fn kind(&self) -> Option<&'static str> {
        self.kind
    }
}

/// Runs a program on the thread of the wires, with lines on its standard input.
fn run(worker: &Worker, words: &[&str], input: String) -> Result<()> {
    let program = tools::find(words[0])?;
    let line = words.join(" ");
    let words: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
    let output = worker
        .run(move || {
            let mut child = Command::new(program)
                .args(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        })
        .context(|| format!("run `{line}`"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Command {
        host: "links".to_owned(),
        command: line,
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Makes the links of a network; their ends are down.
pub(crate) fn make(network: &Network, hosts: &BTreeMap<String, Host>) -> Result<Wires> {
    if network.links.is_empty() {
        return Ok(Wires::default());
    }
    let worker = Worker::start("wires")?;
    worker
        .run(netns::unshare_network)
        .context(|| "make the namespace of the links".into())?;
    let mut lines = String::new();
    for (number, link) in network.links.iter().enumerate() {
        add(&mut lines, number, link, hosts);
    }
    run(&worker, &["ip", "-batch", "-"], lines)?;
    for link in &network.links {
        if link.shaped() || link.offloads == Some(false) {
            for end in link.ends.iter().filter_map(|end| End::parse(end)) {
                without_offloads(&hosts[end.host], end.interface)?;
            }
        }
    }
    let mut wires = Wires::default();
    let shaped = || network.links.iter().enumerate().filter(|l| l.1.shaped());
    if shaped().next().is_some() {
        let netem = has_netem(&worker);
        wires.kind = Some(if netem { "netem" } else { "relay" });
        for (number, link) in shaped() {
            if netem {
                bridge(&worker, number, link)?;
            } else {
                wires.relays.push(relay(&worker, number, link)?);
            }
        }
    }
    wires.worker = Some(worker);
    Ok(wires)
}

fn add(lines: &mut String, number: usize, link: &LinkSpec, hosts: &BTreeMap<String, Host>) {
    let mtu = link.mtu.unwrap_or(MTU);
    let ends: Vec<_> = link.ends.iter().filter_map(|end| End::parse(end)).collect();
    // No index twice in a lab: the kernel takes its time, up to a second, to
    // note the carrier of an interface whose peer has the same index.
    let index = 10 + 4 * number;
    let place = |end: &End<'_>, index: usize| {
        let pid = hosts[end.host].init_pid();
        let name = end.interface;
        format!("name {name} index {index} mtu {mtu} netns {pid}")
    };
    if link.shaped() {
        for ((side, end), index) in ["a", "b"].iter().zip(&ends).zip([index, index + 2]) {
            let end = place(end, index);
            let middle = index + 1;
            let _ = writeln!(
                lines,
                "link add {end} type veth peer name w{number}{side} index {middle} mtu {mtu}\n\
                 link set dev w{number}{side} up"
            );
        }
    } else if let [one, other] = &ends[..] {
        let (one, other) = (place(one, index), place(other, index + 1));
        let _ = writeln!(lines, "link add {one} type veth peer {other}");
    }
}

/// Whether the kernel has netem. AARP_LAB_RELAY=1 says no, to test our own relay.
fn has_netem(worker: &Worker) -> bool {
    if std::env::var_os("AARP_LAB_RELAY").is_some_and(|value| value == "1") {
        return false;
    }
    let probe = "tc qdisc add dev lo root netem delay 1ms";
    let words: Vec<_> = probe.split(' ').collect();
    run(worker, &words, String::new()).is_ok()
}

/// Joins the two middles of a link by a bridge whose ports delay what leaves
/// them: not in the hosts, where a capture would see packets only after it.
fn bridge(worker: &Worker, number: usize, link: &LinkSpec) -> Result<()> {
    let mut lines = format!("link add br{number} type bridge mcast_snooping 0\n");
    for side in ["a", "b"] {
        let _ = writeln!(lines, "link set dev w{number}{side} master br{number}");
    }
    let _ = writeln!(lines, "link set dev br{number} up");
    run(worker, &["ip", "-batch", "-"], lines)?;
    let delay = link.delay.map_or(Duration::ZERO, |delay| delay.0);
    let delay = format!("{}us", delay.as_micros());
    let rate = link.rate.map(|rate| format!("{}bit", rate.0));
    for side in ["a", "b"] {
        let device = format!("w{number}{side}");
        let mut words = vec!["tc", "qdisc", "add", "dev", &device, "root", "netem"];
        words.extend(["limit", "100000", "delay", &delay]);
        words.extend(rate.iter().flat_map(|rate| ["rate", rate]));
        run(worker, &words, String::new())?;
    }
    Ok(())
}

fn relay(worker: &Worker, number: usize, link: &LinkSpec) -> Result<Relay> {
    let size = Relay::ring_size(link.mtu.unwrap_or(MTU));
    let open = |side: &str| {
        let device = format!("w{number}{side}");
        worker
            .run(move || {
                disable_offloads(&device)?;
                Ring::open(&device, size, true)
            })
            .context(|| format!("relay between {} and {}", link.ends[0], link.ends[1]))
    };
    let shape = Shape {
        delay: link.delay.map_or(Duration::ZERO, |delay| delay.0),
        bits_per_second: link.rate.map(|rate| rate.0),
    };
    Relay::start(&number.to_string(), [open("a")?, open("b")?], shape)
}
