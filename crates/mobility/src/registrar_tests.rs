use aarp_core::binding::authentication::Association;
use aarp_core::binding::cache::Settings;
use aarp_core::binding::keyring::Freshness;
use aarp_core::prefix::Prefix;
use aarp_wire::icmpv6_error;
use proptest::prelude::*;

use super::*;

const AGENT: &str = "2001:db8:0:1::2";
const ANYCAST: &str = "2001:db8:0:1::a";
const AR1: &str = "2001:db8:0:4::2";
const AR2: &str = "2001:db8:0:5::2";

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn association(spi: u32, identity: &str) -> Association {
    let key: Vec<u8> = spi.to_be_bytes().repeat(5);
    Association::new(spi, &key, identity.as_bytes()).unwrap()
}

/// An agent with the keys of two responders, and its clocks.
struct Agent {
    registrar: Registrar,
    cache: Cache,
    now: Duration,
    wall: Timestamp,
}

/// What an agent has answered.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: u8,
    sequence: u16,
    lifetime: u16,
    timestamp: Option<u64>,
    sealed: bool,
}

fn agent(insecure: bool) -> Agent {
    let mut keyring = Keyring::new(Freshness::DEFAULT);
    for (spi, identity) in [(300, "ar1@test"), (301, "ar2@test")] {
        let homes = [Prefix::host(ip(ANYCAST))];
        keyring.insert(association(spi, identity), homes).unwrap();
    }
    keyring.insert(association(302, "other@test"), []).unwrap();
    Agent {
        registrar: Registrar::new(ip(AGENT), keyring, insecure),
        cache: Cache::new(Settings {
            home: vec![Prefix::host(ip(ANYCAST))],
            own: vec![ip(AGENT)],
            max_lifetime: Lifetime(900),
            refresh_advice: None,
            capacity: 16,
        }),
        now: Duration::from_secs(1000),
        wall: Timestamp::from_unix(Duration::from_secs(1_700_000_000)),
    }
}

impl Agent {
    /// Has it judge a packet; its own words are read back and verified.
    fn hears(&mut self, packet: &[u8]) -> Result<Answered, Why> {
        let mut room = [0xa5; sealed::ROOM];
        let outcome =
            self.registrar
                .receive(&mut self.cache, packet, self.now, self.wall, &mut room);
        let (answer, status) = match outcome {
            Outcome::Judged { answer, status, .. } => (answer, status),
            Outcome::Complaint(_) => panic!("a complaint"),
            Outcome::Silence(why) => return Err(why),
        };
        let packet = Ipv6Packet::new(answer).unwrap();
        let chain = walk(&packet).unwrap();
        assert_eq!(packet.source(), ip(AGENT));
        assert_eq!(chain.routing, Some(ip(ANYCAST)), "type 2 routing header");
        let care_of = packet.destination();
        let header = MobilityPacket::receive(&chain).unwrap();
        let options = BindingOptions::parse(&header).unwrap();
        if let Some((place, code)) = options.authenticator {
            let Method::MobileNodeHomeAgent { spi } = place.method else {
                panic!("{place:?}")
            };
            let association = self.registrar.keyring.association(spi).unwrap();
            let covered = &header.octets()[..place.at];
            assert!(association.verify(care_of, ip(ANYCAST), covered, code));
        }
        match header.message().unwrap() {
            Message::BindingAcknowledgement {
                status: said,
                sequence,
                lifetime,
                ..
            } => {
                assert_eq!(said, status);
                Ok(Answered {
                    status: said.0,
                    sequence,
                    lifetime,
                    timestamp: options.timestamp,
                    sealed: options.authenticator.is_some(),
                })
            }
            other => panic!("{other:?}"),
        }
    }

    fn owner(&self) -> Option<Ipv6Addr> {
        let binding = self.cache.lookup(self.now, ip(ANYCAST));
        binding.map(|binding| binding.care_of())
    }
}

/// A Binding Update as a responder sends it.
struct Sent<'a> {
    care_of: &'a str,
    sequence: u16,
    lifetime: u16,
    seal: Option<(u32, &'a str, Option<Timestamp>)>,
}

impl Sent<'_> {
    fn packet(&self) -> Vec<u8> {
        let care_of = ip(self.care_of);
        let datagram = Datagram {
            extension: Some(Extension::HomeAddress(ip(ANYCAST))),
            ..Datagram::new(care_of, ip(AGENT))
        };
        let message = Message::BindingUpdate {
            sequence: self.sequence,
            flags: UpdateFlags::ACKNOWLEDGE.union(UpdateFlags::HOME_REGISTRATION),
            lifetime: self.lifetime,
        };
        let association = self
            .seal
            .map(|(spi, identity, _)| association(spi, identity));
        let seal = association.as_ref().map(|association| Seal {
            association,
            identify: true,
            timestamp: self.seal.and_then(|(_, _, timestamp)| timestamp),
            care_of,
            home: ip(ANYCAST),
        });
        let mut room = [0xa5; sealed::ROOM];
        let options = [MobilityOption::AlternateCareOf(care_of)];
        sealed::emit(&datagram, message, &options, seal.as_ref(), &mut room)
            .unwrap()
            .to_vec()
    }
}

fn plain(care_of: &str, sequence: u16) -> Vec<u8> {
    let seal = None;
    Sent {
        care_of,
        sequence,
        lifetime: 15,
        seal,
    }
    .packet()
}

#[test]
fn the_exchange_of_figure_12() {
    let mut agent = agent(true);
    let mut hear = |packet: &[u8]| {
        let answered = agent.hears(packet).unwrap();
        ((answered.status, answered.sequence), agent.owner())
    };
    let (ar1, ar2) = (Some(ip(AR1)), Some(ip(AR2)));
    assert_eq!(hear(&plain(AR1, 200)), ((0, 200), ar1));
    assert_eq!(hear(&plain(AR2, 100)), ((135, 200), ar1));
    assert_eq!(hear(&plain(AR2, 202)), ((0, 202), ar2));
    assert_eq!(hear(&plain(AR1, 201)), ((135, 202), ar2));
    assert_eq!(hear(&plain(AR1, 204)), ((0, 204), ar1));
    // A replay of the first, and a deregistration by who does not own it.
    assert_eq!(hear(&plain(AR1, 200)), ((135, 204), ar1));
    let leave = |care_of, sequence| {
        let (lifetime, seal) = (0, None);
        Sent {
            care_of,
            sequence,
            lifetime,
            seal,
        }
        .packet()
    };
    assert_eq!(hear(&leave(AR2, 205)), ((133, 205), ar1));
    assert_eq!(hear(&leave(AR1, 206)), ((0, 206), None));
}

#[test]
fn what_nothing_authenticates_is_met_with_silence_unless_told_otherwise() {
    let mut agent = agent(false);
    assert_eq!(agent.hears(&plain(AR1, 1)), Err(Why::Unauthenticated));
    assert_eq!(agent.owner(), None);
    let mut insecure = self::agent(true);
    let answered = insecure.hears(&plain(AR1, 1)).unwrap();
    assert_eq!((answered.status, answered.sealed), (0, false));
    assert_eq!(insecure.owner(), Some(ip(AR1)));
}

fn sealed_by(agent: &Agent, spi: u32, identity: &str, sequence: u16) -> Vec<u8> {
    let seal = Some((spi, identity, Some(agent.wall)));
    Sent {
        care_of: AR1,
        sequence,
        lifetime: 15,
        seal,
    }
    .packet()
}

#[test]
fn what_is_authenticated_is_answered_with_the_same() {
    let mut agent = agent(false);
    let packet = sealed_by(&agent, 300, "ar1@test", 7);
    let timestamp = Some(agent.wall.0);
    let expected = Answered {
        status: 0,
        sequence: 7,
        lifetime: 15,
        timestamp,
        sealed: true,
    };
    assert_eq!(agent.hears(&packet).unwrap(), expected);
    assert_eq!(agent.owner(), Some(ip(AR1)));
    // RFC 4285 §6: a replay is a mismatch, whatever its sequence number.
    assert_eq!(agent.hears(&packet).unwrap().status, 144);
    // A key that may not register this address (RFC 6275 §6.1.8: 129).
    let packet = sealed_by(&agent, 302, "other@test", 8);
    assert_eq!(agent.hears(&packet).unwrap().status, 129);
    // Nobody's key, and a key in another's name: silence.
    for (spi, identity) in [(400, "ar1@test"), (301, "ar1@test")] {
        let packet = sealed_by(&agent, spi, identity, 9);
        assert_eq!(agent.hears(&packet), Err(Why::Unknown));
    }
    assert_eq!(agent.owner(), Some(ip(AR1)));
}

/// A packet with a Home Address option, as who has changed it sends it.
fn with_its_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let header = &mut packet[64..];
    aarp_wire::mobility::fill_checksum(ip(ANYCAST), ip(AGENT), header).unwrap();
    packet
}

/// A flood with a wrong code uses up what is answered to strangers, and not what a
/// responder is told whose clock is wrong: that answer is what mends it.
#[test]
fn strangers_do_not_use_up_what_mends_a_clock() {
    let mut agent = agent(false);
    let mut limited = 0;
    for sequence in 0..200 {
        let mut forged = sealed_by(&agent, 301, "ar2@test", sequence);
        *forged.last_mut().unwrap() ^= 1;
        match agent.hears(&with_its_checksum(forged)) {
            Ok(answered) => assert_eq!(answered.status, 146),
            Err(why) => {
                assert_eq!(why, Why::Limited);
                limited += 1;
            }
        }
    }
    assert!(limited > 0, "the flood is not all answered");
    let wrong = Timestamp(agent.wall.0 - (3600 << 32));
    let sent = Sent {
        care_of: AR1,
        sequence: 7,
        lifetime: 15,
        seal: Some((300, "ar1@test", Some(wrong))),
    };
    let answered = agent.hears(&sent.packet()).unwrap();
    assert_eq!((answered.status, answered.sealed), (144, true));
    assert_eq!(
        answered.timestamp,
        Some(wrong.with_seconds_of(agent.wall).0)
    );
}

#[test]
fn every_octet_that_is_changed_is_noticed() {
    let mut fresh = agent(false);
    let packet = sealed_by(&fresh, 300, "ar1@test", 7);
    for at in 0..packet.len() {
        let mut agent = agent(false);
        let mut forged = packet.clone();
        forged[at] ^= 0x10;
        // The checksum is made right again, where there is one, as a forger would.
        if let Ok(Ok(chain)) = Ipv6Packet::new(&forged).map(|packet| walk(&packet)) {
            let (source, destination) = (chain.source(), chain.destination());
            let offset = chain.offset;
            if chain.protocol == 135 {
                let header = &mut forged[offset..];
                let _ = aarp_wire::mobility::fill_checksum(source, destination, header);
            }
        }
        let same = forged == packet;
        let mut room = [0; sealed::ROOM];
        let outcome =
            agent
                .registrar
                .receive(&mut agent.cache, &forged, agent.now, agent.wall, &mut room);
        let registered = agent.cache.lookup(agent.now, ip(ANYCAST));
        // Outside the authenticated part: traffic class, flow label, hop limit, padding,
        // and the source, which only says where the answer goes, as the care-of
        // address has an option of its own. The binding is the right one all the same.
        if let Some(binding) = registered {
            assert_eq!(binding.care_of(), ip(AR1), "octet {at}: {outcome:?}");
            assert_eq!(binding.sequence(), Sequence(7));
            let harmless = same || at < 24 || (40..48).contains(&at);
            assert!(harmless, "octet {at} does not matter: {outcome:?}");
        }
    }
    assert_eq!(fresh.hears(&packet).unwrap().status, 0);
}

#[test]
fn complaints_are_what_rfc_6275_says_and_limited() {
    let mut agent = agent(true);
    let mut room = [0; sealed::ROOM];
    let with = |at: usize, value: u8| {
        let mut packet = plain(AR1, 1);
        packet[64 + at] = value;
        with_its_checksum(packet)
    };
    // RFC 6275 §9.2: an unknown type is a Binding Error of status 2 …
    let Agent {
        registrar,
        cache,
        now,
        wall,
    } = &mut agent;
    let unknown = with(2, 99);
    match registrar.receive(cache, &unknown, *now, *wall, &mut room) {
        Outcome::Complaint(octets) => {
            let chain = walk(&Ipv6Packet::new(octets).unwrap()).unwrap();
            let header = MobilityPacket::receive(&chain).unwrap();
            assert!(matches!(
                header.message(),
                Ok(Message::BindingError { home_address, .. }) if home_address == ip(ANYCAST)
            ));
        }
        other => panic!("{other:?}"),
    }
    // … and another Payload Proto than 59 a Parameter Problem that points at it.
    let payload = with(0, 6);
    match registrar.receive(cache, &payload, *now, *wall, &mut room) {
        Outcome::Complaint(octets) => {
            let error = icmpv6_error::ErrorRepr::parse(&octets[40..]).unwrap();
            let kind = ErrorKind::ParameterProblem {
                code: 0,
                pointer: 64,
            };
            assert_eq!(error.kind, kind);
        }
        other => panic!("{other:?}"),
    }
    let many = (0..1000).filter(|_| {
        let outcome = registrar.receive(cache, &unknown, *now, *wall, &mut room);
        matches!(outcome, Outcome::Complaint(_))
    });
    assert!(many.count() <= 50, "a flood is not answered with one");
    let mut wrong = plain(AR1, 1);
    wrong[64 + 4] ^= 1;
    let outcome = registrar.receive(cache, &wrong, *now, *wall, &mut room);
    assert_eq!(outcome, Outcome::Silence(Why::Checksum));
}

#[test]
fn packets_that_are_none_of_the_agent_s_are_left_alone() {
    let mut agent = agent(true);
    let mut elsewhere = plain(AR1, 1);
    elsewhere[39] = 9;
    assert_eq!(agent.hears(&elsewhere), Err(Why::Malformed));
    for len in [0, 10, 39, 60, 71] {
        assert_eq!(agent.hears(&plain(AR1, 1)[..len]), Err(Why::Malformed));
    }
    assert_eq!(agent.owner(), None);
}

proptest! {
    /// Foreign octets behind headers that lead to the registrar: no panic, and nobody
    /// is registered without a key.
    #[test]
    fn foreign_octets_register_nobody(
        octets in proptest::collection::vec(any::<u8>(), 0..160),
        from in 0_usize..100,
    ) {
        let mut agent = agent(false);
        let mut packet = plain(AR1, 1);
        let from = from.min(packet.len());
        packet.truncate(from);
        packet.extend(octets);
        if packet.len() >= 40 {
            let len = (packet.len() - 40) as u16;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
        }
        let _ = agent.registrar.receive(
            &mut agent.cache, &packet, agent.now, agent.wall, &mut [0; sealed::ROOM],
        );
        prop_assert!(agent.cache.is_empty());
    }
}
