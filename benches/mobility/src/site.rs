//! The network: a client, the agent's host, which forwards, and a responder.
//!
//! ```text
//! client 2001:db8:1::2 --- agent 2001:db8:1::1, 2001:db8:2::1 --- responder 2001:db8:2::2
//! ```

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use aarp_lab::{HostSpec, Lab, Network, Process};
use aarp_wire::ipv6::Datagram;
use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

pub(crate) const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
pub(crate) const AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
pub(crate) const RESPONDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
pub(crate) const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
/// What stands for the responder where the agent's host translates addresses.
pub(crate) const TRANSLATED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x54);
/// The agent's CPU.
const AGENT_CPU: &str = "1";
const LIMIT: Duration = Duration::from_secs(30);

/// Has this thread, and what it starts, run on one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).context("sched_setaffinity")
}

pub(crate) fn network() -> Result<Lab> {
    let network = Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:1::1"))
        .host("agent", HostSpec::router())
        .host(
            "responder",
            HostSpec::new().route("default via 2001:db8:2::1"),
        )
        .link("client:eth0 2001:db8:1::2/64", "agent:c 2001:db8:1::1/64")
        .link(
            "responder:eth0 2001:db8:2::2/64",
            "agent:r 2001:db8:2::1/64",
        );
    Ok(Lab::new(&network)?)
}

/// Starts the agent, on its CPU, with a table and keys.
pub(crate) fn agent(lab: &Lab, stage: &Path, home: &str, keys: Option<&str>) -> Result<Process> {
    let folder = lab.work().join("agent-files");
    fs::create_dir(&folder)?;
    let mut table = format!("[agent]\naddress = \"{AGENT}\"\nhome = [\"{home}\"]\n");
    match keys {
        Some(keys) => {
            use std::os::unix::fs::PermissionsExt;
            let file = folder.join("keys.toml");
            fs::write(&file, keys)?;
            fs::set_permissions(file, PermissionsExt::from_mode(0o600))?;
        }
        None => table += "insecure_unauthenticated = true\n",
    }
    fs::write(folder.join("aarp.toml"), table)?;
    let command = lab.host("agent")?.command("taskset");
    let command = command
        .args(["-c", AGENT_CPU])
        .arg(stage.join("bin/aarp-agent"));
    let command = command
        .arg("run")
        .arg("--config")
        .arg(folder.join("aarp.toml"));
    let command = command.arg("--keys").arg(folder.join("keys.toml"));
    let process = command.env("AARP_RUN_DIR", &folder).spawn()?;
    process.wait_stderr("serves", LIMIT)?;
    Ok(process)
}

/// Registers the responder.
pub(crate) fn binding(lab: &Lab, stage: &Path) -> Result<Process> {
    let folder = lab.work().join("binding-files");
    fs::create_dir(&folder)?;
    let command = lab
        .host("responder")?
        .command(stage.join("bin/aarp-binding"));
    let (a, agent) = (ANYCAST.to_string(), AGENT.to_string());
    let command = command.args([
        "run",
        "--anycast",
        &a,
        "--agent",
        &agent,
        "--lifetime",
        "1h",
    ]);
    let command = command
        .env("AARP_RUN_DIR", &folder)
        .env("AARP_STATE_DIR", &folder);
    let process = command.spawn()?;
    process.wait_stderr("registered with", LIMIT)?;
    Ok(process)
}

/// What the agent says of itself.
pub(crate) fn status(lab: &Lab, stage: &Path) -> Result<serde_json::Value> {
    let command = lab.host("agent")?.command(stage.join("bin/aarp-agent"));
    let command = command.env("AARP_RUN_DIR", lab.work().join("agent-files"));
    let output = command.args(["status", "--json"]).run()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(
        text.lines().next().unwrap_or_default(),
    )?)
}

/// The processor time of a process until now, in seconds.
pub(crate) fn processor_time(process: &Process) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid()))?;
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    // utime and stime, in ticks of 10 ms.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 / 100.0)
}

/// A UDP datagram of 64 octets altogether to the discard port.
pub(crate) fn datagram(destination: Ipv6Addr) -> Result<Vec<u8>> {
    let mut packet = [0; 64];
    let headers = Datagram::new(CLIENT, destination);
    let udp = headers
        .emit(17, 24, &mut packet)
        .map_err(|error| anyhow::anyhow!("a packet: {error:?}"))?;
    udp[..6].copy_from_slice(&[0x30, 0x39, 0, 9, 0, 24]);
    // The sum of all words and the checksum is all ones (RFC 768).
    let mut sum: u32 = 17 + 24;
    let addresses = [CLIENT.octets(), destination.octets()].concat();
    for pair in addresses.chunks(2).chain(udp.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    udp[6..8].copy_from_slice(&(!sum as u16).to_be_bytes());
    Ok(packet.to_vec())
}
