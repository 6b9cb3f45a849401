//! An unmodified nginx behind the sidecar serves an unmodified curl through the agent:
//! every octet, over narrow paths and lossy ones.
use std::fs;
use std::path::{Path, PathBuf};

use aarp_lab::{Process, Snap};

use crate::decode::decoded;
use crate::site::{A, AGENT, CLIENT, LIMIT, Site, U1, count, networked};

/// A file that repeats itself nowhere within a window of TCP.
fn large(site: &Site, mebibytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = mebibytes << 17;
    let mut octets = Vec::with_capacity(words * 8);
    for _ in 0..words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend(state.to_le_bytes());
    }
    fs::write(site.host("s1").dir().join("www/large"), &octets).unwrap();
    octets
}

/// A site whose responder has nginx and a large file.
fn site(mebibytes: usize) -> (Site, Vec<u8>) {
    let mut site = Site::simple(&[]);
    let nginx = site.nginx("s1");
    site.keep(nginx);
    let octets = large(&site, mebibytes);
    (site, octets)
}

/// Fetches the file, and compares every octet.
fn fetch(site: &Site, octets: &[u8]) {
    let file = site.host("c").dir().join("fetched");
    let curl = site.curl(50, "/large").arg("-o").arg(&file);
    curl.run().unwrap();
    let fetched = fs::read(&file).unwrap();
    assert_eq!(fetched.len(), octets.len());
    assert!(fetched == octets, "other octets");
}

/// Both ways through the tunnel, none past it.
fn assert_by_the_agent(site: &Site) {
    let record = site.agent_record();
    assert!(count(&record, "/relayed/to_responders") > 10, "{record:#}");
    assert!(count(&record, "/relayed/to_initiators") > 10, "{record:#}");
}

#[test]
fn a_large_file_arrives_byte_for_byte() {
    networked(|| {
        let (site, octets) = site(32);
        let capture = site.lab.capture("rc", "rt").unwrap();
        fetch(&site, &octets);
        assert_by_the_agent(&site);
        // The initiator has seen nothing but A.
        let packets = capture.packets().unwrap();
        let (a, client) = (A.into(), CLIENT.into());
        let pairs = [(a, client), (client, a)];
        let tcp = packets.iter().filter(|packet| packet.tcp().is_some());
        assert!(tcp.clone().all(|p| pairs.contains(&(p.src, p.dst))));
        assert!(tcp.count() > 10_000);
    });
}

/// The tunnel's path is narrower than the hosts know, in both directions of the tunnel.
#[test]
fn a_narrow_path_to_the_responder() {
    networked(|| {
        let (site, octets) = site(4);
        site.narrow("r1", 1400);
        let capture = site.lab.capture("r1", "rt").unwrap();
        fetch(&site, &octets);
        assert_by_the_agent(&site);
        // Nobody fragments: the ends have learned what fits.
        let fragments = decoded(&capture, "ipv6.fraghdr", &["ipv6.src"]);
        assert!(fragments.is_empty(), "{fragments:?}");
        // And the way up, where the client has the large packets.
        upload(&site, &octets);
        let fragments = decoded(&capture, "ipv6.fraghdr", &["ipv6.src"]);
        assert!(fragments.is_empty(), "{fragments:?}");
    });
}

/// The client sends the file: nginx refuses to store it, but only when it has it all.
fn upload(site: &Site, octets: &[u8]) {
    let file = site.host("c").dir().join("up");
    fs::write(&file, octets).unwrap();
    // A stream that the responder writes down, octet for octet.
    let received = site.host("s1").dir().join("received");
    let nc = site.host("s1").command("nc.openbsd");
    let nc = nc
        .args(["-6", "-l", "7000"])
        .stdout_to(&received)
        .spawn()
        .unwrap();
    site.host("s1").wait_tcp(7000, LIMIT).unwrap();
    let send = site.host("c").command("nc.openbsd");
    let send = send.args(["-N", "-w50", &A.to_string(), "7000"]);
    send.stdin(fs::File::open(&file).unwrap()).run().unwrap();
    assert!(nc.wait(LIMIT).unwrap().success());
    assert!(fs::read(&received).unwrap() == octets, "other octets");
}

/// The path between agent and initiator is narrow: the router there tells A, and that
/// goes through the tunnel to the responder.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_narrow_path_to_the_initiator() {
    networked(|| {
        let (site, octets) = site(4);
        site.narrow("rc", 1400);
        let capture = site.lab.capture("s1", "eth0").unwrap();
        fetch(&site, &octets);
        assert_by_the_agent(&site);
        // As s1 received it: a packet in a packet that quotes a third.
        let told = "icmpv6.type == 2 && icmpv6.mtu == 1400";
        let told = decoded(&capture, told, &["ipv6.src", "ipv6.dst"]);
        assert!(!told.is_empty());
        let begins = format!("{AGENT},");
        assert!(
            told.iter().all(|p| p.fields[0].starts_with(&begins)),
            "{told:?}"
        );
    });
}

/// Near 1280 octets an inner packet of 1280, which nobody may be asked to make smaller,
/// goes in outer fragments.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_path_of_1280_takes_outer_fragments() {
    networked(|| {
        let (site, octets) = site(2);
        site.narrow("r1", 1280);
        let capture = site.lab.capture("r1", "rt").unwrap();
        fetch(&site, &octets);
        upload(&site, &octets);
        assert_by_the_agent(&site);
        for (from, to) in [(AGENT, U1), (U1, AGENT)] {
            let outer = format!("ipv6.fraghdr && ipv6.src == {from} && ipv6.dst == {to}");
            let fragments = decoded(&capture, &outer, &["ipv6.fraghdr.nxt", "frame.len"]);
            assert!(fragments.len() > 1000, "{from}: {}", fragments.len());
            for fragment in &fragments {
                assert_eq!(fragment.fields[0], "41", "the tunnel's, not the service's");
                let len: usize = fragment.fields[1].parse().unwrap();
                assert!(len <= 14 + 1280, "{len}");
            }
        }
        // No initiator was asked for less than 1280.
        let asked = decoded(
            &capture,
            "icmpv6.type == 2 && icmpv6.mtu < 1280",
            &["ipv6.src"],
        );
        assert!(asked.is_empty(), "{asked:?}");
    });
}

/// Of a hundred packets two are lost, in each direction, inside the tunnel and outside.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_lossy_path() {
    networked(|| {
        let (site, octets) = site(2);
        site.forwarding("meta l4proto { tcp, 41 } numgen random mod 100 < 2 counter drop");
        fetch(&site, &octets);
        assert_by_the_agent(&site);
        let listed = site
            .host("rt")
            .command("nft")
            .args(["list", "table", "inet", "path"]);
        let listed = String::from_utf8(listed.run().unwrap().stdout).unwrap();
        let lost = listed.split("packets ").nth(1).unwrap();
        let lost: u32 = lost.split(' ').next().unwrap().parse().unwrap();
        assert!(lost > 20, "{listed}");
    });
}

const PORT: &str = "7777";

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mobility/scripts/datagrams.py")
}

fn datagram_service(site: &Site) -> Process {
    let python = site.host("s1").command("python3").arg(script());
    let service = python.args(["serve", PORT]).spawn().unwrap();
    site.host("s1").wait_udp(7777, LIMIT).unwrap();
    service
}

/// How often it had to be asked.
fn ask(site: &Site, sent: usize, wanted: usize) -> u32 {
    let python = site.host("c").command("python3").arg(script());
    let sizes = [sent, wanted].map(|size| size.to_string());
    let python = python.args(["ask", &A.to_string(), PORT]).args(sizes);
    let output = String::from_utf8(python.run().unwrap().stdout).unwrap();
    output.trim().parse().unwrap()
}

/// A datagram that fills the link is too big for the tunnel: the initiator is told how
/// much fits, with its packet quoted; the next one arrives.
#[test]
fn a_large_datagram_is_answered_with_packet_too_big() {
    networked(|| {
        for mtu in [1500, 1400] {
            let mut site = Site::simple(&[]);
            let service = datagram_service(&site);
            site.keep(service);
            if mtu < 1500 {
                site.narrow("r1", mtu);
            }
            let capture = site.lab.capture_with("c", "eth0", Snap::Whole).unwrap();
            let tries = ask(&site, 1452, 100);
            // The first is lost at the agent, or a narrow path loses one more, of which
            // the agent is told.
            assert!((2..=3).contains(&tries), "{tries}");
            let fields = [
                "ipv6.src",
                "ipv6.dst",
                "icmpv6.mtu",
                "ipv6.plen",
                "udp.length",
            ];
            let told = decoded(&capture, "icmpv6.type == 2", &fields);
            assert!(!told.is_empty());
            let last = told.last().unwrap();
            assert_eq!(last.fields[0], format!("{AGENT},{CLIENT}"));
            assert_eq!(last.fields[1], format!("{CLIENT},{A}"));
            assert_eq!(last.fields[2], (mtu - 40).to_string());
            // As much as fits 1280 octets, of what a router has quoted of that.
            let quoted = if mtu < 1500 { "1200," } else { "1240," };
            assert!(last.fields[3].starts_with(quoted), "{last:?}");
            assert_eq!(last.fields[4], "1460");
        }
    });
}

/// The same for what a service answers, in its own host.
#[test]
fn a_large_answer_arrives() {
    networked(|| {
        let mut site = Site::simple(&[]);
        let service = datagram_service(&site);
        site.keep(service);
        // The device of the tunnel has the right size from the start.
        assert_eq!(ask(&site, 100, 1452), 1);
        assert_eq!(ask(&site, 100, 9000), 1);
        assert!(ask(&site, 9000, 9000) <= 2);
        // What nobody knows beforehand costs a few.
        site.narrow("r1", 1400);
        let tries = ask(&site, 100, 1452);
        assert!((2..=4).contains(&tries), "{tries}");
        site.narrow("r1", 1280);
        let tries = ask(&site, 100, 4000);
        assert!((2..=4).contains(&tries), "{tries}");
        assert!(ask(&site, 4000, 4000) <= 4);
    });
}
