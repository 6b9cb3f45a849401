//! The agent's judgement of packets: sequences of them, with times, beside a second,
//! plainer cache.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::binding::authentication::Association;
use aarp_core::binding::cache::{Cache, Change, Settings};
use aarp_core::binding::keyring::{Freshness, Keyring};
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::timestamp::Timestamp;
use aarp_core::prefix::Prefix;
use aarp_mobility::registrar::{Outcome, Registrar, Why};
use aarp_mobility::sealed::{self, Seal};
use aarp_wire::ipv6::{Datagram, Extension, Ipv6Packet, is_unicast_routable, walk};
use aarp_wire::mobility::{
    BindingOptions, Message, MobilityOption, MobilityPacket, Status, UpdateFlags, fill_checksum,
};

use crate::input::Input;

pub(crate) const AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
const HOME: u128 = 0x2001_0db8_0000_0001_0000_0000_0000_0000;
/// Two hosts and a prefix of four addresses.
pub(crate) const ANYCAST: Ipv6Addr = Ipv6Addr::from_bits(HOME | 0xa);
const OTHER: Ipv6Addr = Ipv6Addr::from_bits(HOME | 0xb);
const PREFIX: Ipv6Addr = Ipv6Addr::from_bits(HOME | 0x40);
/// As many bindings as there is room for; there are more anycast addresses.
const CAPACITY: usize = 3;
const LIFETIME_MAX: u16 = 10;
/// Where the clocks begin.
const EPOCH: Duration = Duration::from_secs(1000);
const WALL: Duration = Duration::from_secs(1_700_000_000);
/// How far a timestamp may be off, in seconds.
const SKEW: u64 = 7;

pub(crate) fn association(spi: u32) -> Association {
    let identity = format!("ar{}@example.test", spi % 10);
    let key: Vec<u8> = spi.to_be_bytes().repeat(5);
    Association::new(spi, &key, identity.as_bytes()).expect("valid")
}

/// Addresses, good and bad, that updates name.
pub(crate) fn address(which: u8) -> Ipv6Addr {
    let bits = match which % 18 {
        0..=2 => return ANYCAST,
        3 => return OTHER,
        4..=7 => PREFIX.to_bits() | u128::from(which % 4),
        8 => return AGENT,
        9..=11 => 0x2001_0db8_0000_0004_u128 << 64 | u128::from(which % 18),
        12 => 0,
        13 => 1,
        14 => 0xff02 << 112 | 1,
        15 => 0xfe80 << 112 | 1,
        16 => 0xffff_c000_0201,
        _ => HOME | 0x99,
    };
    Ipv6Addr::from_bits(bits)
}

/// Loopback, link-local, multicast, unspecified and IPv4 in IPv6 are not.
fn is_routable(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.octets();
    let in_ipv6 = ![0, 0xffff].contains(&(address.to_bits() >> 32));
    in_ipv6 && first != 0xff && !(first == 0xfe && second & 0x80 != 0)
}

fn serves(address: Ipv6Addr) -> bool {
    address == ANYCAST || address == OTHER || address.to_bits() & !3 == PREFIX.to_bits()
}

/// What somebody with a key asks for.
#[derive(Clone, Debug)]
struct Made {
    octets: Vec<u8>,
    anycast: Ipv6Addr,
    care_of: Ipv6Addr,
    sequence: u16,
    flags: u16,
    lifetime: u16,
    /// The SPI, of a key that the agent knows or not.
    spi: Option<u32>,
    timestamp: Option<u64>,
    spoiled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    care_of: Ipv6Addr,
    sequence: u16,
    end: Duration,
    node: Option<u32>,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Silence,
    Refused(u8),
    Accepted,
}

struct Bench {
    registrar: Registrar,
    cache: Cache,
    insecure: bool,
    now: Duration,
    entries: HashMap<Ipv6Addr, Entry>,
    /// The last timestamp of each node.
    last: HashMap<u32, u64>,
    made: Vec<Made>,
    /// Answers that nothing but the limit held back.
    complaints: u64,
    judged: u64,
    silent: u64,
}

/// SPIs 300 and 310 are one node, 301 another; 302 may register nothing, 303 is not
/// known.
fn node(spi: u32) -> u32 {
    spi % 10
}

/// Packets to an agent: `Registrar`, `Keyring`, `Cache`.
pub fn registrar(data: &[u8]) {
    let mut input = Input(data);
    let mut bench = Bench::new(input.octet() & 1 != 0);
    for _ in 0..48 {
        if input.0.is_empty() {
            break;
        }
        bench.step(&mut input);
        bench.check();
    }
}

impl Bench {
    fn new(insecure: bool) -> Self {
        let mut keyring = Keyring::new(Freshness::DEFAULT);
        let home = vec![
            Prefix::host(ANYCAST),
            Prefix::host(OTHER),
            format!("{PREFIX}/126").parse().expect("a prefix"),
        ];
        for spi in [300, 301, 310] {
            let added = keyring.insert(association(spi), home.clone());
            added.expect("another SPI each time");
        }
        keyring.insert(association(302), []).expect("another SPI");
        Self {
            registrar: Registrar::new(AGENT, keyring, insecure),
            cache: Cache::new(Settings {
                home,
                own: vec![AGENT],
                max_lifetime: Lifetime(LIFETIME_MAX),
                refresh_advice: Some(Lifetime(5)),
                capacity: CAPACITY,
            }),
            insecure,
            now: EPOCH,
            entries: HashMap::new(),
            last: HashMap::new(),
            made: Vec::new(),
            complaints: 0,
            judged: 0,
            silent: 0,
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_unix(WALL + self.now - EPOCH)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.octet() % 8 {
            0 => self.now += Duration::from_millis(u64::from(input.octet()) * 200),
            1 => {
                let len = usize::from(input.octet()).min(input.0.len());
                let (octets, rest) = input.0.split_at(len);
                input.0 = rest;
                self.foreign(octets.to_vec());
            }
            2 if !self.made.is_empty() => {
                let which = usize::from(input.octet()) % self.made.len();
                let again = self.made[which].clone();
                self.judge(&again);
            }
            3 => {
                while let Some(ended) = self.cache.expire(self.now) {
                    assert!(ended.expiry() <= self.now);
                }
            }
            _ => {
                if let Some(made) = self.make(input) {
                    self.judge(&made);
                    self.made.push(made);
                }
            }
        }
    }

    /// A Binding Update as a responder sends it, or nearly.
    fn make(&self, input: &mut Input<'_>) -> Option<Made> {
        let how = input.octet();
        let anycast = address(input.octet());
        let care_of = address(input.octet().wrapping_add(9));
        let flags = match how & 7 {
            0 => u16::from(input.octet()) << 8,
            _ => 0xc000,
        };
        let sequence = input.u16();
        let lifetime = u16::from(input.octet() % 16);
        let spi = match how >> 3 & 7 {
            0 => None,
            1..=3 => Some(300),
            4 => Some(310),
            5 => Some(301),
            6 => Some(302),
            _ => Some(303),
        };
        let off = i64::from(input.octet() as i8) << 28;
        let timestamp = (how & 0x40 == 0).then(|| self.wall().0.wrapping_add_signed(off));
        let seal = spi.map(association);
        let seal = seal.as_ref().map(|association| Seal {
            association,
            identify: true,
            timestamp: timestamp.map(Timestamp),
            care_of,
            home: anycast,
        });
        let alternate = [MobilityOption::AlternateCareOf(care_of)];
        let datagram = Datagram {
            extension: Some(Extension::HomeAddress(anycast)),
            ..Datagram::new(care_of, AGENT)
        };
        let message = Message::BindingUpdate {
            sequence,
            flags: UpdateFlags(flags),
            lifetime,
        };
        let mut room = [0xa5; sealed::ROOM];
        let packet = sealed::emit(&datagram, message, &alternate, seal.as_ref(), &mut room);
        let mut octets = packet.ok()?.to_vec();
        let spoiled = how & 0x80 != 0;
        if spoiled {
            let at = usize::from(input.octet()) % octets.len();
            octets[at] ^= 1 << (input.octet() % 8);
            mend_checksum(&mut octets);
        }
        Some(Made {
            octets,
            anycast,
            care_of,
            sequence,
            flags,
            lifetime,
            spi,
            timestamp: timestamp.filter(|_| spi.is_some()),
            spoiled,
        })
    }

    /// What a plain reading of the rules makes of it.
    fn expected(&mut self, made: &Made) -> Expected {
        // Who: RFC 4285.
        let node = match made.spi {
            None if self.insecure => None,
            None => return Expected::Silence,
            Some(303) => return Expected::Silence,
            Some(spi) => {
                let Some(timestamp) = made.timestamp else {
                    return Expected::Refused(145);
                };
                let off = timestamp.wrapping_sub(self.wall().0) as i64;
                let last = self.last.entry(node(spi)).or_default();
                if off.unsigned_abs() > SKEW << 32 || timestamp <= *last {
                    return Expected::Refused(144);
                }
                *last = timestamp;
                Some(node(spi))
            }
        };
        let deregisters = made.lifetime == 0;
        let bad_care_of = !is_routable(made.care_of) || made.care_of == made.anycast;
        if !is_routable(made.anycast) || (!deregisters && bad_care_of) {
            return Expected::Silence;
        }
        if !serves(made.anycast) {
            return Expected::Refused(if deregisters { 133 } else { 132 });
        }
        if node == Some(2) {
            return Expected::Refused(129);
        }
        let now = self.now;
        self.entries.retain(|_, entry| entry.end > now);
        let entry = self.entries.get(&made.anycast).copied();
        let ahead = |entry: &Entry| made.sequence.wrapping_sub(entry.sequence);
        if entry.is_some_and(|entry| !(1..=32767).contains(&ahead(&entry))) {
            return Expected::Refused(135);
        }
        if made.flags & 0x4000 == 0 {
            return match entry {
                Some(_) => Expected::Refused(139),
                None => Expected::Silence,
            };
        }
        if deregisters {
            let is_owner = entry.is_some_and(|entry| match (entry.node, node) {
                (Some(owner), Some(node)) => owner == node,
                _ => entry.care_of == made.care_of,
            });
            if !is_owner {
                return Expected::Refused(133);
            }
            self.entries.remove(&made.anycast);
            return Expected::Accepted;
        }
        if serves(made.care_of) || made.care_of == AGENT {
            return Expected::Refused(174);
        }
        if entry.is_none() && self.entries.len() >= CAPACITY {
            return Expected::Refused(130);
        }
        let lifetime = made.lifetime.min(LIFETIME_MAX);
        let entry = Entry {
            care_of: made.care_of,
            sequence: made.sequence,
            end: now + Duration::from_secs(4 * u64::from(lifetime)),
            node,
        };
        self.entries.insert(made.anycast, entry);
        Expected::Accepted
    }

    fn judge(&mut self, made: &Made) {
        // A packet to somebody whom no answer reaches, or with addresses that the
        // headers may not have, is refused before anybody looks at its message.
        let readable = Ipv6Packet::new(&made.octets).is_ok_and(|packet| {
            is_unicast_routable(packet.source())
                && walk(&packet).is_ok_and(|chain| chain.home_address.is_some())
        });
        if made.spoiled || !readable {
            return self.foreign(made.octets.clone());
        }
        let expected = self.expected(made);
        let mut room = [0xa5; sealed::ROOM + 1];
        let len = sealed::ROOM;
        let wall = self.wall();
        let outcome = self.registrar.receive(
            &mut self.cache,
            &made.octets,
            self.now,
            wall,
            &mut room[..len],
        );
        match (&outcome, &expected) {
            (Outcome::Judged { answer, status, .. }, Expected::Refused(code)) => {
                assert_eq!(status.0, *code, "{made:?}");
                read_answer(answer, made.care_of, *status, self.insecure);
            }
            (
                Outcome::Judged {
                    answer,
                    status,
                    anycast,
                    care_of,
                    change,
                },
                Expected::Accepted,
            ) => {
                assert_eq!((anycast, care_of), (&made.anycast, &made.care_of));
                assert_ne!(*change, Change::None);
                read_answer(answer, made.care_of, *status, self.insecure);
                assert!(status.is_accepted(), "{status:?}");
                self.judged += 1;
            }
            (Outcome::Silence(Why::Discarded(_)), Expected::Silence) => self.silent += 1,
            (Outcome::Silence(Why::Unknown | Why::Unauthenticated), Expected::Silence) => {}
            (Outcome::Silence(Why::Limited), Expected::Refused(144..=146)) => {}
            other => panic!("{other:?}: {made:?}"),
        }
        if matches!(outcome, Outcome::Judged { .. })
            && matches!(expected, Expected::Refused(144..=146))
        {
            self.complaints += 1;
        }
        assert_eq!(room[len], 0xa5);
    }

    /// Something that came from anybody. It may change something only where nothing is
    /// authenticated, or where what is authenticated was not touched.
    fn foreign(&mut self, mut octets: Vec<u8>) {
        if octets.len() >= 40 {
            octets[0] = 0x60 | octets[0] & 0xf;
            let len = (octets.len() - 40) as u16;
            octets[4..6].copy_from_slice(&len.to_be_bytes());
        }
        let before = self.owners();
        let wall = self.wall();
        let mut room = [0xa5; sealed::ROOM];
        let outcome = self
            .registrar
            .receive(&mut self.cache, &octets, self.now, wall, &mut room);
        match outcome {
            Outcome::Judged {
                anycast,
                care_of,
                change,
                status,
                ..
            } => {
                assert_eq!(status.is_accepted(), change != Change::None);
                // Nothing is taken from a packet that has to be discarded (RFC 8200 §4.2).
                let packet = Ipv6Packet::new(&octets).expect("it was judged");
                let chain = walk(&packet).expect("it was judged");
                assert_eq!(chain.unrecognised, None);
                let node = self.authenticated(&octets);
                if change != Change::None {
                    assert!(self.insecure || node.is_some_and(|node| node != 2));
                    self.adopt(&octets, anycast, care_of, change, node);
                }
            }
            Outcome::Complaint(answer) => {
                self.complaints += 1;
                assert!(answer.len() <= 1280);
                let answer = Ipv6Packet::new(answer).expect("a packet");
                assert_eq!(answer.source(), AGENT);
                // RFC 6275 §9.3.3 and RFC 4443 §2.4 (e.6).
                assert!(is_unicast_routable(answer.destination()), "{answer:?}");
                assert_eq!(answer.destination().octets(), octets[8..24]);
            }
            Outcome::Silence(Why::Discarded(_)) => {
                self.silent += 1;
                self.authenticated(&octets);
            }
            Outcome::Silence(_) => {}
        }
        if !matches!(outcome, Outcome::Judged { .. }) {
            assert_eq!(before, self.owners());
        }
    }

    /// The node that has sent it, if it verifies under a key of the agent's and is
    /// fresh; its timestamp is used up then.
    fn authenticated(&mut self, octets: &[u8]) -> Option<u32> {
        let packet = Ipv6Packet::new(octets).expect("it was judged");
        let chain = walk(&packet).expect("it was judged");
        let header = MobilityPacket::receive(&chain).expect("it was judged");
        let options = BindingOptions::parse(&header).expect("it was judged");
        let (place, code) = options.authenticator?;
        let end = header.octets().len();
        let spi = header.octets()[..place.at].last_chunk().expect("an SPI");
        let spi = u32::from_be_bytes(*spi);
        if place.at + code.len() != end || ![300, 301, 302, 310].contains(&spi) {
            return None;
        }
        let care_of = options.alternate_care_of.unwrap_or(packet.source());
        let mac = association(spi).mac(care_of, chain.source(), &header.octets()[..place.at]);
        let stamp = options.timestamp?;
        let off = stamp.wrapping_sub(self.wall().0) as i64;
        let last = self.last.entry(node(spi)).or_default();
        if *code != mac || off.unsigned_abs() > SKEW << 32 || stamp <= *last {
            return None;
        }
        *last = stamp;
        Some(node(spi))
    }

    /// Takes over what somebody has changed, if that was theirs to change.
    fn adopt(
        &mut self,
        octets: &[u8],
        anycast: Ipv6Addr,
        care_of: Ipv6Addr,
        change: Change,
        node: Option<u32>,
    ) {
        let packet = Ipv6Packet::new(octets).expect("it was judged");
        let chain = walk(&packet).expect("it was judged");
        let body = chain.payload();
        assert_eq!(chain.source(), anycast);
        self.judged += 1;
        let now = self.now;
        self.entries.retain(|_, entry| entry.end > now);
        if change == Change::Deleted {
            let entry = self.entries.remove(&anycast).expect("it had one");
            assert!(entry.care_of == care_of || entry.node.is_some() && entry.node == node);
            return;
        }
        assert!(serves(anycast) && is_routable(care_of) && !serves(care_of) && care_of != AGENT);
        let lifetime = u16::from_be_bytes([body[10], body[11]]).min(LIFETIME_MAX);
        let entry = Entry {
            care_of,
            sequence: u16::from_be_bytes([body[6], body[7]]),
            end: now + Duration::from_secs(4 * u64::from(lifetime)),
            node,
        };
        if let Some(before) = self.entries.insert(anycast, entry) {
            let ahead = entry.sequence.wrapping_sub(before.sequence);
            assert!((1..=32767).contains(&ahead));
        }
    }

    fn owners(&self) -> Vec<(Ipv6Addr, Ipv6Addr)> {
        let living = |a| Some((a, self.cache.lookup(self.now, a)?.care_of()));
        (0..18).map(address).filter_map(living).collect()
    }

    /// The cache and the plain one agree, and counters add up.
    fn check(&mut self) {
        for a in (0..18).map(address) {
            let entry = self.entries.get(&a).filter(|entry| entry.end > self.now);
            let binding = self.cache.lookup(self.now, a);
            let found = binding.map(|b| (b.care_of(), b.sequence().0, b.expiry()));
            assert_eq!(found, entry.map(|e| (e.care_of, e.sequence, e.end)), "{a}");
            if let Some(entry) = entry {
                let (from, len) = (entry.care_of, 100);
                assert_eq!(self.cache.forward(self.now, a, len), Some(from));
                assert!(self.cache.reverse(self.now, from, a, len));
                assert!(!self.cache.reverse(self.now, AGENT, a, len));
            }
        }
        let counted = self.cache.counters();
        let gone = counted.deregistered + counted.expired;
        assert_eq!(self.cache.len() as u64, counted.created - gone);
        assert_eq!(self.cache.len(), self.cache.iter().count());
        assert!(self.cache.len() <= CAPACITY);
        let accepted = counted.created + counted.refreshed + counted.moved + counted.deregistered;
        assert_eq!(accepted, self.judged);
        assert_eq!(counted.discarded.values().sum::<u64>(), self.silent);
        // A burst of fifty and a hundred a second.
        let most = 50 + (self.now - EPOCH).as_millis() / 10;
        assert!(u128::from(self.complaints) <= most, "{}", self.complaints);
    }
}

/// The Mobility Header once more with the right checksum, so that it is the
/// authenticator that has to notice.
pub(crate) fn mend_checksum(octets: &mut [u8]) {
    const HEADERS: usize = 64;
    let Ok(packet) = Ipv6Packet::new(octets) else {
        return;
    };
    let Ok((source, destination, HEADERS)) =
        walk(&packet).map(|chain| (chain.source(), chain.destination(), chain.offset))
    else {
        return;
    };
    // It says itself how long it is.
    let end = octets
        .len()
        .min(HEADERS + 8 * (1 + usize::from(octets[HEADERS + 1])));
    // What is too short for a checksum is refused for that.
    let _ = fill_checksum(source, destination, &mut octets[HEADERS..end]);
}

/// The answer is the agent's, whole, and under a key unless nobody has one.
fn read_answer(octets: &[u8], to: Ipv6Addr, expected: Status, insecure: bool) {
    let packet = Ipv6Packet::new(octets).expect("a packet");
    assert_eq!((packet.source(), packet.destination()), (AGENT, to));
    let chain = walk(&packet).expect("headers");
    let header = MobilityPacket::receive(&chain).expect("a message");
    let Ok(Message::BindingAcknowledgement { status, .. }) = header.message() else {
        panic!("{header:?}");
    };
    assert_eq!(status, expected);
    let sealed = header.authenticator().expect("options").is_some();
    assert!(sealed || insecure);
}
