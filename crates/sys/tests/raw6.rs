//! Packets with headers of our own leave as they are.
mod network;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use aarp_lab::rootless;
use aarp_sys::raw6::{PacketBatch, RawSender};

use network::*;

const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);

#[test]
fn mobile_ipv6_packets_leave_unchanged() {
    rootless::test(|| {
        let lab = joined();
        let mut at_other = ring(lab.host("other").unwrap());
        for next_header in [135, 255] {
            let sender = lab.host("one").unwrap();
            let sender = sender.enter(move || RawSender::open(next_header)).unwrap();
            let update = with_home_address(HOME, &binding_update(HOME, OTHER, 200));
            // An Acknowledgement has the same form; its checksum is that of the home
            // address, the destination at the end of the way.
            let answer = with_type_2_routing(HOME, &binding_update(ONE, HOME, 200));
            let packets_sent = [
                ipv6(ONE, OTHER, 60, &update),
                ipv6(ONE, OTHER, 43, &answer),
                ipv6(ONE, OTHER, 43, &with_home_address(HOME, &answer)),
            ];
            send(&sender, &packets_sent);
            let mut seen = Vec::new();
            eventually("the packets at the other end", || {
                seen.extend(packets(&mut at_other));
                packets_sent.iter().all(|packet| seen.contains(packet))
            });
        }
    });
}

#[test]
fn what_cannot_be_sent_is_told_with_its_destination() {
    rootless::test(|| {
        let lab = joined();
        let mut at_other = ring(lab.host("other").unwrap());
        let sender = lab.host("one").unwrap();
        let sender = sender.enter(|| RawSender::open(255)).unwrap();
        let unroutable: Ipv6Addr = "2001:db8:dead::1".parse().unwrap();
        let large: Ipv6Addr = "2001:db8:2::77".parse().unwrap();
        let good = [
            ipv6(ONE, OTHER, 59, b"first"),
            ipv6(ONE, OTHER, 59, b"last"),
        ];
        let mut batch = PacketBatch::new(4, 2048);
        batch.push(&good[0]).unwrap();
        batch.push(&ipv6(ONE, unroutable, 59, b"")).unwrap();
        batch.push(&ipv6(ONE, large, 59, &[0; 1461])).unwrap();
        batch.push(&good[1]).unwrap();
        let mut failed = BTreeMap::new();
        let sent = sender.send(&mut batch, |f| {
            assert!(f.to_string().contains(&f.destination.to_string()), "{f}");
            failed.insert(f.destination, f.source.raw_os_error());
        });
        assert_eq!(sent, 2);
        assert!(batch.is_empty());
        let unreachable = rustix::io::Errno::NETUNREACH.raw_os_error();
        let too_long = rustix::io::Errno::MSGSIZE.raw_os_error();
        let expected = [(unroutable, Some(unreachable)), (large, Some(too_long))];
        assert_eq!(failed, BTreeMap::from(expected));
        let mut seen = Vec::new();
        eventually("what was before and behind them", || {
            seen.extend(packets(&mut at_other));
            good.iter().all(|packet| seen.contains(packet))
        });
    });
}

/// RFC 4301, section 4.4.1.1: a policy selects by the next layer protocol; the kernel
/// takes that of the socket.
#[test]
fn ipsec_policies_see_the_protocol_of_the_socket() {
    rootless::test(|| {
        let lab = joined();
        let one = lab.host("one").unwrap();
        let policy =
            format!("xfrm policy add src {ONE} dst {OTHER} proto 135 dir out action block");
        if let Err(error) = one.ip(&policy) {
            rootless::skipped(
                "ipsec_policies_see_the_protocol_of_the_socket",
                &format!("no IPsec policies here: {error}"),
            );
            return;
        }
        let packet = ipv6(ONE, OTHER, 135, &binding_update(ONE, OTHER, 1));
        for (next_header, leaves) in [(135, 0), (255, 1)] {
            let sender = one.enter(move || RawSender::open(next_header)).unwrap();
            let mut batch = PacketBatch::new(1, 1280);
            batch.push(&packet).unwrap();
            let sent = sender.send(&mut batch, |failed| assert_eq!(failed.destination, OTHER));
            assert_eq!(sent, leaves, "a socket of protocol {next_header}");
        }
    });
}
