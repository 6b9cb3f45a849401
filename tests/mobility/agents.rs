//! Several agents: each has a key of its own, or what is sent to one is good for another.
use std::net::Ipv6Addr;

use aarp_lab::{Process, Snap, wait_until};
use aarp_wire::mobility;

use crate::forged::{HEADERS, send, updates};
use crate::site::{A, AGENT, LIMIT, Site, U1, count, networked};

/// The second agent: a router, to which A would be routed.
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 1);

/// The other agent's record, and the number of the binding of A there.
fn other(site: &Site) -> (serde_json::Value, Option<u64>) {
    let status = site
        .program("r2", "aarp-agent")
        .args(["status", "--json", "--run-dir"]);
    let output = status.arg(site.host("r2").dir()).run().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let agent: serde_json::Value = records.next().unwrap();
    let binding = records.next().map(|binding| count(&binding, "/sequence"));
    (agent, binding)
}

fn other_agent(site: &Site, keys: &str) -> Process {
    let keys = site.private("other.toml", keys);
    let agent = site
        .program("r2", "aarp-agent")
        .args(["run", "--address", &OTHER.to_string()]);
    let agent = agent
        .args(["--home", &A.to_string()])
        .arg("--keys")
        .arg(keys);
    let agent = agent
        .arg("--run-dir")
        .arg(site.host("r2").dir())
        .spawn()
        .unwrap();
    agent.wait_stderr("serves ", LIMIT).unwrap();
    agent
}

/// The packet as it would be to another agent; its authenticator does not say which.
fn redirected(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[24..40].copy_from_slice(&OTHER.octets());
    mobility::fill_checksum(A, OTHER, &mut packet[HEADERS..]).unwrap();
    packet
}

#[test]
fn what_is_sent_to_one_agent_is_nothing_to_another() {
    networked(|| {
        let site = Site::new();
        let key = |spi: u32, digit: char| {
            let octets = digit.to_string().repeat(32);
            let peer = "peer = \"ar1@example.org\"\nmay_register = [\"2001:db8:0:1::a\"]\n";
            format!("[[key]]\nspi = {spi}\nkey = \"{octets}\"\n{peer}")
        };
        let (first, second) = (key(256, 'a'), key(266, 'b'));
        let own = site.private("own.toml", &first);
        let _agent = site.agent(&["--keys", &own.to_string_lossy()]);
        let _other = other_agent(&site, &second);
        let keys = site.private("both.toml", &format!("{first}{second}"));
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let sidecar = |agents: &str| {
            let config = format!("[[binding]]\nanycast = \"{A}\"\nspi = 256\nagents = {agents}\n");
            let file = site.lab.work().join("agents.toml");
            std::fs::write(&file, config).unwrap();
            let binding = site.program("s1", "aarp-binding").args(["run", "--config"]);
            let binding = binding.arg(&file).arg("--keys").arg(&keys);
            let binding = binding.arg("--state-dir").arg(site.host("s1").dir());
            binding.spawn().unwrap()
        };
        let binding = sidecar(&format!(
            "[\"{AGENT}\", {{ address = \"{OTHER}\", spi = 266 }}]"
        ));
        for agent in [AGENT, OTHER] {
            let line = format!("at {agent}: registered with {U1}");
            binding.wait_stderr(&line, LIMIT).unwrap();
        }
        let said = binding.stderr().unwrap();
        assert!(!said.contains("WARNING"), "{said}");
        let (_, bound) = other(&site);
        capture.packets().unwrap();
        let recorded = updates(&std::fs::read(capture.path()).unwrap());
        assert!(!recorded.is_empty());
        let unknown = |site: &Site| count(&other(site).0, "/updates/unanswered/unknown");
        let before = unknown(&site);
        let packets: Vec<_> = recorded.iter().map(|packet| redirected(packet)).collect();
        let number = packets.len();
        assert_eq!(send(&site, "s2", packets), number);
        wait_until("they are counted", LIMIT, || {
            Ok(unknown(&site) == before + number as u64)
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", other(&site).0));
        assert_eq!(other(&site).1, bound, "it has the number that it had");
        drop(binding);
        // One key for both is warned of.
        let binding = sidecar(&format!("[\"{AGENT}\", \"{OTHER}\"]"));
        let line = format!("WARNING: the key with spi 256 is used at {AGENT} and {OTHER}");
        binding.wait_stderr(&line, LIMIT).unwrap();
    });
}
