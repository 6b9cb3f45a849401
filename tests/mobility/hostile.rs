//! Tunnel packets from strangers, tunnels in tunnels, tunnels to the hosts themselves, and
//! all of it in fragments: refused, counted, and nobody hears of it.
use std::net::Ipv6Addr;

use aarp_lab::{Filter, Snap, wait_until};
use aarp_wire::icmpv6;
use aarp_wire::ipv6::{Datagram, protocol};

use crate::decode::decoded;
use crate::forged::{assert_kernel_silent, fragments, send};
use crate::site::{A, AGENT, B, CLIENT, LIMIT, Site, U1, U2, count, networked};

/// An echo request whose payload is this long.
fn echo(source: Ipv6Addr, destination: Ipv6Addr, len: usize) -> Vec<u8> {
    const REQUEST: u8 = 128;
    let mut message = vec![0x5a; 8 + len];
    message[..8].copy_from_slice(&[REQUEST, 0, 0, 0, 0, 1, 0, 1]);
    icmpv6::fill_checksum(source, destination, &mut message).unwrap();
    carrying(source, destination, protocol::ICMPV6, &message)
}

fn carrying(source: Ipv6Addr, destination: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut room = vec![0; 2048];
    let datagram = Datagram::new(source, destination);
    let place = datagram.emit(next, payload.len(), &mut room).unwrap();
    place.copy_from_slice(payload);
    room.truncate(40 + payload.len());
    room
}

fn tunnelled(source: Ipv6Addr, destination: Ipv6Addr, inner: &[u8]) -> Vec<u8> {
    carrying(source, destination, protocol::IPV6, inner)
}

/// What a program has counted under a path of its first record.
fn counted(site: &Site, host: &str, program: &str, path: &str) -> u64 {
    count(&site.status(host, program)[0], path)
}

/// Sends a packet, and waits until it is counted as refused for this reason.
#[track_caller]
fn refused(site: &Site, host: &str, program: &str, name: &str, path: &str, packets: Vec<Vec<u8>>) {
    let before = counted(site, host, program, path);
    let number = packets.len();
    assert_eq!(send(site, "s2", packets), number, "{name}");
    wait_until(&format!("{name}: {path}"), LIMIT, || {
        Ok(counted(site, host, program, path) == before + 1)
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", site.status(host, program)));
}

#[test]
fn the_agent_takes_nothing_from_strangers() {
    networked(|| {
        let site = Site::simple(&["--lifetime", "600s"]);
        let at_agent = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let at_client = site.lab.capture("c", "eth0").unwrap();
        let answer = echo(A, CLIENT, 56);
        let mut message_to_agent = echo(A, AGENT, 56);
        message_to_agent[6] = 135;
        let inside_itself = tunnelled(A, CLIENT, &echo(A, CLIENT, 56));
        let mut version = answer.clone();
        version[0] = 0x45;
        // s2 is the stranger; what is from U1 it forges.
        for (name, why, packet) in [
            ("a stranger's", "stranger", tunnelled(U2, AGENT, &answer)),
            (
                "another source than A",
                "stranger",
                tunnelled(U1, AGENT, &echo(U1, CLIENT, 56)),
            ),
            (
                "an address without a binding",
                "stranger",
                tunnelled(U1, AGENT, &echo(B, CLIENT, 56)),
            ),
            (
                "the agent's own address",
                "stranger",
                tunnelled(U1, AGENT, &echo(AGENT, CLIENT, 56)),
            ),
            (
                "a message to the agent itself",
                "address",
                tunnelled(U1, AGENT, &message_to_agent),
            ),
            ("to A", "address", tunnelled(U1, AGENT, &echo(A, A, 56))),
            (
                "to a group",
                "address",
                tunnelled(U1, AGENT, &echo(A, "ff02::1".parse().unwrap(), 56)),
            ),
            (
                "to the loopback",
                "address",
                tunnelled(U1, AGENT, &echo(A, Ipv6Addr::LOCALHOST, 56)),
            ),
            (
                "a tunnel in it",
                "nested",
                tunnelled(U1, AGENT, &inside_itself),
            ),
            ("nothing in it", "malformed", tunnelled(U1, AGENT, &[])),
            (
                "half a header",
                "malformed",
                tunnelled(U1, AGENT, &answer[..20]),
            ),
            ("cut off", "malformed", tunnelled(U1, AGENT, &answer[..60])),
            (
                "another version",
                "malformed",
                tunnelled(U1, AGENT, &version),
            ),
        ] {
            let path = format!("/refused_from_tunnels/{why}");
            refused(&site, "haa", "aarp-agent", name, &path, vec![packet]);
        }
        let long = tunnelled(U2, AGENT, &echo(A, CLIENT, 1000));
        let pieces = fragments(&long, 512);
        let path = "/refused_from_tunnels/stranger";
        refused(&site, "haa", "aarp-agent", "in fragments", path, pieces);
        let pieces = fragments(&tunnelled(U1, AGENT, &tunnelled(A, CLIENT, &answer)), 64);
        let path = "/refused_from_tunnels/nested";
        refused(
            &site,
            "haa",
            "aarp-agent",
            "nested in fragments",
            path,
            pieces,
        );
        // Nobody has got anything of that, nor an answer to it.
        let requests = Filter::icmp6(128);
        assert_eq!(requests.count(&at_client.packets().unwrap()), 0);
        let said = format!("ipv6.src#1 == {AGENT} && icmpv6.type in {{1,2,3,4}}");
        let said = decoded(&at_agent, &said, &["_ws.col.Info"]);
        assert!(said.is_empty(), "{said:?}");
        assert_kernel_silent(&at_agent, AGENT);
        // Control: the same from U1, as it is registered, arrives.
        send(&site, "s2", vec![tunnelled(U1, AGENT, &answer)]);
        at_client.wait_for(&requests.src(A), 1, LIMIT).unwrap();
        assert_eq!(site.owner(), Some(U1));
    });
}

/// A tunnel to A is not put into another: two agents could send it round for ever.
#[test]
fn the_agent_relays_no_tunnels() {
    networked(|| {
        let site = Site::simple(&[]);
        let capture = site.lab.capture_with("s2", "eth0", Snap::Whole).unwrap();
        let packet = tunnelled(U2, A, &echo(U2, A, 56));
        refused(
            &site,
            "haa",
            "aarp-agent",
            "nested",
            "/dropped/nested",
            vec![packet],
        );
        let filter = "icmpv6.type == 1 && icmpv6.code == 1";
        wait_until("its sender is told", LIMIT, || {
            Ok(decoded(&capture, filter, &[]).len() == 1)
        })
        .unwrap();
        assert_eq!(counted(&site, "s1", "aarp-binding", "/delivered"), 0);
    });
}

#[test]
fn the_responder_takes_nothing_but_from_its_agent() {
    networked(|| {
        let site = Site::simple(&["--lifetime", "600s"]);
        let at_responder = site.lab.capture_with("s1", "eth0", Snap::Whole).unwrap();
        let at_client = site.lab.capture("c", "eth0").unwrap();
        let question = echo(CLIENT, A, 56);
        for (name, why, packet) in [
            ("a stranger's", "stranger", tunnelled(U2, U1, &question)),
            (
                "to U",
                "not-served",
                tunnelled(AGENT, U1, &echo(CLIENT, U1, 56)),
            ),
            (
                "to another A",
                "not-served",
                tunnelled(AGENT, U1, &echo(CLIENT, B, 56)),
            ),
            (
                "to the loopback",
                "not-served",
                tunnelled(AGENT, U1, &echo(CLIENT, Ipv6Addr::LOCALHOST, 56)),
            ),
            ("from A", "address", tunnelled(AGENT, U1, &echo(A, A, 56))),
            ("from U", "address", tunnelled(AGENT, U1, &echo(U1, A, 56))),
            (
                "from the loopback",
                "address",
                tunnelled(AGENT, U1, &echo(Ipv6Addr::LOCALHOST, A, 56)),
            ),
            (
                "a tunnel in it",
                "nested",
                tunnelled(AGENT, U1, &tunnelled(CLIENT, A, &question)),
            ),
            (
                "half a header",
                "malformed",
                tunnelled(AGENT, U1, &question[..20]),
            ),
            (
                "cut off",
                "malformed",
                tunnelled(AGENT, U1, &question[..60]),
            ),
        ] {
            let path = format!("/refused/{why}");
            refused(&site, "s1", "aarp-binding", name, &path, vec![packet]);
        }
        let pieces = fragments(&tunnelled(U2, U1, &echo(CLIENT, A, 1000)), 512);
        let path = "/refused/stranger";
        refused(&site, "s1", "aarp-binding", "in fragments", path, pieces);
        assert_eq!(counted(&site, "s1", "aarp-binding", "/delivered"), 0);
        let said = format!("ipv6.src#1 == {U1} && icmpv6.type in {{1,2,3,4,129}}");
        let said = decoded(&at_responder, &said, &["_ws.col.Info"]);
        assert!(said.is_empty(), "{said:?}");
        // Control: what the agent relays is answered, also in fragments.
        let long = tunnelled(AGENT, U1, &echo(CLIENT, A, 1000));
        send(&site, "s2", fragments(&long, 512));
        let answers = Filter::icmp6(129).src(A);
        at_client.wait_for(&answers, 1, LIMIT).unwrap();
        assert_eq!(counted(&site, "s1", "aarp-binding", "/delivered"), 1);
    });
}

/// Acknowledgements that nobody has asked for.
#[test]
fn forged_acknowledgements_change_nothing() {
    use aarp_wire::ipv6::Extension;
    use aarp_wire::mobility::{AcknowledgementFlags, Message, MobilityRepr, Status};
    networked(|| {
        let site = Site::new();
        let _agent = site.keyed_agent();
        let binding = site.binding("s1", &["--spi", "256", "--lifetime", "4s"]);
        let capture = site.lab.capture_with("s1", "eth0", Snap::Whole).unwrap();
        let mut packets = Vec::new();
        for source in [AGENT, U2] {
            for status in [0, 128, 135, 133, 146] {
                for sequence in (0..=u16::MAX).step_by(509) {
                    let message = Message::BindingAcknowledgement {
                        status: Status(status),
                        flags: AcknowledgementFlags(0),
                        sequence,
                        lifetime: 1000,
                    };
                    let datagram = Datagram {
                        extension: Some(Extension::Routing(A)),
                        ..Datagram::new(source, U1)
                    };
                    let mut room = [0; 1280];
                    let options = &[];
                    let packet = MobilityRepr { message, options };
                    let packet = packet.emit_packet(&datagram, &mut room).unwrap();
                    packets.push(packet.to_vec());
                }
            }
        }
        let unheard = || {
            let record = site.status("s1", "aarp-binding").swap_remove(0);
            let counts = record["unheard"].as_object().unwrap().clone();
            counts
                .values()
                .map(|count| count.as_u64().unwrap())
                .sum::<u64>()
        };
        // No more at once than a capture has room for.
        let mut sent = 0;
        for some in packets.chunks(100) {
            sent += send(&site, "s2", some.to_vec());
            wait_until("all are counted", LIMIT, || Ok(unheard() >= sent as u64))
                .unwrap_or_else(|e| panic!("{e}: {:#?}", site.status("s1", "aarp-binding")));
        }
        assert_eq!(sent, packets.len());
        assert_kernel_silent(&capture, U1);
        let status = site.status("s1", "aarp-binding");
        assert_eq!(status[1]["state"], "registered", "{status:#?}");
        let refreshed = count(&site.agent_record(), "/updates/refreshed");
        wait_until("the binding is refreshed", LIMIT, || {
            Ok(count(&site.agent_record(), "/updates/refreshed") > refreshed)
        })
        .unwrap();
        let said = binding.stderr().unwrap();
        assert!(said.lines().count() < 30, "{said}");
    });
}
