//! Tunnels between two hosts: outer headers, path MTU, fragments and errors.
mod network;

use std::net::Ipv6Addr;

use aarp_lab::{Lab, rootless};
use aarp_sys::batch::ReceiveBatch;
use aarp_sys::tunnel::{INNER_MAX, Outer, SendFailed, Tunnel, TunnelBatch};

use network::*;

const INNER_ONE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
const INNER_OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 2);

fn open(lab: &Lab, host: &str, local: Ipv6Addr) -> Tunnel {
    let host = lab.host(host).unwrap();
    host.enter(move || Tunnel::open(local)).unwrap()
}

fn outer(destination: Ipv6Addr, dont_fragment: bool) -> Outer {
    Outer {
        destination,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment,
    }
}

/// An inner packet of this many octets.
fn inner(octets: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..octets - 40).map(|at| (at % 251) as u8).collect();
    ipv6(INNER_ONE, INNER_OTHER, 59, &data)
}

/// Sends one packet; the error, if it is not taken.
fn send_one(tunnel: &Tunnel, inner: &[u8], outer: Outer) -> Result<(), SendFailed> {
    let mut batch = TunnelBatch::new(1, INNER_MAX);
    assert!(batch.push(inner, outer));
    let mut result = Ok(());
    let sent = tunnel.send(&mut batch, |index, packet, failed| {
        assert_eq!((index, packet), (0, inner));
        result = Err(failed);
    });
    assert_eq!(sent, usize::from(result.is_ok()));
    result
}

fn room() -> ReceiveBatch {
    ReceiveBatch::new(8, INNER_MAX)
}

/// Receives until `count` packets have come, and puts them in order: a link is free
/// to deliver them in another.
fn receive(tunnel: &Tunnel, count: usize) -> Vec<Vec<u8>> {
    let mut batch = room();
    let mut found = Vec::new();
    eventually("packets of the tunnel", || {
        tunnel
            .receive(&mut batch, |packet| found.push(packet.inner.to_vec()))
            .unwrap();
        found.len() >= count
    });
    assert_eq!(found.len(), count);
    found.sort();
    found
}

#[test]
fn outer_headers_say_what_each_packet_is_to_say() {
    rootless::test(|| {
        let lab = routed(1500);
        let one = open(&lab, "one", ONE);
        let other = open(&lab, "other", OTHER);
        let mut batch = TunnelBatch::new(20, 1500);
        let mut expected = Vec::new();
        for number in 0..20u8 {
            let inner = inner(100 + usize::from(number));
            let outer = Outer {
                destination: OTHER,
                hop_limit: 100 + number,
                traffic_class: number.wrapping_mul(37),
                dont_fragment: number % 3 == 0,
            };
            assert!(batch.push(&inner, outer));
            // The router takes one from the hop limit.
            expected.push((outer.hop_limit - 1, outer.traffic_class, inner));
        }
        assert!(!batch.push(b"", outer(OTHER, true)), "it is full");
        let sent = one.send(&mut batch, |_, _, failed| panic!("{failed}"));
        assert_eq!((sent, batch.len()), (20, 0));
        let mut found = Vec::new();
        let mut batch = room();
        eventually("twenty packets", || {
            other
                .receive(&mut batch, |p| {
                    assert_eq!((p.source, p.destination), (ONE, OTHER));
                    assert_ne!(p.interface, 0);
                    found.push((p.hop_limit, p.traffic_class, p.inner.to_vec()));
                })
                .unwrap();
            found.len() >= 20
        });
        found.sort();
        assert_eq!(found, expected);
        // And the other way.
        send_one(&other, &inner(60), outer(ONE, false)).unwrap();
        assert_eq!(receive(&one, 1), [inner(60)]);
    });
}

#[test]
fn what_is_too_big_is_refused_or_fragmented() {
    rootless::test(|| {
        let lab = routed(1400);
        let one = open(&lab, "one", ONE);
        let other = open(&lab, "other", OTHER);
        let mut at_other = ring(lab.host("other").unwrap());
        let too_big = |octets, limit| {
            let error = send_one(&one, &inner(octets), outer(OTHER, true)).unwrap_err();
            assert!(
                matches!(error, SendFailed::TooBig { destination: OTHER, mtu } if mtu == limit),
                "{error}"
            );
        };
        // The link's, as long as nobody has said otherwise.
        assert_eq!(one.path_mtu(OTHER).unwrap(), 1500);
        too_big(1461, 1500);
        send_one(&one, &inner(1460), outer(OTHER, true)).unwrap();
        let mut batch = Tunnel::error_batch();
        let mut errors = 0;
        eventually("the router's Packet Too Big", || {
            one.errors(&mut batch, |error| {
                errors += 1;
                // RFC 4443, section 3.2.
                assert_eq!((error.icmp_type, error.code, error.info), (2, 0, 1400));
                assert_eq!(error.offender, Some(ROUTER));
                assert_eq!(error.destination, OTHER);
                // As much as fits 1280 octets: less two IPv6 headers and the ICMPv6 header.
                assert_eq!(error.inner, &inner(1460)[..1280 - 88]);
            })
            .unwrap();
            errors > 0
        });
        assert_eq!(errors, 1);
        // That does not keep anything from being received.
        assert_eq!(one.receive(&mut room(), |_| ()).unwrap(), 0);
        assert_eq!(one.path_mtu(OTHER).unwrap(), 1400);
        too_big(1361, 1400);
        send_one(&one, &inner(1360), outer(OTHER, true)).unwrap();
        assert_eq!(receive(&other, 1), [inner(1360)]);
        // RFC 2473, section 7.1 (b): the tunnel packet in fragments, and whole again.
        packets(&mut at_other);
        for octets in [1361, 1500, 9000, INNER_MAX - 8] {
            send_one(&one, &inner(octets), outer(OTHER, false)).unwrap();
            assert!(receive(&other, 1) == [inner(octets)], "{octets} octets");
            let frames = packets(&mut at_other);
            let parts = frames.iter().filter(|p| p[6] == 44).count();
            assert!(
                parts > octets / 1400,
                "{parts} fragments of {octets} octets"
            );
            assert!(frames.iter().all(|packet| packet.len() <= 1400));
        }
    });
}

#[test]
fn one_bad_destination_does_not_hold_up_the_others() {
    rootless::test(|| {
        let lab = joined();
        let one = open(&lab, "one", ONE);
        let other = open(&lab, "other", OTHER);
        let nowhere: Ipv6Addr = "2001:db8:dead::1".parse().unwrap();
        let mut batch = TunnelBatch::new(4, 2000);
        for (destination, octets) in [(OTHER, 50), (nowhere, 51), (OTHER, 1461), (OTHER, 53)] {
            assert!(batch.push(&inner(octets), outer(destination, true)));
        }
        let mut failed = Vec::new();
        let sent = one.send(&mut batch, |index, packet, why| {
            failed.push((index, packet.len(), why.to_string()));
        });
        assert_eq!(sent, 2);
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert_eq!((failed[0].0, failed[0].1), (1, 51));
        assert!(
            failed[0]
                .2
                .contains("2001:db8:dead::1: Network is unreachable"),
            "{failed:?}"
        );
        assert_eq!((failed[1].0, failed[1].1), (2, 1461));
        assert!(failed[1].2.contains("path MTU of 1500"), "{failed:?}");
        assert_eq!(receive(&other, 2), [inner(50), inner(53)]);
    });
}

#[test]
fn errors_of_the_path_stay_out_of_the_way_of_packets() {
    rootless::test(|| {
        let lab = routed(1500);
        let one = open(&lab, "one", ONE);
        let other = open(&lab, "other", OTHER);
        let expiring = Outer {
            hop_limit: 1,
            ..outer(OTHER, false)
        };
        send_one(&one, &inner(80), expiring).unwrap();
        let mut batch = Tunnel::error_batch();
        let mut found = None;
        eventually("the router's Time Exceeded", || {
            one.errors(&mut batch, |e| {
                found = Some((e.icmp_type, e.code, e.offender, e.inner.to_vec()));
            })
            .unwrap();
            found.is_some()
        });
        assert_eq!(found.unwrap(), (3, 0, Some(ROUTER), inner(80)));
        // A node without a socket of ours: Parameter Problem, unrecognised next header.
        drop(other);
        let mut at_one = ring(lab.host("one").unwrap());
        send_one(&one, &inner(90), outer(OTHER, false)).unwrap();
        let mut seen = Vec::new();
        eventually("the other's Parameter Problem", || {
            seen.extend(packets(&mut at_one));
            seen.iter().any(|p| p[6] == 58 && p[40] == 4)
        });
        // It is pending now: the next call hears of it from the kernel, whichever it
        // is, and neither a packet sent nor one received must suffer.
        let other = open(&lab, "other", OTHER);
        send_one(&other, &inner(70), outer(ONE, false)).unwrap();
        assert_eq!(receive(&one, 1), [inner(70)]);
        send_one(&one, &inner(71), outer(OTHER, true)).unwrap();
        send_one(&one, &inner(72), outer(OTHER, false)).unwrap();
        assert_eq!(receive(&other, 2), [inner(71), inner(72)]);
        let mut found = Vec::new();
        one.errors(&mut batch, |e| {
            found.push((e.icmp_type, e.code, e.info, e.offender, e.inner.to_vec()));
        })
        .unwrap();
        // The pointer is to the outer header's Next Header field.
        assert_eq!(found, [(4, 1, 6, Some(OTHER), inner(90))]);
    });
}

#[test]
fn while_the_tunnel_is_open_the_kernel_answers_none_of_its_packets() {
    rootless::test(|| {
        let lab = routed(1500);
        let one = open(&lab, "one", ONE);
        let other = open(&lab, "other", OTHER);
        let mut at_one = ring(lab.host("one").unwrap());
        let answers = |seen: &[Vec<u8>]| -> Vec<Vec<u8>> {
            let problem = |packet: &&Vec<u8>| packet[6] == 58 && packet[40] < 128;
            seen.iter().filter(problem).cloned().collect()
        };
        // Whole, and in fragments.
        for octets in [100, 3000] {
            send_one(&one, &inner(octets), outer(OTHER, false)).unwrap();
            assert!(receive(&other, 1) == [inner(octets)]);
        }
        drop(other);
        // Whatever was answered to those left before the answer to this one. A child of
        // another test may hold the socket until its execve: then it is sent once more.
        let mut seen = Vec::new();
        eventually("an answer once the tunnel is closed", || {
            send_one(&one, &inner(101), outer(OTHER, false)).unwrap();
            seen.extend(packets(&mut at_one));
            !answers(&seen).is_empty()
        });
        // Errors to one node are limited in rate; but the first of them would be the
        // one that was not to come.
        for answer in answers(&seen) {
            assert_eq!(answer[40..42], [4, 1]);
            assert_eq!(answer[88..], inner(101));
        }
    });
}

#[test]
fn an_address_of_somebody_else_is_refused() {
    rootless::test(|| {
        let lab = joined();
        let refused = lab.host("one").unwrap().enter(|| Tunnel::open(OTHER));
        let error = refused.unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::AddrNotAvailable);
        assert!(error.to_string().contains("2001:db8:2::2"), "{error}");
        let one = open(&lab, "one", ONE);
        assert_eq!(one.local(), ONE);
        assert!(one.set_receive_buffer(1 << 16).unwrap() >= 1 << 15);
        assert!(one.set_send_buffer(1 << 16).unwrap() >= 1 << 15);
    });
}
