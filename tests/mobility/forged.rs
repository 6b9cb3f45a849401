//! Forged and malformed Binding Updates from real sockets: counted, answered as the RFC
//! says or not at all, no mapping changed, and the kernel says nothing.
use std::net::Ipv6Addr;

use aarp_lab::{Capture, Snap, wait_until};
use aarp_sys::raw6::{PacketBatch, RawSender};
use aarp_wire::ipv6::{Datagram, Extension};
use aarp_wire::mobility::{self, Message, MobilityOption, MobilityRepr, UpdateFlags};

use crate::decode::decoded;
use crate::floods::judged;
use crate::site::{A, AGENT, B, LIMIT, Site, U1, U2, count, networked};

/// Octets of the headers before the Mobility Header of an update.
pub(crate) const HEADERS: usize = 64;
const HOME: UpdateFlags = UpdateFlags(0xc000);

/// Sends packets from a host as they are; returns how many its kernel took.
pub(crate) fn send(site: &Site, host: &str, packets: Vec<Vec<u8>>) -> usize {
    const RAW: u8 = 255;
    site.host(host).enter(move || {
        let sender = RawSender::open(RAW).unwrap();
        let mut batch = PacketBatch::new(64, 2048);
        let mut taken = 0;
        for packets in packets.chunks(64) {
            for packet in packets {
                batch.push(packet).unwrap();
            }
            taken += sender.send(&mut batch, |_| {});
        }
        taken
    })
}

/// An update as it would be right, but for what the arguments say.
pub(crate) struct Update {
    pub(crate) source: Ipv6Addr,
    pub(crate) home: Option<Ipv6Addr>,
    pub(crate) alternate: Option<Ipv6Addr>,
    pub(crate) sequence: u16,
    pub(crate) flags: UpdateFlags,
    pub(crate) lifetime: u16,
}

impl Update {
    pub(crate) fn new(source: Ipv6Addr, sequence: u16) -> Self {
        Self {
            source,
            home: Some(A),
            alternate: None,
            sequence,
            flags: HOME,
            lifetime: 100,
        }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let message = Message::BindingUpdate {
            sequence: self.sequence,
            flags: self.flags,
            lifetime: self.lifetime,
        };
        let option = self.alternate.map(MobilityOption::AlternateCareOf);
        let options = option.as_slice();
        let datagram = Datagram {
            extension: self.home.map(Extension::HomeAddress),
            ..Datagram::new(self.source, AGENT)
        };
        let mut room = [0; 1280];
        let repr = MobilityRepr { message, options };
        repr.emit_packet(&datagram, &mut room).unwrap().to_vec()
    }
}

/// Has the right payload length and checksum, whatever else is wrong.
fn mended(mut packet: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    mobility::fill_checksum(A, AGENT, &mut packet[HEADERS..]).unwrap();
    packet
}

/// An update whose Mobility Header has these octets from a place on.
fn with(place: usize, octets: &[u8]) -> Vec<u8> {
    let mut packet = Update::new(U2, 1).packet();
    let from = HEADERS + place;
    packet.resize(packet.len().max(from + octets.len()), 0);
    packet[from..from + octets.len()].copy_from_slice(octets);
    mended(packet)
}

/// An update with these options, in units of eight octets.
fn options(octets: &[u8]) -> Vec<u8> {
    assert_eq!((12 + octets.len()) % 8, 0, "{octets:?}");
    let mut packet = Update::new(U2, 1).packet();
    packet.truncate(HEADERS + 12);
    packet.extend(octets);
    packet[HEADERS + 1] = u8::try_from((12 + octets.len()) / 8 - 1).unwrap();
    mended(packet)
}

/// The number of the binding of A.
pub(crate) fn bound_number(site: &Site) -> u16 {
    let records = site.status("haa", "aarp-agent");
    u16::try_from(count(&records[1], "/sequence")).unwrap()
}

/// Nothing that only a kernel says about such packets: that it knows no such option,
/// header or protocol.
#[track_caller]
pub(crate) fn assert_kernel_silent(capture: &Capture, from: Ipv6Addr) {
    let filter = format!("icmpv6.type == 4 && icmpv6.code != 0 && ipv6.src#1 == {from}");
    let said = decoded(capture, &filter, &["_ws.col.Info"]);
    assert!(said.is_empty(), "{said:?}");
}

/// Each kind, and what counts it: "unanswered" by a reason, or "refused" by a status.
fn kinds(number: u16) -> Vec<(&'static str, String, Vec<u8>)> {
    let next = number.wrapping_add(1);
    let mut kinds = Vec::new();
    let mut add = |name, how: &str, packet: Vec<u8>| kinds.push((name, how.to_owned(), packet));
    let mut wrong = Update::new(U2, next).packet();
    wrong[HEADERS + 5] ^= 1;
    add("checksum", "unanswered/checksum", wrong);
    // Cut off everywhere, with a length field that says so.
    for len in [1, 2, 7, 8, 11, 12, 15] {
        let mut packet = Update::new(U2, next).packet();
        packet.truncate(HEADERS + len);
        let payload = u16::try_from(packet.len() - 40).unwrap();
        packet[4..6].copy_from_slice(&payload.to_be_bytes());
        add("cut off", "unanswered/malformed", packet);
    }
    add(
        "longer than the packet",
        "unanswered/malformed",
        with(1, &[20]),
    );
    add("another message", "unanswered/message", {
        let mut packet = with(2, &[1]);
        packet[HEADERS + 6] = 0;
        mended(packet)
    });
    let long = [1, 200, 0, 0];
    add(
        "option beyond the end",
        "unanswered/options",
        options(&long),
    );
    let mut short = vec![0, 0, 3, 15];
    short.extend([0x20; 16]);
    add(
        "short care-of option",
        "unanswered/options",
        options(&short),
    );
    let long = [&[3, 17][..], &[0x20; 17], &[0]].concat();
    add("long care-of option", "unanswered/options", options(&long));
    add(
        "short identifier",
        "unanswered/options",
        options(&[8, 0, 0, 0]),
    );
    add(
        "short timestamp",
        "unanswered/options",
        options(&[10, 2, 0, 0]),
    );
    for care_of in [
        "ff02::1",
        "ff0e::1",
        "fe80::1",
        "::",
        "::1",
        "::ffff:192.0.2.1",
    ] {
        let mut update = Update::new(U2, next);
        update.alternate = Some(care_of.parse().unwrap());
        add(
            "care-of address",
            "unanswered/care-of-address",
            update.packet(),
        );
    }
    for (care_of, how) in [
        (A, "unanswered/circular"),
        (AGENT, "refused/174"),
        (B, "refused/174"),
    ] {
        let mut update = Update::new(U2, next);
        update.alternate = Some(care_of);
        add("care-of address of ours", how, update.packet());
    }
    for (home, how) in [
        ("ff02::1", "unanswered/malformed"),
        ("fe80::1", "unanswered/malformed"),
        ("::", "unanswered/malformed"),
        ("2001:db8:0:1::c", "refused/132"),
    ] {
        let mut update = Update::new(U2, next);
        update.home = Some(home.parse().unwrap());
        add("home address", how, update.packet());
    }
    let mut update = Update::new(U2, next);
    update.home = None;
    add("no home address", "unanswered/circular", update.packet());
    add("replay", "refused/135", Update::new(U2, number).packet());
    let beyond = number.wrapping_add(0x8000);
    add(
        "out of the window",
        "refused/135",
        Update::new(U2, beyond).packet(),
    );
    let mut update = Update::new(U2, next);
    update.flags = UpdateFlags(0x8000);
    add("no home registration", "refused/139", update.packet());
    let mut update = Update::new(U2, next);
    update.lifetime = 0;
    add("another's deregistration", "refused/133", update.packet());
    kinds
}

/// Without keys an agent believes much; nothing of this.
#[test]
fn malformed_updates_are_counted_and_change_nothing() {
    networked(|| {
        let site = Site::new();
        let agent = site.agent(&["--home", &B.to_string(), "--insecure-unauthenticated"]);
        let binding = site.binding("s1", &["--lifetime", "600s"]);
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let number = bound_number(&site);
        for (name, how, packet) in kinds(number) {
            let path = format!("/updates/{how}");
            let before = count(&site.agent_record(), &path);
            assert_eq!(send(&site, "s2", vec![packet]), 1, "{name}");
            wait_until(&format!("{name}: {how}"), LIMIT, || {
                Ok(count(&site.agent_record(), &path) == before + 1)
            })
            .unwrap_or_else(|error| panic!("{error}: {:#}", site.agent_record()));
            assert_eq!(site.owner(), Some(U1), "{name}");
            assert_eq!(bound_number(&site), number, "{name}");
        }
        assert_kernel_silent(&capture, AGENT);
        // RFC 6275 §9.2 has these answered: the type, the protocol, the length.
        let mut complaints = [(2, 99), (0, 6), (1, 0)].map(|(at, value)| with(at, &[value]));
        // As long as it says, so that its checksum is right.
        complaints[2].truncate(HEADERS + 8);
        complaints[2] = mended(std::mem::take(&mut complaints[2]));
        send(&site, "s2", complaints.to_vec());
        wait_until("the complaints", LIMIT, || {
            let fields = ["icmpv6.pointer"];
            let problems = format!("ipv6.src#1 == {AGENT} && icmpv6.type == 4");
            let problems = decoded(&capture, &problems, &fields);
            let errors = format!("ipv6.src#1 == {AGENT} && mip6.be.status == 2");
            let errors = decoded(&capture, &errors, &[]);
            Ok(problems.len() == 2 && errors.len() == 1)
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", site.agent_record()));
        assert_eq!(count(&site.agent_record(), "/updates/complaints"), 3);
        assert_kernel_silent(&capture, AGENT);
        assert_eq!(site.owner(), Some(U1));
        // And an update in pieces, which no kernel puts together for an answer.
        let whole = Update::new(U2, number.wrapping_add(1)).packet();
        send(&site, "s2", fragments(&whole, 24 + 8));
        let ping = site
            .host("s2")
            .command("ping")
            .args(["-nc1", "-W30", &AGENT.to_string()]);
        ping.run().unwrap();
        assert_eq!(site.owner(), Some(U1));
        assert_kernel_silent(&capture, AGENT);
        // RFC 8200 §4.2 and RFC 5095 §3: no update out of a packet that its destination
        // has to discard; the kernel has not looked at it yet.
        let mut option = Update::new(U2, number.wrapping_add(1)).packet();
        option[42] = 0x9e;
        let mut routed = Update::new(U2, number.wrapping_add(1)).packet();
        routed.splice(40..40, [60, 0, 0, 1, 0, 0, 0, 0]);
        routed[5] += 8;
        routed[6] = 43;
        send(&site, "s2", vec![option, routed]);
        wait_until("two more complaints", LIMIT, || {
            let problems = format!("ipv6.src#1 == {AGENT} && icmpv6.type == 4");
            let problems = decoded(&capture, &problems, &["icmpv6.code", "icmpv6.pointer"]);
            let said: Vec<_> = problems.iter().map(|packet| &packet.fields[..]).collect();
            Ok(said[2..] == [["2", "42"], ["0", "42"]])
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", site.agent_record()));
        assert_eq!(count(&site.agent_record(), "/updates/complaints"), 5);
        assert_eq!(bound_number(&site), number);
        assert_eq!(site.owner(), Some(U1));
        for program in [agent, binding] {
            assert!(program.terminate(LIMIT).unwrap().success());
        }
    });
}

/// A packet in two fragments, the first with so many octets behind the IPv6 header.
pub(crate) fn fragments(packet: &[u8], at: usize) -> Vec<Vec<u8>> {
    const FRAGMENT: u8 = 44;
    let (header, payload) = packet.split_at(40);
    let (first, second) = payload.split_at(at);
    let piece = |offset: usize, more: u16, octets: &[u8]| {
        let mut piece = header.to_vec();
        piece[6] = FRAGMENT;
        let len = u16::try_from(octets.len() + 8).unwrap();
        piece[4..6].copy_from_slice(&len.to_be_bytes());
        piece.extend([header[6], 0]);
        piece.extend((u16::try_from(offset).unwrap() | more).to_be_bytes());
        piece.extend([0, 0, 0x12, 0x34]);
        piece.extend(octets);
        piece
    };
    vec![piece(0, 1, first), piece(at, 0, second)]
}

/// The octets of a packet that has gone over a wire are of no use to anybody else.
#[test]
fn a_replayed_update_changes_nothing() {
    networked(|| {
        let site = Site::new();
        let _agent = site.keyed_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let binding = site.binding("s1", &["--spi", "256"]);
        capture.packets().unwrap();
        let recorded = updates(&std::fs::read(capture.path()).unwrap());
        assert!(!recorded.is_empty());
        assert!(binding.terminate(LIMIT).unwrap().success());
        assert_eq!(site.owner(), None);
        // The agent forgets the number with the binding, but not the time.
        for packet in &recorded {
            let before = judged(&site);
            assert_eq!(send(&site, "s2", vec![packet.clone()]), 1);
            wait_until("it is judged", LIMIT, || Ok(judged(&site) > before)).unwrap();
            assert_eq!(site.owner(), None);
        }
        let record = site.agent_record();
        assert!(count(&record, "/updates/created") == 1, "{record:#}");
        assert_kernel_silent(&capture, AGENT);
    });
}

/// The Binding Updates of a pcap file, from their IPv6 header on.
pub(crate) fn updates(pcap: &[u8]) -> Vec<Vec<u8>> {
    const ETHERNET: usize = 14;
    let read = match pcap[0] {
        0xa1 => u32::from_be_bytes,
        _ => u32::from_le_bytes,
    };
    let mut packets = Vec::new();
    let mut rest = &pcap[24..];
    while rest.len() >= 16 {
        let len = read(rest[8..12].try_into().unwrap()) as usize;
        let frame = &rest[16..16 + len];
        rest = &rest[16 + len..];
        let packet = frame.get(ETHERNET..).unwrap_or_default();
        // Destination options, and behind the Home Address option a Mobility Header.
        if packet.len() > HEADERS + 2 && packet[6] == 60 && packet[40] == 135 {
            packets.push(packet.to_vec());
        }
    }
    packets
}
