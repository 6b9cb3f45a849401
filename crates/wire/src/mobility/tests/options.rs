//! The options: lengths, places, and what an authenticator covers.

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::strategy::{any_message, any_options};
use super::*;
use crate::Error;

/// A Binding Update with these octets as its options.
fn update_with(options: &[u8]) -> Vec<u8> {
    let mut octets = emitted(UPDATE, &[]);
    octets.truncate(12);
    octets.extend(options);
    octets.resize(octets.len().next_multiple_of(8), 0);
    octets[1] = (octets.len() / 8 - 1) as u8;
    octets
}

fn option_of(kind: u8, len: usize) -> Vec<u8> {
    let mut octets = vec![kind, len as u8];
    octets.extend((0..len).map(|at| at as u8 + 1));
    octets
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn lengths() {
    // Type, and the lengths that it has (RFC 6275 §6.2, RFC 4285 §5, RFC 5648 §4.1).
    let exact: [(u8, &[usize]); 7] = [
        (2, &[2]),
        (3, &[16]),
        (4, &[4]),
        (5, &[12]),
        // Its subtype is 1 here.
        (9, &[17]),
        (10, &[8]),
        (35, &[4, 8, 20]),
    ];
    for (kind, good) in exact {
        for len in 0..=255 {
            let octets = update_with(&option_of(kind, len));
            let (placed, error) = found(&octets);
            if good.contains(&len) {
                assert_eq!((placed.len(), error), (1, None), "{kind} {len}");
                assert_eq!(placed[0].option.kind(), kind);
            } else {
                let expected = OptionError {
                    kind,
                    at: 12,
                    error: Error::Length,
                };
                assert_eq!((placed.len(), error), (0, Some(expected)), "{kind} {len}");
            }
        }
    }
    // The others need what is always there of them.
    for (kind, least) in [(8, 1), (9, 5)] {
        for len in 0..=255 {
            let mut octets = option_of(kind, len);
            if kind == 9 && len > 0 {
                octets[2] = 2;
            }
            let octets = update_with(&octets);
            assert_eq!(found(&octets).1.is_none(), len >= least, "{kind} {len}");
        }
    }
}

#[test]
fn an_option_beyond_the_header_is_refused() {
    for kind in 1..=255 {
        // Two octets remain behind a length of three.
        let octets = update_with(&[kind, 3, 0, 0]);
        let expected = OptionError {
            kind,
            at: 12,
            error: Error::Truncated,
        };
        assert_eq!(found(&octets).1, Some(expected));
        // The length itself is missing.
        let octets = update_with(&[0, 0, 0, kind]);
        let expected = OptionError { at: 15, ..expected };
        assert_eq!(found(&octets).1, Some(expected));
    }
}

//= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.1
//= type=test
//# Implementations MUST silently ignore any mobility
//# options that they do not understand.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn unknown_options_are_skipped() {
    let known = [2, 3, 4, 5, 8, 9, 10, 35];
    for kind in (2..=255).filter(|kind| !known.contains(kind)) {
        for len in [0, 1, 7, 255] {
            let mut options = option_of(kind, len);
            options.extend([1, 3, 9, 9, 9, 0, 0, 2, 2, 1, 0]);
            let octets = update_with(&options);
            let (placed, error) = found(&octets);
            assert_eq!(error, None);
            let advice = MobilityOption::RefreshAdvice { interval: 256 };
            assert_eq!(placed.len(), 1);
            assert_eq!((placed[0].at, placed[0].option), (12 + 2 + len + 7, advice));
            let packet = MobilityPacket::new(&octets).unwrap();
            let kinds: Vec<_> = packet.raw_options().map(|raw| raw.unwrap().kind).collect();
            assert_eq!(kinds[..3], [kind, 1, 2]);
        }
    }
}

#[test]
fn a_reserved_binding_identifier_is_refused() {
    let octets = update_with(&[35, 4, 0, 0, 0, 0]);
    let expected = OptionError {
        kind: 35,
        at: 12,
        error: Error::Value,
    };
    assert_eq!(found(&octets), (vec![], Some(expected)));
}

/// Where options have to begin: the table of RFC 6275 §6.2, RFC 4285, RFC 5648.
fn may_begin(octets: &[u8], at: usize) -> bool {
    match (octets[at], octets[at + 1]) {
        (2 | 4, _) | (35, 4) => at.is_multiple_of(2),
        (3, _) => at % 8 == 6,
        (5 | 10 | 35, _) => at % 8 == 2,
        (9, _) => at % 4 == 1,
        _ => true,
    }
}

#[test]
fn options_at_other_places_are_read_and_told() {
    for (kind, len, subtype) in [
        (2, 2, 0),
        (3, 16, 0),
        (4, 4, 0),
        (5, 12, 0),
        (8, 5, 1),
        (9, 17, 1),
        (9, 9, 2),
        (10, 8, 0),
        (35, 4, 0),
        (35, 8, 0),
        (35, 20, 0),
    ] {
        for front in 0..16 {
            let mut option = option_of(kind, len);
            if subtype != 0 {
                option[2] = subtype;
            }
            let octets = update_with(&[vec![0; front], option].concat());
            let (placed, error) = found(&octets);
            assert_eq!((placed.len(), error), (1, None));
            assert_eq!(placed[0].at, 12 + front);
            let expected = may_begin(&octets, 12 + front);
            assert_eq!(placed[0].is_aligned(), expected, "{kind} at {}", 12 + front);
        }
    }
}

proptest! {
    #[test]
    fn options_begin_where_they_have_to(message in any_message(), options in any_options()) {
        let octets = emitted(message, &options);
        let (mut at, fixed) = (octets.len(), [8, 16, 16, 24, 24, 12, 12, 24][..].get(usize::from(octets[2])));
        let mut next = *fixed.unwrap_or(&12);
        let (mut count, mut last) = (0, None);
        // A walk of its own: type, length, and padding that is zero.
        while next < octets.len() {
            at = next;
            if octets[at] == 0 { next += 1; continue }
            next += 2 + usize::from(octets[at + 1]);
            prop_assert!(next <= octets.len());
            if octets[at] == 1 {
                prop_assert!(octets[at + 2..next].iter().all(|octet| *octet == 0));
                continue
            }
            prop_assert!(may_begin(&octets, at), "{} at {at}", octets[at]);
            last = Some((octets[at], octets[at + 2], next));
            count += 1;
        }
        prop_assert!(at < octets.len() || options.is_empty());
        prop_assert_eq!((next, count), (octets.len(), options.len()));
        // Authenticators are the last, and nothing is behind them.
        if let Some((5, _, end) | (9, 1, end)) = last {
            prop_assert_eq!(end, octets.len());
        }
    }

    #[test]
    fn a_sealed_message(message in any_message(), options in any_options(), code: [u8; 12], source: u128, destination: u128) {
        let mut octets = emitted(message, &options);
        let before = octets.clone();
        let packet = MobilityPacket::new(&before).unwrap();
        let (source, destination) = (source.into(), destination.into());
        let Some(place) = packet.authenticator().unwrap() else {
            prop_assert!(!options.last().is_some_and(MobilityOption::is_last));
            return Ok(());
        };
        prop_assert!(place.is_last);
        prop_assert_eq!(place.at + 12, octets.len());
        if let (Method::MobileNodeHomeAgent { spi }, Some(MobilityOption::MessageAuthentication { spi: expected, .. })) = (place.method, options.last()) {
            prop_assert_eq!(spi, *expected);
            prop_assert_eq!(&before[place.at - 4..place.at], spi.to_be_bytes());
        }
        seal(&mut octets, &place, &code, source, destination).unwrap();
        let packet = MobilityPacket::check(&octets, source, destination).unwrap();
        prop_assert_eq!(packet.authenticator(), Ok(Some(place)));
        prop_assert_eq!(place.code(&octets), Ok(&code));
        // Covered is all before it, with a checksum of zero: as it was emitted.
        let covered = place.covered(&octets).concat();
        prop_assert_eq!(&covered[..], &before[..place.at]);
        let read = BindingOptions::parse(&packet);
        if let Ok(read) = read {
            prop_assert_eq!(read.authenticator, Some((place, &code)));
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
//= type=test
#[test]
fn a_message_authentication_code_covers_all_up_to_the_spi() {
    let identifier = b"ar1@example";
    let octets = emitted(
        UPDATE,
        &[
            MobilityOption::AlternateCareOf(address("2001:db8:0:4::2")),
            MobilityOption::NodeIdentifier {
                subtype: 1,
                identifier,
            },
            MobilityOption::MessageIdentification { timestamp: 1 },
            MobilityOption::MessageAuthentication {
                subtype: 1,
                spi: 256,
                code: &[0; 12],
            },
        ],
    );
    let packet = MobilityPacket::new(&octets).unwrap();
    let place = packet.authenticator().unwrap().unwrap();
    let expected = Authenticator {
        method: Method::MobileNodeHomeAgent { spi: 256 },
        at: octets.len() - 12,
        is_last: true,
    };
    assert_eq!(place, expected);
    assert!(place.covered(&octets).concat().ends_with(&[1, 0, 0, 1, 0]));
    let read = BindingOptions::parse(&packet).unwrap();
    assert_eq!(read.node_identifier, Some((1, &identifier[..])));
    assert_eq!(read.timestamp, Some(1));
    assert_eq!(read.alternate_care_of, Some(address("2001:db8:0:4::2")));
    assert_eq!(read.authenticator, Some((place, &[0; 12])));
}

#[test]
fn an_authenticator_that_is_not_the_last_is_told() {
    let code = [7; 12];
    let authorization = [&[5, 12][..], &code].concat();
    let authentication = [&[9, 17, 1, 0, 0, 1, 0][..], &code].concat();
    // What is behind it, whether it may stand behind either.
    for (behind, after_authorization, after_authentication) in [
        (&[][..], true, true),
        (&[0, 0, 0, 0, 0, 0, 0, 0], false, true),
        (&[1, 6, 0, 0, 0, 0, 0, 0], false, true),
        (&[2, 2, 0, 1, 0, 0, 0, 0], false, false),
        (&[99, 0, 0, 0, 0, 0, 0, 0], false, false),
        (&[1, 0, 99, 4, 0, 0, 0, 0], false, false),
    ] {
        // At 18 and 13, so that both end with the header.
        for (front, option, expected) in [
            (6, &authorization, after_authorization),
            (1, &authentication, after_authentication),
        ] {
            let octets = update_with(&[&vec![0; front][..], option, behind].concat());
            let packet = MobilityPacket::new(&octets).unwrap();
            let place = packet.authenticator().unwrap().unwrap();
            assert_eq!(place.is_last, expected, "{behind:?}");
            assert_eq!(place.code(&octets), Ok(&code));
        }
    }
}

#[test]
fn what_stands_twice_is_refused_where_all_are_read() {
    let options = [
        MobilityOption::RefreshAdvice { interval: 1 },
        MobilityOption::AlternateCareOf(Ipv6Addr::LOCALHOST),
        MobilityOption::NonceIndices {
            home: 1,
            care_of: 2,
        },
        MobilityOption::NodeIdentifier {
            subtype: 1,
            identifier: b"x",
        },
        MobilityOption::MessageIdentification { timestamp: 1 },
    ];
    for option in options {
        let octets = emitted(UPDATE, &[option, option]);
        let refused = BindingOptions::parse(&MobilityPacket::new(&octets).unwrap()).unwrap_err();
        assert_eq!(
            (refused.kind, refused.error),
            (option.kind(), Error::Duplicate)
        );
    }
    let twice = [&option_of(5, 12)[..], &option_of(5, 12)].concat();
    let octets = update_with(&twice);
    let refused = BindingOptions::parse(&MobilityPacket::new(&octets).unwrap()).unwrap_err();
    assert_eq!((refused.kind, refused.at), (5, 26));
    // Binding identifiers may stand there as often as they want.
    let identifier = BindingIdentifier {
        bid: NonZeroU16::MIN,
        status: Status::ACCEPTED,
        at_home: true,
        priority: 0x7f,
        care_of: None,
    };
    let option = MobilityOption::BindingIdentifier(identifier);
    let octets = emitted(UPDATE, &[option, option]);
    let read = BindingOptions::parse(&MobilityPacket::new(&octets).unwrap()).unwrap();
    assert_eq!(read.binding_identifiers, 2);
    assert_eq!(read.binding_identifier, Some(identifier));
}

#[test]
fn what_cannot_be_sent_is_not_emitted() {
    let long = [0; 300];
    let authorization = MobilityOption::AuthorizationData([0; 12]);
    let advice = MobilityOption::RefreshAdvice { interval: 1 };
    let authentication = |subtype, len| MobilityOption::MessageAuthentication {
        subtype,
        spi: 256,
        code: &long[..len],
    };
    let identifier = |len| MobilityOption::NodeIdentifier {
        subtype: 1,
        identifier: &long[..len],
    };
    let priority = MobilityOption::BindingIdentifier(BindingIdentifier {
        bid: NonZeroU16::MIN,
        status: Status::ACCEPTED,
        at_home: false,
        priority: 0x80,
        care_of: None,
    });
    let cases: [(&[MobilityOption<'_>], Error); 10] = [
        (&[authorization, advice], Error::Order),
        (&[authentication(1, 12), advice], Error::Order),
        (&[authorization, authentication(1, 12)], Error::Order),
        (&[authentication(1, 11)], Error::Length),
        (&[authentication(1, 13)], Error::Length),
        (&[authentication(2, 251)], Error::Length),
        (&[identifier(255)], Error::Length),
        (&[identifier(300)], Error::Length),
        (&[identifier(254); 8], Error::Length),
        (&[priority], Error::Value),
    ];
    for (options, error) in cases {
        let repr = MobilityRepr {
            message: UPDATE,
            options,
        };
        assert_eq!(repr.emit(&mut [0; 4096]), Err(error), "{options:?}");
    }
    // The longest there is.
    let longest = [&[identifier(254); 7][..], &[identifier(234)]].concat();
    assert_eq!(emitted(UPDATE, &longest).len(), LEN_MAX);
    let repr = MobilityRepr {
        message: UPDATE,
        options: &[],
    };
    assert_eq!(repr.emit(&mut [0; 15]), Err(Error::Truncated));
}
