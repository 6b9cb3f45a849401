mod refused;

use proptest::prelude::*;

use super::*;

const CARE_OF: &str = "2001:db8:0:4::2";
const AGENT: &str = "2001:db8:0:1::2";
const HOME: &str = "2001:db8:0:1::a";

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A packet with the given octets behind the IPv6 header.
fn packet(next_header: u8, behind: &[u8]) -> Vec<u8> {
    let header = Ipv6Repr {
        traffic_class: 0,
        flow_label: 0,
        payload_len: behind.len() as u16,
        next_header,
        hop_limit: 64,
        source: address(CARE_OF),
        destination: address(AGENT),
    };
    let mut octets = vec![0xa5; HEADER];
    header.emit(&mut octets).unwrap();
    octets.extend(behind);
    octets
}

fn walked(octets: &[u8]) -> Result<Chain<'_>, Malformed> {
    walk(&Ipv6Packet::new(octets).unwrap())
}

/// A destination options header (RFC 8200 §4.6) of one option at 8n+6.
fn home_address(next: u8) -> Vec<u8> {
    let mut octets = vec![next, 2, 1, 2, 0, 0, 0xc9, 16];
    octets.extend(address(HOME).octets());
    octets
}

fn routing(next: u8) -> Vec<u8> {
    let mut octets = vec![next, 2, 2, 1, 0, 0, 0, 0];
    octets.extend(address(HOME).octets());
    octets
}

fn fragment(next: u8, place: u16) -> Vec<u8> {
    let [high, low] = place.to_be_bytes();
    vec![next, 0xff, high, low, 1, 2, 3, 4]
}

fn authentication(next: u8) -> Vec<u8> {
    let mut octets = vec![next, 4];
    octets.resize(24, 7);
    octets
}

fn any_address() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

fn routable() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from(bits >> 8 | 0x20 << 120))
}

prop_compose! {
    fn any_header()(
        traffic_class: u8, flow_label in 0..1u32 << 20, payload_len: u16, next_header: u8,
        hop_limit: u8, source in any_address(), destination in any_address(),
    ) -> Ipv6Repr {
        Ipv6Repr { traffic_class, flow_label, payload_len, next_header, hop_limit, source, destination }
    }
}

proptest! {
    #[test]
    fn a_header_emitted_is_parsed(header in any_header()) {
        let mut buffer = [0xa5; HEADER + 1];
        header.emit(&mut buffer).unwrap();
        prop_assert_eq!(buffer[HEADER], 0xa5);
        let packet = Ipv6Packet::quoted(&buffer[..HEADER]).unwrap();
        prop_assert_eq!(Ipv6Repr::parse(&packet), header);
        prop_assert_eq!(packet.payload(), &[]);
        // And emitted again it is the same.
        let mut again = [0x5a; HEADER];
        Ipv6Repr::parse(&packet).emit(&mut again).unwrap();
        prop_assert_eq!(&again[..], &buffer[..HEADER]);
    }

    #[test]
    fn headers_emitted_are_walked(
        source in routable(), destination in routable(), home in routable(), which in 0..3,
        upper: u8, traffic_class: u8, flow_label in 0..1u32 << 20, hop_limit: u8,
        data in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        // A protocol that is not followed.
        let upper = match upper { 0 | 43 | 44 | 51 | 60 => 135, other => other };
        let extension = match which {
            0 => None,
            1 => Some(Extension::HomeAddress(home)),
            _ => Some(Extension::Routing(home)),
        };
        let datagram = Datagram { source, destination, traffic_class, flow_label, hop_limit, extension };
        let mut buffer = vec![0xa5; datagram.headers_len() + data.len() + 1];
        datagram.emit(upper, data.len(), &mut buffer).unwrap().copy_from_slice(&data);
        prop_assert_eq!(buffer.pop(), Some(0xa5));
        let mut too_small = buffer.clone();
        prop_assert_eq!(datagram.emit(upper, data.len() + 1, &mut too_small), Err(Error::Truncated));
        let chain = walked(&buffer).unwrap();
        prop_assert_eq!(chain.protocol, upper);
        prop_assert_eq!(chain.payload(), &data[..]);
        prop_assert_eq!(buffer[chain.named_at], upper);
        prop_assert_eq!(chain.source(), datagram.checksum_source());
        prop_assert_eq!(chain.destination(), datagram.checksum_destination());
        prop_assert_eq!(chain.home_address.map(|h| (h.address, h.is_aligned)),
            (which == 1).then_some((home, true)));
        prop_assert_eq!(chain.routing, (which == 2).then_some(home));
        prop_assert_eq!((chain.fragment, chain.unrecognised), (None, None));
        let header = Ipv6Repr::parse(&chain.packet);
        prop_assert_eq!((header.source, header.destination), (source, destination));
        prop_assert_eq!(
            (header.traffic_class, header.flow_label, header.hop_limit),
            (traffic_class, flow_label, hop_limit)
        );
    }

    #[test]
    fn foreign_bytes_never_panic(mut octets in proptest::collection::vec(any::<u8>(), 0..200), next in 0..6usize) {
        if let Some(first) = octets.first_mut() { *first = 0x60; }
        if octets.len() >= HEADER {
            let len = (octets.len() - HEADER) as u16;
            octets[4..6].copy_from_slice(&len.to_be_bytes());
            octets[6] = [0, 43, 44, 51, 60, 135][next];
        }
        let Ok(packet) = Ipv6Packet::new(&octets) else { return Ok(()) };
        match walk(&packet) {
            Ok(chain) => {
                prop_assert!(chain.offset <= octets.len());
                prop_assert_eq!(octets[chain.named_at], chain.protocol);
            }
            Err(malformed) => prop_assert!(malformed.at <= octets.len()),
        }
    }
}

#[test]
fn a_packet_is_as_long_as_it_says() {
    let octets = packet(59, &[1, 2, 3]);
    let longer = [octets.as_slice(), &[9; 7]].concat();
    assert_eq!(Ipv6Packet::new(&longer).unwrap().payload(), [1, 2, 3]);
    for len in 0..octets.len() {
        assert_eq!(Ipv6Packet::new(&octets[..len]), Err(Error::Truncated));
        match Ipv6Packet::quoted(&octets[..len]) {
            Ok(packet) => assert_eq!(packet.octets(), &octets[..len]),
            Err(error) => assert_eq!((error, len < HEADER), (Error::Truncated, true)),
        }
    }
    for version in (0..16).filter(|version| *version != 6) {
        let mut other = octets.clone();
        other[0] = version << 4;
        assert_eq!(Ipv6Packet::new(&other), Err(Error::Version));
    }
}

#[test]
fn a_header_that_cannot_be_is_not_emitted() {
    let octets = packet(59, &[]);
    let header = Ipv6Repr::parse(&Ipv6Packet::new(&octets).unwrap());
    let wide = Ipv6Repr {
        flow_label: 1 << 20,
        ..header
    };
    assert_eq!(wide.emit(&mut [0; HEADER]), Err(Error::Value));
    assert_eq!(header.emit(&mut [0; HEADER - 1]), Err(Error::Truncated));
    let datagram = Datagram::new(header.source, header.destination);
    let mut buffer = vec![0; 70_000];
    assert_eq!(datagram.emit(59, 65536, &mut buffer), Err(Error::Length));
    assert!(datagram.emit(59, 65535, &mut buffer).is_ok());
}

//= https://www.rfc-editor.org/rfc/rfc2473#section-3.1
//= type=test
#[test]
fn a_packet_in_a_tunnel() {
    let mut inner = packet(17, &[1, 2, 3, 4]);
    inner[0] = 0x6b;
    inner[1] = 0x80;
    let inner = Ipv6Packet::new(&inner).unwrap();
    let outer = encapsulating(address(AGENT), address(CARE_OF), 64, &inner).unwrap();
    let mut octets = vec![0xa5; HEADER];
    outer.emit(&mut octets).unwrap();
    octets.extend(inner.octets());
    let chain = walked(&octets).unwrap();
    assert_eq!(chain.protocol, protocol::IPV6);
    assert_eq!(Ipv6Packet::new(chain.payload()), Ok(inner));
    assert_eq!(chain.packet.traffic_class(), 0xb8);
    let mut huge = vec![0; HEADER + 65535];
    huge[0] = 0x60;
    huge[4..6].fill(0xff);
    let huge = Ipv6Packet::new(&huge).unwrap();
    let refused = encapsulating(address(AGENT), address(CARE_OF), 64, &huge);
    assert_eq!(refused, Err(Error::Length));
}

#[test]
fn every_header_is_followed() {
    let mut octets = vec![43, 0, 1, 4, 0, 0, 0, 0];
    octets.extend([60, 0, 0, 0, 0, 0, 0, 0]);
    octets.extend(home_address(44));
    octets.extend(fragment(51, 0));
    octets.extend(authentication(60));
    octets.extend([135, 0, 1, 4, 0, 0, 0, 0, 0xaa]);
    let octets = packet(protocol::HOP_BY_HOP, &octets);
    let chain = walked(&octets).unwrap();
    assert_eq!((chain.protocol, chain.payload()), (135, &[0xaa][..]));
    assert_eq!(chain.named_at, octets.len() - 9);
    assert_eq!(chain.source(), address(HOME));
    assert_eq!(chain.home_address.unwrap().at, 40 + 16 + 6);
    let fragment = chain.fragment.unwrap();
    assert_eq!((fragment.at, fragment.identification), (80, 0x0102_0304));
    assert!(fragment.is_atomic() && chain.is_whole());
    // Cut off anywhere it is refused, as the lengths of the headers say.
    for len in HEADER..octets.len() - 1 {
        let packet = Ipv6Packet::quoted(&octets[..len]).unwrap();
        assert_eq!(walk(&packet).unwrap_err().error, Error::Truncated, "{len}");
    }
}

#[test]
fn fragments() {
    // The first one: more follow.
    let first = packet(44, &[fragment(60, 1), home_address_less()].concat());
    let chain = walked(&first).unwrap();
    assert_eq!((chain.protocol, chain.is_whole()), (135, false));
    // A later one: what it holds is not a header.
    let later = packet(44, &[fragment(60, 0x1238 | 1), vec![0xff; 3]].concat());
    let chain = walked(&later).unwrap();
    assert_eq!((chain.protocol, chain.offset), (60, 48));
    let fragment_found = chain.fragment.unwrap();
    assert_eq!((fragment_found.offset, fragment_found.more), (0x1238, true));
    let twice = packet(44, &[fragment(44, 0), fragment(135, 0)].concat());
    let expected = Malformed {
        error: Error::Duplicate,
        at: 48,
    };
    assert_eq!(walked(&twice), Err(expected));
}

/// A destination options header without anything.
fn home_address_less() -> Vec<u8> {
    vec![135, 0, 1, 4, 0, 0, 0, 0]
}

#[test]
fn the_walk_has_an_end() {
    for (count, expected) in [(HEADERS_MAX, None), (HEADERS_MAX + 1, Some(Error::Order))] {
        let mut behind = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        behind[8 * (count - 1)] = 59;
        let octets = packet(60, &behind);
        assert_eq!(
            walked(&octets).err().map(|malformed| malformed.error),
            expected
        );
    }
    // A hop-by-hop header stands first or not at all.
    let octets = packet(
        60,
        &[[0, 0, 1, 4, 0, 0, 0, 0], [59, 0, 1, 4, 0, 0, 0, 0]].concat(),
    );
    assert_eq!(walked(&octets).unwrap_err().error, Error::Order);
    // Options that go beyond their header, or end with their type.
    for options in [[1, 5, 0, 0, 0, 0], [1, 3, 0, 0, 0, 9]] {
        let octets = packet(60, &[&[59, 0][..], &options].concat());
        assert_eq!(walked(&octets).unwrap_err().error, Error::Length);
    }
}
