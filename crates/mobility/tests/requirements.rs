//! What the RFCs demand of the packets that responders and agents exchange, as
//! properties: docs/rfc-requirements.md says which test is for which sentence.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::binding::authentication::Association;
use aarp_core::binding::cache::{self, Cache};
use aarp_core::binding::keyring::{Freshness, Keyring};
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::message::Update;
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::{Stamps, Timestamp};
use aarp_core::binding::update_list::{Action, Moment, Peer, Registration, Settings, State};
use aarp_core::prefix::Prefix;
use aarp_mobility::registrant::Registrant;
use aarp_mobility::registrar::{Outcome, Registrar, Why};
use aarp_mobility::sealed::{self, Seal};
use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr};
use aarp_wire::ipv6::{Datagram, Extension, Ipv6Packet, walk};
use aarp_wire::mobility::{
    AUTHENTICATOR, BindingOptions, ErrorStatus, Message, Method, MobilityOption, MobilityPacket,
    UpdateFlags, fill_checksum,
};
use proptest::prelude::*;

const AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0xa);
const SPI: u32 = 300;
const IDENTITY: &[u8] = b"ar1@test";

fn association() -> Association {
    Association::new(SPI, &[7; 20], IDENTITY).expect("an association")
}

fn wall(seconds: u64) -> Timestamp {
    Timestamp::from_unix(Duration::from_secs(1_700_000_000 + seconds))
}

fn agent(insecure: bool, refresh_advice: Option<u16>) -> (Registrar, Cache) {
    let mut keyring = Keyring::new(Freshness::DEFAULT);
    let inserted = keyring.insert(association(), [Prefix::host(ANYCAST)]);
    inserted.expect("the first");
    let cache = Cache::new(cache::Settings {
        home: vec![Prefix::host(ANYCAST)],
        own: vec![AGENT],
        max_lifetime: Lifetime(900),
        refresh_advice: refresh_advice.map(Lifetime),
        capacity: 4,
    });
    (Registrar::new(AGENT, keyring, insecure), cache)
}

/// An address that can be routed.
fn routable() -> impl Strategy<Value = Ipv6Addr> {
    any::<u64>().prop_map(|low| Ipv6Addr::from(0x2001_0db8_0001 << 80 | u128::from(low)))
}

/// A Binding Update from `source` about A, with `care_of` as its alternate care-of
/// address, under the key if there is a timestamp.
fn update(
    source: Ipv6Addr,
    care_of: Option<Ipv6Addr>,
    sequence: u16,
    lifetime: u16,
    timestamp: Option<Timestamp>,
) -> Vec<u8> {
    let datagram = Datagram {
        extension: Some(Extension::HomeAddress(ANYCAST)),
        ..Datagram::new(source, AGENT)
    };
    let message = Message::BindingUpdate {
        sequence,
        flags: UpdateFlags(0xc000),
        lifetime,
    };
    let association = association();
    let seal = timestamp.map(|timestamp| Seal {
        association: &association,
        identify: true,
        timestamp: Some(timestamp),
        care_of: care_of.unwrap_or(source),
        home: ANYCAST,
    });
    let options: Vec<_> = care_of
        .into_iter()
        .map(MobilityOption::AlternateCareOf)
        .collect();
    let mut room = [0; sealed::ROOM];
    let packet = sealed::emit(&datagram, message, &options, seal.as_ref(), &mut room);
    packet.expect("it can be sent").to_vec()
}

/// The authenticator of a message: its SPI, and whether it is right and the last.
fn authenticator(packet: &[u8], care_of: Ipv6Addr) -> Option<(u32, bool)> {
    let chain = walk(&Ipv6Packet::new(packet).expect("IPv6")).expect("headers");
    let header = MobilityPacket::receive(&chain).expect("a message");
    let options = BindingOptions::parse(&header).expect("options");
    let (place, code) = options.authenticator?;
    let Method::MobileNodeHomeAgent { spi } = place.method else {
        panic!("{place:?}");
    };
    let covered = &header.octets()[..place.at];
    let is_right = association().verify(care_of, ANYCAST, covered, code);
    let is_last = place.at + AUTHENTICATOR == header.octets().len();
    Some((spi, is_right && is_last && place.is_last))
}

proptest! {
    /// RFC 6275 §11.7.1: a home registration has the A and H bits, the care-of address
    /// as its source and in an Alternate Care-of Address option, the home address in a
    /// Home Address option. RFC 4285 §5.1: with the identity, and the authenticator
    /// last; §6: with a timestamp.
    #[test]
    fn every_binding_update_is_complete(
        care_of in routable(), home in routable(), sequence: u16, lifetime: u16,
        stamp: u64, is_authenticated: bool,
    ) {
        let registration = Registration::new(home, Settings::DEFAULT, Sequence(7));
        let key = is_authenticated.then(association);
        let registrant = Registrant::new(registration, AGENT, Peer::new(), key);
        let asked = Update {
            anycast: home,
            care_of,
            sequence: Sequence(sequence),
            lifetime: Lifetime(lifetime),
            flags: UpdateFlags(0xc000),
            timestamp: is_authenticated.then_some(Timestamp(stamp)),
        };
        let mut room = [0xa5; sealed::ROOM];
        let packet = registrant.packet(&asked, &mut room).expect("room");
        let packet = Ipv6Packet::new(packet).expect("IPv6");
        let chain = walk(&packet).expect("headers");
        prop_assert_eq!((packet.source(), packet.destination()), (care_of, AGENT));
        let option = chain.home_address.expect("a Home Address option");
        prop_assert_eq!((option.address, option.is_aligned), (home, true));
        prop_assert_eq!(chain.routing, None);
        let header = MobilityPacket::receive(&chain).expect("a message");
        let flags = UpdateFlags(0xc000);
        prop_assert_eq!(header.message(), Ok(Message::BindingUpdate { sequence, flags, lifetime }));
        let options = BindingOptions::parse(&header).expect("options");
        prop_assert_eq!(options.alternate_care_of, Some(care_of));
        prop_assert_eq!(options.timestamp.map(Timestamp), asked.timestamp);
        prop_assert_eq!(options.node_identifier, is_authenticated.then_some((1, IDENTITY)));
        let Some((place, code)) = options.authenticator else {
            prop_assert!(!is_authenticated);
            return Ok(());
        };
        prop_assert_eq!(place.method, Method::MobileNodeHomeAgent { spi: SPI });
        prop_assert_eq!(place.at + AUTHENTICATOR, header.octets().len());
        prop_assert!(association().verify(care_of, home, &header.octets()[..place.at], code));
    }

    /// RFC 6275 §9.5.4: an acknowledgement goes to where the update came from, with the
    /// home address in a type 2 routing header; §10.3.1: the binding is with the
    /// alternate care-of address, where there is one. RFC 4285 §5.1: with an
    /// authenticator of the same association if the update had one; §6: with its
    /// timestamp.
    #[test]
    fn every_binding_acknowledgement_is_complete(
        source in routable(), care_of in proptest::option::of(routable()), sequence: u16,
        lifetime in prop_oneof![Just(0u16), any::<u16>()], is_authenticated: bool,
        is_registered: bool, advice in proptest::option::of(1..500u16),
    ) {
        let (mut registrar, mut cache) = agent(!is_authenticated, advice);
        let mut room = [0xa5; sealed::ROOM];
        let now = Duration::from_secs(1000);
        let stamp = |seconds| is_authenticated.then(|| wall(seconds));
        if is_registered {
            let first = update(source, None, 7, 15, stamp(0));
            registrar.receive(&mut cache, &first, now, wall(0), &mut room);
        }
        let asked = update(source, care_of, sequence, lifetime, stamp(1));
        let outcome = registrar.receive(&mut cache, &asked, now, wall(1), &mut room);
        let Outcome::Judged { answer, status, .. } = outcome else {
            return Err(TestCaseError::fail(format!("{outcome:?}")));
        };
        let packet = Ipv6Packet::new(answer).expect("IPv6");
        let chain = walk(&packet).expect("headers");
        prop_assert_eq!((packet.source(), packet.destination()), (AGENT, source));
        prop_assert_eq!(chain.routing, Some(ANYCAST));
        prop_assert_eq!(chain.home_address, None);
        let header = MobilityPacket::receive(&chain).expect("a message");
        let Ok(Message::BindingAcknowledgement { status: said, sequence: number, lifetime: granted, .. }) = header.message() else {
            return Err(TestCaseError::fail("another message"));
        };
        prop_assert_eq!(said, status);
        prop_assert_eq!(number, if status.0 == 135 { 7 } else { sequence });
        prop_assert!(status.0 == 135 || granted <= lifetime);
        let options = BindingOptions::parse(&header).expect("options");
        prop_assert_eq!(options.timestamp.map(Timestamp), stamp(1));
        let interval = options.refresh_interval;
        prop_assert!(interval.is_none_or(|interval| status.is_accepted() && interval < granted));
        let expected = is_authenticated.then_some((SPI, true));
        prop_assert_eq!(authenticator(answer, care_of.unwrap_or(source)), expected);
        if status.0 == 0 && lifetime > 0 {
            let binding = cache.lookup(now, ANYCAST).expect("registered");
            prop_assert_eq!(binding.care_of(), care_of.unwrap_or(source));
        }
    }

    /// RFC 6275 §9.2 and §9.3.3: a type that is not known MUST be answered with a
    /// Binding Error of status 2, directly to the source, but not to one that is not
    /// unicast; another payload by a Parameter Problem that points at it (RFC 4443
    /// §2.4(e): neither to such a source, and no acknowledgement either); RFC 8200 §4.2 and RFC 5095 §3: nothing is
    /// taken from a packet that its destination has to discard.
    #[test]
    fn complaints_go_to_who_may_have_them(
        source in prop_oneof![
            routable(),
            Just(Ipv6Addr::UNSPECIFIED),
            Just(Ipv6Addr::LOCALHOST),
            any::<u128>().prop_map(|low| Ipv6Addr::from(0xff << 120 | low >> 8)),
        ],
        mh_type in 8..16u8, what in 0..6,
    ) {
        let (mut registrar, mut cache) = agent(true, None);
        let mut packet = update(source, Some(Ipv6Addr::new(0x2001, 0xdb8, 4, 0, 0, 0, 0, 2)), 7, 15, None);
        match what {
            0 => packet[64 + 2] = mh_type,
            1 => packet[64] = 6,
            // An option before the Home Address that has to be known, for padding.
            2 => packet[42] = 0x80 | mh_type,
            3 => packet[42] = 0x40 | mh_type,
            4 => {
                // A type 0 routing header with a segment left.
                packet.splice(40..40, [60, 0, 0, 1, 0, 0, 0, 0]);
                packet[6] = 43;
                packet[5] += 8;
            }
            // Nothing is wrong with it but where it comes from.
            _ => {}
        }
        let at = if what == 4 { 72 } else { 64 };
        fill_checksum(ANYCAST, AGENT, &mut packet[at..]).expect("a header");
        let mut room = [0xa5; sealed::ROOM];
        let now = Duration::from_secs(1000);
        let outcome = registrar.receive(&mut cache, &packet, now, wall(0), &mut room);
        let is_unicast = source.segments()[0] == 0x2001;
        prop_assert_eq!(cache.is_empty(), !(is_unicast && what == 5));
        if is_unicast && what == 5 {
            let is_judged = matches!(outcome, Outcome::Judged { .. });
            prop_assert!(is_judged, "{:?}", outcome);
            return Ok(());
        }
        let Outcome::Complaint(octets) = outcome else {
            prop_assert_eq!(outcome, Outcome::Silence(Why::Malformed));
            prop_assert!(!is_unicast || what == 3);
            return Ok(());
        };
        prop_assert!(is_unicast && what != 3);
        let answer = Ipv6Packet::new(octets).expect("IPv6");
        prop_assert_eq!((answer.source(), answer.destination()), (AGENT, source));
        let chain = walk(&answer).expect("headers");
        prop_assert_eq!(chain.routing, None);
        let problem = |code, pointer| Some(ErrorKind::ParameterProblem { code, pointer });
        let expected = match what {
            0 => None,
            1 => problem(0, 64),
            2 => problem(2, 42),
            _ => problem(0, 42),
        };
        match expected {
            None => {
                let header = MobilityPacket::receive(&chain).expect("a message");
                let (status, home_address) = (ErrorStatus::UNRECOGNISED_TYPE, ANYCAST);
                prop_assert_eq!(header.message(), Ok(Message::BindingError { status, home_address }));
            }
            Some(kind) => {
                let error = ErrorRepr::parse(chain.payload()).expect("an error");
                prop_assert_eq!((error.kind, error.invoking), (kind, &packet[..]));
            }
        }
    }

    /// RFC 4285 §5.1 and RFC 6275 §11.7.3: an acknowledgement that is not authenticated,
    /// is from or about somebody else, or of which a bit is not what was sent, changes
    /// nothing.
    #[test]
    fn a_forged_acknowledgement_is_not_heard(at in any::<prop::sample::Index>(), bit in 0..8u8, sequence: u16) {
        let (mut registrar, mut cache) = agent(false, None);
        let registration = Registration::new(ANYCAST, Settings::DEFAULT, Sequence(sequence));
        let peer = Peer::authenticated(Stamps::default(), Duration::from_secs(7));
        let mut registrant = Registrant::new(registration, AGENT, peer, Some(association()));
        let moment = Moment { now: Duration::from_secs(1000), wall: wall(0), random: 0 };
        let actions = registrant.register(moment, Ipv6Addr::new(0x2001, 0xdb8, 4, 0, 0, 0, 0, 2));
        let Some(Action::Send(asked)) = actions.iter().find(|action| matches!(action, Action::Send(_))) else {
            return Err(TestCaseError::fail("no update"));
        };
        let (mut room, mut answer_room) = ([0; sealed::ROOM], [0; sealed::ROOM]);
        let packet = registrant.packet(asked, &mut room).expect("room");
        let outcome = registrar.receive(&mut cache, packet, moment.now, moment.wall, &mut answer_room);
        let Outcome::Judged { answer, .. } = outcome else {
            return Err(TestCaseError::fail(format!("{outcome:?}")));
        };
        let answer = answer.to_vec();
        let mut forged = answer.clone();
        let at = at.index(forged.len());
        forged[at] ^= 1u8 << bit;
        // With the checksum that belongs to it, where it can be computed.
        if let Ok(Ok(chain)) = Ipv6Packet::new(&forged).map(|packet| walk(&packet)) {
            let (source, destination, offset) = (chain.source(), chain.destination(), chain.offset);
            if chain.protocol == 135 && !(offset + 4..offset + 6).contains(&at) {
                let _ = fill_checksum(source, destination, &mut forged[offset..]);
            }
        }
        let deadline = registrant.registration.deadline();
        let _ = registrant.hear(&forged, moment);
        // Neither traffic class, flow label nor hop limit is authenticated, nor are the
        // reserved octets of the routing header.
        let is_outside = (0..4).contains(&at) || at == 7 || (44..48).contains(&at);
        if is_outside && registrant.registration.state() == State::Registered {
            return Ok(());
        }
        prop_assert_eq!(registrant.registration.state(), State::Registering, "octet {}", at);
        prop_assert_eq!(registrant.registration.deadline(), deadline);
        prop_assert!(registrant.hear(&answer, moment).is_ok());
        prop_assert_eq!(registrant.registration.state(), State::Registered);
    }
}
