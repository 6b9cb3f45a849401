//! What the lab reads: scenarios, captures.

use std::net::IpAddr;

use aarp_lab::{Direction, Filter, Packet, Scenario, Transport, Variables, read_packets};

use crate::input::{Input, text};

/// Scenarios: `Scenario::parse`.
pub fn scenario(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let given: Variables = [("work", "/tmp/work"), ("stage", "/usr/local")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let described = Scenario::describe("x.toml", text);
    match Scenario::parse("x.toml", text, &given) {
        Ok(scenario) => {
            // The description may have variables in it, and is shown without.
            let described = described.expect("it was read");
            assert!(described == scenario.description || described.contains("${"));
            let hosts = scenario.network().hosts;
            for capture in &scenario.captures {
                assert!(hosts.contains_key(&capture.host));
            }
            for service in &scenario.services {
                assert!(hosts.contains_key(&service.host) && !service.command.is_empty());
            }
        }
        Err(error) => assert!(error.to_string().contains("x.toml")),
    }
}

/// Captures: `read_packets`.
pub fn capture(data: &[u8]) {
    let Ok(packets) = read_packets(data, MAC) else {
        return;
    };
    for packet in &packets {
        assert_sound(packet);
    }
    // Cut anywhere, it has the same packets as far as it goes.
    if let Ok(fewer) = read_packets(&data[..data.len() / 2], MAC) {
        assert_eq!(packets.get(..fewer.len()), Some(fewer.as_slice()));
    }
    assert_eq!(Filter::any().count(&packets), packets.len());
    let directions = [Direction::In, Direction::Out]
        .map(|direction| Filter::any().direction(direction).count(&packets));
    assert_eq!(directions.iter().sum::<usize>(), packets.len());
}

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn assert_sound(packet: &Packet) {
    assert!(packet.payload.len() <= packet.payload_len);
    for filter in [
        Filter::any().src(packet.src),
        Filter::any().dst(packet.dst),
        Filter::any().address(packet.dst),
    ] {
        assert!(filter.matches(packet));
    }
    let kinds = [
        Filter::tcp().matches(packet),
        Filter::udp().matches(packet),
        (0..=255).any(|kind| Filter::icmp6(kind).matches(packet)),
        matches!(packet.transport, Transport::Other(_)),
    ];
    assert_eq!(kinds.iter().filter(|is| **is).count(), 1);
    if let Some((sport, dport)) = packet.ports() {
        assert!(Filter::any().port(sport).matches(packet));
        assert!(Filter::any().port(dport).matches(packet));
    }
}

/// One frame of Ethernet, as the only one of a capture.
pub fn frame(data: &[u8]) {
    let mut pcap = Vec::with_capacity(40 + data.len());
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 1 << 18, 1] {
        pcap.extend(word.to_le_bytes());
    }
    let len = data.len() as u32;
    for word in [1, 2, len, len] {
        pcap.extend(word.to_le_bytes());
    }
    pcap.extend(data);
    let packets = read_packets(pcap.as_slice(), MAC).expect("a capture");
    assert!(packets.len() <= 1);
    packets.first().inspect(|packet| assert_sound(packet));

    // The plainest packets by hand: IPv6 without extensions, whole, TCP or UDP.
    let mut input = Input(data);
    let (_to, from, kind) = (input.array::<6>(), input.array::<6>(), input.u16());
    if kind != 0x86dd || data.len() < 14 + 40 + 20 || data[14] >> 4 != 6 {
        return;
    }
    let (_flow, total, next, _hops) = (input.u32(), input.u16(), input.octet(), input.octet());
    let (src, dst) = (input.array::<16>(), input.array::<16>());
    let header = match next {
        6 => usize::from(data[14 + 40 + 12] >> 4) * 4,
        17 => 8,
        _ => return,
    };
    let total = usize::from(total);
    let smallest = if next == 6 { 20 } else { 8 };
    if header < smallest || total < header || input.0.len() < total {
        return;
    }
    if next == 17 && usize::from(u16::from_be_bytes([input.0[4], input.0[5]])) != total {
        return;
    }
    let packet = packets.first().expect("an IPv6 packet");
    assert_eq!(packet.src, IpAddr::from(src));
    assert_eq!(packet.dst, IpAddr::from(dst));
    assert_eq!(packet.outgoing, from == MAC);
    assert_eq!(packet.payload_len, total - header);
    assert_eq!(packet.payload, input.0[header..total]);
    assert_eq!(packet.ports(), Some((input.u16(), input.u16())));
    assert_eq!(packet.tcp().is_some(), next == 6);
}
