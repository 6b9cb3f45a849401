//! Home addresses and headers that are not as they have to be.

use super::*;

//= https://www.rfc-editor.org/rfc/rfc6275#section-6.3
//= type=test
//# For each IPv6 packet header, the Home Address option MUST NOT appear
//# more than once.
#[test]
fn home_address_options_that_are_refused() {
    let mut twice = home_address(135);
    twice[1] = 5;
    twice.extend(&home_address(135)[2..]);
    twice.extend([0, 0]);
    let mut in_hop_by_hop = home_address(135);
    in_hop_by_hop[6] = 0xc9;
    let mut refused = vec![
        (
            "twice in a header",
            60,
            twice,
            Error::Duplicate,
            40 + 24 + 4,
        ),
        (
            "in two headers",
            60,
            [home_address(60), home_address(135)].concat(),
            Error::Duplicate,
            40 + 24 + 6,
        ),
        (
            "before a routing header",
            60,
            [home_address(43), routing(135)].concat(),
            Error::Order,
            64,
        ),
        (
            "behind a fragment header",
            44,
            [fragment(60, 0), home_address(135)].concat(),
            Error::Order,
            40 + 8 + 6,
        ),
        (
            "behind an authentication header",
            51,
            [authentication(60), home_address(135)].concat(),
            Error::Order,
            40 + 24 + 6,
        ),
    ];
    for len in (0..=17).filter(|len| *len != 16) {
        let mut octets = home_address(135);
        octets[7] = len;
        // Beyond the header it is no option at all; both are Length.
        refused.push(("length", 60, octets, Error::Length, 46));
    }
    for (name, next, behind, error, at) in refused {
        let octets = packet(next, &behind);
        assert_eq!(walked(&octets), Err(Malformed { error, at }), "{name}");
    }
    // In a hop-by-hop options header it is an option like any that is not known.
    let octets = packet(0, &in_hop_by_hop);
    let chain = walked(&octets).unwrap();
    assert_eq!(chain.home_address, None);
    let expected = Unrecognised {
        at: 46,
        code: Some(2),
    };
    assert_eq!(chain.unrecognised, Some(expected));
}

//= https://www.rfc-editor.org/rfc/rfc6275#section-9.3.1
//= type=test
//# Packets containing a Home Address option MUST be dropped if the given
//# home address is not a unicast routable address.
#[test]
fn home_addresses_have_to_be_routable() {
    for text in [
        "::",
        "::1",
        "ff02::1",
        "ff0e::1",
        "fe80::1",
        "::ffff:192.0.2.1",
    ] {
        for (next, mut behind) in [(60, home_address(135)), (43, routing(135))] {
            behind[8..].copy_from_slice(&address(text).octets());
            let octets = packet(next, &behind);
            assert_eq!(walked(&octets).unwrap_err().error, Error::Value, "{text}");
        }
    }
    for text in ["2001:db8::1", "fd00::1", "64:ff9b::c000:201"] {
        let mut behind = home_address(135);
        behind[8..].copy_from_slice(&address(text).octets());
        assert_eq!(
            walked(&packet(60, &behind)).unwrap().source(),
            address(text)
        );
    }
}

#[test]
fn alignment_of_the_home_address_is_told() {
    // Four octets of padding, some of them before it.
    for before in 0..=4 {
        let mut behind = vec![0; 2 + before];
        behind[..2].copy_from_slice(&[135, 2]);
        behind.extend([0xc9, 16]);
        behind.extend(address(HOME).octets());
        behind.resize(24, 0);
        let octets = packet(60, &behind);
        let found = walked(&octets).unwrap().home_address.unwrap();
        assert_eq!(found.is_aligned, before == 4, "{before}");
        assert_eq!(found.address, address(HOME));
    }
}

//= https://www.rfc-editor.org/rfc/rfc6275#section-11.3.3
//= type=test
//# If any of these checks fail, the node MUST silently discard the packet.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn type_2_routing_headers_that_are_refused() {
    let changed = |at: usize, value: u8| {
        let mut octets = routing(135);
        octets[at] = value;
        octets.resize(octets.len() + 40, 0);
        octets
    };
    let mut refused = vec![
        ([routing(43), routing(135)].concat(), Error::Duplicate),
        (
            [routing(43), vec![135, 0, 99, 0, 0, 0, 0, 0]].concat(),
            Error::Order,
        ),
    ];
    for left in (0..=255).filter(|left| *left != 1) {
        refused.push((changed(3, left), Error::Value));
    }
    for len in (0..=6).filter(|len| *len != 2) {
        refused.push((changed(1, len), Error::Length));
    }
    for (behind, error) in refused {
        let octets = packet(43, &behind);
        assert_eq!(walked(&octets).unwrap_err().error, error, "{behind:x?}");
    }
}

#[test]
fn what_is_not_known_is_told_as_its_type_wants() {
    for (kind, multicast, expected) in [
        (0x1e, false, None),
        (0x3e, true, None),
        (0x5e, false, Some(None)),
        (0x9e, false, Some(Some(2))),
        (0x9e, true, Some(Some(2))),
        (0xde, false, Some(Some(2))),
        (0xde, true, Some(None)),
    ] {
        for next in [0, 60] {
            let mut octets = packet(next, &[135, 0, 1, 0, kind, 2, 9, 9]);
            if multicast {
                octets[24] = 0xff;
            }
            let chain = walked(&octets).unwrap();
            let expected = expected.map(|code| Unrecognised { at: 44, code });
            assert_eq!(chain.unrecognised, expected, "{kind:x}");
            assert_eq!(chain.protocol, 135);
        }
    }
    // A routing header with segments left, and without.
    let octets = packet(43, &[135, 0, 0, 1, 0, 0, 0, 0]);
    let expected = Unrecognised {
        at: 42,
        code: Some(0),
    };
    assert_eq!(walked(&octets).unwrap().unrecognised, Some(expected));
    let octets = packet(43, &[135, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(walked(&octets).unwrap().unrecognised, None);
}
