//! The anycast address on the agent's own link: looked for before it is taken, announced
//! when it is, and given up to whoever has it.
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_lab::{Snap, wait_until};
use aarp_sys::neighbour::NeighbourSocket;
use aarp_wire::icmpv6;
use aarp_wire::ipv6::{Datagram, protocol};

use crate::decode::decoded;
use crate::site::{A, AGENT, LIMIT, Site, U1, count, networked};

/// The RetransTimer of the agent's link (site.rs), less what two clocks may differ.
const RETRANS: Duration = Duration::from_millis(290);
/// An address that no node of the link has.
const NOBODY: &str = "02:00:00:00:00:99";

/// The hardware address of an interface.
fn hardware(site: &Site, host: &str, interface: &str) -> String {
    let text = site
        .lab
        .ip(host, &format!("link show dev {interface}"))
        .unwrap();
    let mut words = text.split_whitespace();
    words.find(|word| *word == "link/ether").unwrap();
    words.next().unwrap().to_owned()
}

fn read(site: &Site, name: &str) -> String {
    let file = format!("/proc/sys/{}", name.replace('.', "/"));
    let text = site.host("haa").enter(|| std::fs::read_to_string(file));
    text.unwrap().trim().to_owned()
}

fn proxies(site: &Site) -> String {
    site.lab.ip("haa", "-6 neigh show proxy").unwrap()
}

/// An advertisement of A as another node of the agent's link would send it.
fn claim(site: &Site) {
    let router = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1);
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(A.octets());
    message.extend([2, 1, 2, 0, 0, 0, 0, 0x99]);
    icmpv6::fill_checksum(router, all, &mut message).unwrap();
    let datagram = Datagram {
        hop_limit: 255,
        ..Datagram::new(router, all)
    };
    let mut packet = vec![0; 40 + message.len()];
    let place = datagram.emit(protocol::ICMPV6, message.len(), &mut packet);
    place.unwrap().copy_from_slice(&message);
    site.host("rt").enter(move || {
        let socket = NeighbourSocket::open("haa").unwrap();
        socket.send(&packet).unwrap();
    });
}

/// Gives the router of the agent's link the address A there.
fn take(site: &Site) {
    let add = format!("-6 addr add {A}/128 dev haa nodad");
    site.lab.ip("rt", &add).unwrap();
    // The kernel joins the group of a new address when it likes.
    wait_until("it hears who asks for A", LIMIT, || {
        let groups = site.lab.ip("rt", "-6 maddr show dev haa")?;
        Ok(groups.contains("ff02::1:ff00:a"))
    })
    .unwrap();
}

const PROBES: &str = "icmpv6.type == 135 && ipv6.src == ::";
const ANNOUNCEMENTS: &str = "icmpv6.type == 136 && ipv6.dst == ff02::1 && eth.src == ";

/// RFC 6275 §10.3.1 and §10.4.1: nothing is registered before it was found out that nobody
/// has the address; then every neighbour hears of it, also one that knows another.
#[test]
fn an_address_is_looked_for_and_then_announced() {
    networked(|| {
        let site = Site::new();
        let (agent, mine) = (site.host("haa"), hardware(&site, "haa", "eth0"));
        agent
            .sysctl("net.ipv6.neigh.eth0.proxy_delay", "60")
            .unwrap();
        let stale = format!("-6 neigh replace {A} lladdr {NOBODY} dev haa nud stale");
        site.lab.ip("rt", &stale).unwrap();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let program = site.keyed_agent();
        let _binding = site.binding("s1", &["--spi", "256"]);
        let of_a = format!("icmpv6.nd.ns.target_address == {A}");
        let group = "ff02::1:ff00:a";
        let fields = ["ipv6.dst", "ipv6.hlim", "icmpv6.opt.nonce"];
        let probes = decoded(&capture, &format!("{PROBES} && {of_a}"), &fields);
        assert_eq!(probes.len(), 1, "{probes:?}");
        assert_eq!(probes[0].fields[..2], [group, "255"]);
        // Not before RetransTimer is over, though it was asked for at once.
        let answered = decoded(&capture, "mip6.mhtype == 6", &[]);
        let waited = answered[0].time - probes[0].time;
        assert!(waited >= RETRANS, "{waited:?}");
        let announced = format!("{ANNOUNCEMENTS}{mine}");
        let fields = [
            "icmpv6.nd.na.target_address",
            "icmpv6.nd.na.flag.r",
            "icmpv6.nd.na.flag.s",
            "icmpv6.nd.na.flag.o",
            "icmpv6.opt.linkaddr",
            "ipv6.src",
            "ipv6.hlim",
        ];
        wait_until("three announcements", LIMIT, || {
            Ok(decoded(&capture, &announced, &[]).len() >= 3)
        })
        .unwrap();
        let (address, source) = (A.to_string(), AGENT.to_string());
        for packet in decoded(&capture, &announced, &fields) {
            assert!(packet.time >= probes[0].time + RETRANS, "{packet:?}");
            let flags: Vec<bool> = packet.fields[1..4]
                .iter()
                .map(|flag| ["1", "True"].contains(&flag.as_str()))
                .collect();
            assert_eq!(flags, [false, false, true], "{packet:?}");
            let rest = [0, 4, 5, 6].map(|place| packet.fields[place].as_str());
            assert_eq!(rest, [&address, mine.as_str(), &source, "255"]);
        }
        let known = site.lab.ip("rt", &format!("-6 neigh show {A}")).unwrap();
        assert!(known.contains(&mine), "{known}");
        let ping = site.host("c").command("ping");
        ping.args(["-nc1", "-W30", &A.to_string()]).run().unwrap();
        // Answers are not put off while the agent runs.
        assert_eq!(read(&site, "net.ipv6.neigh.eth0.proxy_delay"), "0");
        assert!(program.terminate(LIMIT).unwrap().success());
        assert_eq!(read(&site, "net.ipv6.neigh.eth0.proxy_delay"), "60");
        assert_eq!(proxies(&site), "");
    });
}

/// RFC 6275 §10.3.1: status 134 while another node has the address. It is taken when that
/// is gone.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn an_address_that_another_node_has_is_not_taken() {
    networked(|| {
        let site = Site::new();
        let theirs = hardware(&site, "rt", "haa");
        take(&site);
        let agent = site.keyed_agent();
        let binding = site
            .binding_command("s1", &["--spi", "256"])
            .spawn()
            .unwrap();
        binding.wait_stderr("refused", LIMIT).unwrap();
        let record = site.agent_record();
        assert_eq!(count(&record, "/updates/refused/134"), 1, "{record:#}");
        assert_eq!(record["contested"], serde_json::json!([A]), "{record:#}");
        let said = agent.stderr().unwrap();
        assert!(
            said.contains(&format!("{A} belongs to the node {theirs}")),
            "{said}"
        );
        assert_eq!(proxies(&site), "");
        assert_eq!(site.owner(), None);
        drop(binding);
        site.lab
            .ip("rt", &format!("-6 addr del {A}/128 dev haa"))
            .unwrap();
        agent.wait_stderr("is free again", LIMIT).unwrap();
        let _binding = site.binding("s1", &["--spi", "256"]);
        assert!(proxies(&site).contains(&A.to_string()));
        assert_eq!(site.owner(), Some(U1));
        assert_eq!(site.agent_record()["contested"], serde_json::json!([]));
    });
}

/// One stray advertisement takes nothing; who answers when asked has the address.
#[test]
fn a_later_claim_to_the_address_is_looked_into() {
    networked(|| {
        let site = Site::new();
        let mine = hardware(&site, "haa", "eth0");
        let agent = site.keyed_agent();
        let binding = site.binding("s1", &["--spi", "256", "--lifetime", "4s"]);
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let announced = format!("{ANNOUNCEMENTS}{mine}");
        let probes = || decoded(&capture, PROBES, &[]);
        claim(&site);
        wait_until("it is asked for, and announced again", LIMIT, || {
            let Some(probe) = probes().pop() else {
                return Ok(false);
            };
            let after = decoded(&capture, &announced, &[]);
            let after = after
                .iter()
                .filter(|packet| packet.time > probe.time + RETRANS);
            Ok(after.count() > 0)
        })
        .unwrap_or_else(|error| panic!("{error}: {}", agent.stderr().unwrap()));
        assert_eq!(probes().len(), 1);
        assert!(proxies(&site).contains(&A.to_string()));
        assert_eq!(site.owner(), Some(U1));
        // And now somebody does have it.
        take(&site);
        claim(&site);
        agent
            .wait_stderr(&format!("{A} belongs to"), LIMIT)
            .unwrap();
        wait_until("it is not answered for", LIMIT, || {
            Ok(proxies(&site).is_empty())
        })
        .unwrap();
        binding.wait_stderr("refused", LIMIT).unwrap();
        let record = site.agent_record();
        assert!(count(&record, "/updates/refused/134") > 0, "{record:#}");
    });
}

/// Two interfaces of the agent's host on one link are no two nodes.
#[test]
fn an_agent_does_not_take_itself_for_another_node() {
    networked(|| {
        let site = Site::new();
        let pair = ["x0", "x1"];
        site.lab
            .ip("haa", "link add x0 type veth peer name x1")
            .unwrap();
        for (last, interface) in pair.iter().enumerate() {
            let add = format!("-6 addr add 2001:db8:0:1::7{last}/64 dev {interface} nodad");
            for words in [format!("link set {interface} up"), add] {
                site.lab.ip("haa", &words).unwrap();
            }
        }
        let agent = site.open_agent();
        wait_until("it answers on both", LIMIT, || {
            let proxies = proxies(&site);
            Ok(pair
                .iter()
                .all(|interface| proxies.contains(&format!("{A} dev {interface}"))))
        })
        .unwrap_or_else(|error| panic!("{error}: {}", agent.stderr().unwrap()));
        let said = agent.stderr().unwrap();
        assert!(!said.contains("belongs to"), "{said}");
        let _binding = site.binding("s1", &[]);
        assert_eq!(site.owner(), Some(U1));
    });
}
