//! The agent's security associations, and its judgement of an authenticated Binding
//! Update (RFC 4285): who sent it, and whether it is fresh.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_wire::mobility::Status;

use super::authentication::{Association, AssociationError, MAC_LEN};
use super::timestamp::Timestamp;
use crate::prefix::Prefix;

/// A node that has keys: the number of its Mobile Node Identifier in the keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// How fresh a message has to be.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// How far a timestamp may be from the agent's clock.
    pub skew: Duration,
    /// Whether a message without a timestamp is refused.
    pub required: bool,
}

impl Freshness {
    /// 7 s; refused.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
    pub const DEFAULT: Self = Self {
        skew: Duration::from_secs(7),
        required: true,
    };
}

/// What a Binding Update says about its sender.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The SPI of the authentication option.
    pub spi: u32,
    /// The Mobile Node Identifier option, if there is one.
    pub identity: Option<&'a [u8]>,
    /// The Message Identification option, if there is one.
    pub timestamp: Option<Timestamp>,
    /// The authenticator.
    pub mac: [u8; MAC_LEN],
    /// The care-of address: of the alternate option, or the source of the packet.
    pub care_of: Ipv6Addr,
    /// The home address: of its option, or the source of the packet.
    pub home: Ipv6Addr,
    /// The Mobility Header up to and including the SPI.
    pub covered: &'a [u8],
}

/// A message that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No security association has the SPI.
    NoAssociation,
    /// No Mobile Node Identifier option.
    NoIdentity,
    /// The SPI belongs to another identity.
    OtherIdentity,
}

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// The node sent it, now. The acknowledgement carries the same timestamp.
    Fresh {
        /// Who.
        node: NodeId,
        /// Whether it may register the home address.
        may_register: bool,
    },
    /// Answered with `status`, under the same association, and nothing changes.
    Rejected {
        /// 144, 145 or 146.
        status: Status,
        /// The timestamp of the answer: with 144 the seconds of the agent's clock.
        timestamp: Option<Timestamp>,
    },
    /// Not answered.
    Discarded(Silence),
}

#[derive(Debug)]
struct Key {
    association: Association,
    node: NodeId,
    may_register: Box<[Prefix]>,
}

/// The keys of an agent.
#[derive(Debug)]
pub struct Keyring {
    freshness: Freshness,
    keys: HashMap<u32, Key>,
    nodes: HashMap<Box<[u8]>, NodeId>,
    /// The identities, by their numbers.
    identities: Vec<Box<[u8]>>,
    /// The last accepted timestamp of each node; it outlives the node's bindings.
    last: Vec<Option<Timestamp>>,
    /// When the keyring began, of which nothing before is known.
    start: Option<Timestamp>,
}

impl Keyring {
    /// A keyring without keys.
    #[must_use]
    pub fn new(freshness: Freshness) -> Self {
        Self {
            freshness,
            keys: HashMap::new(),
            nodes: HashMap::new(),
            identities: Vec::new(),
            last: Vec::new(),
            start: None,
        }
    }

    /// Refuses timestamps from before `start`, when this keyring began: those that
    /// another one accepted may be among them, and are within the skew for a while.
    #[must_use]
    pub const fn since(mut self, start: Timestamp) -> Self {
        self.start = Some(start);
        self
    }

    /// Adds a key that may register the anycast addresses in `may_register`. Several
    /// keys of one identity, while keys are changed, are one node.
    ///
    /// # Errors
    /// [`AssociationError::RepeatedSpi`].
    pub fn insert(
        &mut self,
        association: Association,
        may_register: impl IntoIterator<Item = Prefix>,
    ) -> Result<NodeId, AssociationError> {
        let spi = association.spi();
        let Entry::Vacant(place) = self.keys.entry(spi) else {
            return Err(AssociationError::RepeatedSpi(spi));
        };
        let next = NodeId(self.last.len() as u32);
        let node = *self
            .nodes
            .entry(association.identity().into())
            .or_insert(next);
        if node == next {
            self.last.push(None);
            self.identities.push(association.identity().into());
        }
        place.insert(Key {
            association,
            node,
            may_register: may_register.into_iter().collect(),
        });
        Ok(node)
    }

    /// Has these keys in the place of all before. What is remembered of a node stays, also
    /// of one that has no key for a while: what it has sent once is never accepted again.
    ///
    /// # Errors
    /// [`AssociationError::RepeatedSpi`]; the keys are those before then.
    pub fn replace<P: IntoIterator<Item = Prefix>>(
        &mut self,
        keys: impl IntoIterator<Item = (Association, P)>,
    ) -> Result<(), AssociationError> {
        let before = std::mem::take(&mut self.keys);
        for (association, may_register) in keys {
            if let Err(error) = self.insert(association, may_register) {
                self.keys = before;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The identities of all nodes, by their numbers; also of those without a key.
    pub fn identities(&self) -> impl Iterator<Item = &[u8]> {
        self.identities.iter().map(AsRef::as_ref)
    }

    /// The node of this identity, and whether one of its keys may register the anycast
    /// address `home`; `None` while it has no key.
    #[must_use]
    pub fn holder(&self, identity: &[u8], home: Ipv6Addr) -> Option<(NodeId, bool)> {
        let node = *self.nodes.get(identity)?;
        let keys = self.keys.values().filter(|key| key.node == node);
        let permits = keys.map(|key| key.may_register.iter().any(|prefix| prefix.contains(home)));
        permits
            .reduce(|one, other| one || other)
            .map(|may| (node, may))
    }

    /// The nodes that have keys.
    #[must_use]
    pub fn holders(&self) -> BTreeSet<NodeId> {
        self.keys.values().map(|key| key.node).collect()
    }

    /// The association of `spi`, to authenticate an acknowledgement with.
    #[must_use]
    pub fn association(&self, spi: u32) -> Option<&Association> {
        self.keys.get(&spi).map(|key| &key.association)
    }

    /// Judges a Binding Update that arrived at `wall`: first the association, then
    /// the MAC, then the timestamp. Nothing is remembered of a message that fails.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
    //= https://www.rfc-editor.org/rfc/rfc4285#section-6
    pub fn authenticate(&mut self, wall: Timestamp, message: &Credentials<'_>) -> Authentication {
        let Some(key) = self.keys.get(&message.spi) else {
            return Authentication::Discarded(Silence::NoAssociation);
        };
        match message.identity {
            None => return Authentication::Discarded(Silence::NoIdentity),
            Some(identity) if identity != key.association.identity() => {
                return Authentication::Discarded(Silence::OtherIdentity);
            }
            Some(_) => {}
        }
        let rejected = |status, timestamp| Authentication::Rejected { status, timestamp };
        if !key
            .association
            .verify(message.care_of, message.home, message.covered, &message.mac)
        {
            return rejected(Status::AUTHENTICATION_FAILED, message.timestamp);
        }
        let last = &mut self.last[key.node.0 as usize];
        match message.timestamp {
            None if self.freshness.required => return rejected(Status::ID_REQUIRED, None),
            None => {}
            Some(timestamp) => {
                // A clock that was ahead and is put right: what was accepted then is
                // refused by now for being far off, and must not keep out the present.
                let skew = self.freshness.skew;
                let ahead = |then: Timestamp| then.is_after(wall) && !then.is_close(wall, skew);
                *last = last.filter(|last| !ahead(*last));
                let start = self.start.filter(|start| !ahead(*start));
                if !timestamp.is_close(wall, skew)
                    || [*last, start]
                        .into_iter()
                        .flatten()
                        .any(|before| !timestamp.is_after(before))
                {
                    let answer = timestamp.with_seconds_of(wall);
                    return rejected(Status::ID_MISMATCH, Some(answer));
                }
                *last = Some(timestamp);
            }
        }
        Authentication::Fresh {
            node: key.node,
            may_register: key
                .may_register
                .iter()
                .any(|prefix| prefix.contains(message.home)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
    const CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix(Duration::from_millis(1_700_000_000_000 + ms))
    }

    fn association(spi: u32, identity: &str) -> Association {
        let key: Vec<u8> = spi.to_be_bytes().repeat(5);
        Association::new(spi, &key, identity.as_bytes()).unwrap()
    }

    fn keyring(freshness: Freshness) -> Keyring {
        let mut keyring = Keyring::new(freshness);
        let homes = || [Prefix::host(HOME)];
        assert_eq!(
            keyring.insert(association(300, "one"), homes()),
            Ok(NodeId(0))
        );
        assert_eq!(
            keyring.insert(association(301, "two"), homes()),
            Ok(NodeId(1))
        );
        assert_eq!(keyring.insert(association(302, "one"), []), Ok(NodeId(0)));
        keyring
    }

    /// A message that is right in all respects.
    fn message(
        spi: u32,
        identity: &'static str,
        timestamp: Option<Timestamp>,
    ) -> Credentials<'static> {
        let covered = b"\x3b\x07\x05\x00\x00\x00the rest of it";
        Credentials {
            spi,
            identity: Some(identity.as_bytes()),
            timestamp,
            mac: association(spi, identity).mac(CARE_OF, HOME, covered),
            care_of: CARE_OF,
            home: HOME,
            covered,
        }
    }

    fn fresh(node: u32, may_register: bool) -> Authentication {
        let node = NodeId(node);
        Authentication::Fresh { node, may_register }
    }

    fn mismatch(timestamp: Timestamp) -> Authentication {
        Authentication::Rejected {
            status: Status::ID_MISMATCH,
            timestamp: Some(timestamp),
        }
    }

    #[test]
    fn who_sent_it_and_what_it_may() {
        let mut keyring = keyring(Freshness::DEFAULT);
        let mut ask =
            |spi, identity, ms| keyring.authenticate(at(ms), &message(spi, identity, Some(at(ms))));
        assert_eq!(ask(300, "one", 1), fresh(0, true));
        assert_eq!(ask(301, "two", 1), fresh(1, true));
        assert_eq!(ask(302, "one", 2), fresh(0, false));
        assert_eq!(
            keyring.insert(association(300, "three"), []),
            Err(AssociationError::RepeatedSpi(300))
        );
        assert_eq!(keyring.association(301).map(Association::spi), Some(301));
        assert!(keyring.association(303).is_none());
    }

    /// RFC 4285 §5.1: without a security association the message is dropped in
    /// silence; the Mobile Node Identifier MUST be there.
    #[test]
    fn strangers_get_no_answer() {
        let mut keyring = keyring(Freshness::DEFAULT);
        let mut ask = |message: Credentials<'_>| keyring.authenticate(at(0), &message);
        let discarded = Authentication::Discarded;
        assert_eq!(
            ask(message(400, "one", Some(at(0)))),
            discarded(Silence::NoAssociation)
        );
        assert_eq!(
            ask(Credentials {
                identity: None,
                ..message(300, "one", Some(at(0)))
            }),
            discarded(Silence::NoIdentity)
        );
        // A valid key of another node.
        assert_eq!(
            ask(Credentials {
                identity: Some(b"two"),
                ..message(300, "one", Some(at(0)))
            }),
            discarded(Silence::OtherIdentity)
        );
    }

    /// RFC 4285 §5.1: a wrong MAC is status 146, and nothing of it is remembered.
    #[test]
    fn a_wrong_mac() {
        let mut keyring = keyring(Freshness::DEFAULT);
        let forged = Credentials {
            home: CARE_OF,
            ..message(300, "one", Some(at(5000)))
        };
        assert_eq!(
            keyring.authenticate(at(0), &forged),
            Authentication::Rejected {
                status: Status::AUTHENTICATION_FAILED,
                timestamp: Some(at(5000)),
            }
        );
        let real = message(300, "one", Some(at(1)));
        assert_eq!(keyring.authenticate(at(1), &real), fresh(0, true));
    }

    /// RFC 4285 §6: without the option where it is required, status 145.
    #[test]
    fn a_missing_timestamp() {
        let bare = message(300, "one", None);
        let status = Status::ID_REQUIRED;
        assert_eq!(
            keyring(Freshness::DEFAULT).authenticate(at(0), &bare),
            Authentication::Rejected {
                status,
                timestamp: None
            }
        );
        let mut lenient = keyring(Freshness {
            required: false,
            ..Freshness::DEFAULT
        });
        assert_eq!(lenient.authenticate(at(0), &bare), fresh(0, true));
    }

    /// RFC 4285 §6: MUST be close to the agent's clock; the rejection has the low 32
    /// bits of the message and the high 32 of the agent's clock.
    #[test]
    fn a_clock_that_is_off() {
        let mut keyring = keyring(Freshness::DEFAULT);
        let mut ask = |now: u64, sent: u64| {
            keyring.authenticate(at(now), &message(300, "one", Some(at(sent))))
        };
        assert_eq!(ask(10_000, 2_999), mismatch(at(10_000).with_low(at(2_999))));
        assert_eq!(
            ask(10_000, 17_001),
            mismatch(at(10_000).with_low(at(17_001)))
        );
        assert_eq!(ask(10_000, 3_000), fresh(0, true));
        assert_eq!(ask(10_000, 17_000), fresh(0, true));
    }

    /// RFC 4285 §6: MUST be greater than all accepted before from this node, whatever
    /// the key; another node's do not count.
    #[test]
    fn a_replay() {
        let mut keyring = keyring(Freshness::DEFAULT);
        let mut ask = |spi, identity, ms: u64| {
            keyring.authenticate(at(5000), &message(spi, identity, Some(at(ms))))
        };
        assert_eq!(ask(300, "one", 4000), fresh(0, true));
        for (spi, ms) in [(300, 4000), (302, 4000), (300, 3999)] {
            assert_eq!(
                ask(spi, "one", ms),
                mismatch(at(5000).with_low(at(ms))),
                "{ms}"
            );
        }
        assert_eq!(ask(301, "two", 4000), fresh(1, true));
        assert_eq!(ask(302, "one", 4001), fresh(0, false));
    }

    /// A clock that was an hour ahead and is put right: a node that registered then
    /// registers now, and what it sent then is refused.
    #[test]
    fn a_clock_that_was_ahead() {
        let mut keyring = keyring(Freshness::DEFAULT);
        let hour = 3_600_000;
        let mut ask = |now: u64, sent: u64| {
            keyring.authenticate(at(now), &message(300, "one", Some(at(sent))))
        };
        assert_eq!(ask(hour, hour), fresh(0, true));
        assert_eq!(ask(60_000, 60_000), fresh(0, true));
        assert_eq!(ask(60_000, hour), mismatch(at(60_000).with_low(at(hour))));
        assert_eq!(
            ask(60_000, 60_000),
            mismatch(at(60_000).with_low(at(60_000)))
        );
        // Within the skew it is no clock that was wrong.
        assert_eq!(ask(60_001, 66_000), fresh(0, true));
        assert_eq!(
            ask(60_002, 60_002),
            mismatch(at(60_002).with_low(at(60_002)))
        );
    }

    /// What was sent before an agent began may be a replay of what it has forgotten.
    #[test]
    fn what_is_older_than_the_agent() {
        let mut keyring = keyring(Freshness::DEFAULT).since(at(10_000));
        let mut ask = |now: u64, sent: u64| {
            keyring.authenticate(at(now), &message(300, "one", Some(at(sent))))
        };
        assert_eq!(ask(10_100, 9_999), mismatch(at(10_100).with_low(at(9_999))));
        assert_eq!(ask(10_200, 10_001), fresh(0, true));
    }

    /// Keys that are read again: a node that stays keeps its memory, and so does one
    /// that is away for a while; what is gone is known no more.
    #[test]
    fn keys_that_are_replaced() {
        let mut keyring = keyring(Freshness::DEFAULT);
        let ask = |keyring: &mut Keyring, spi, identity, ms| {
            keyring.authenticate(at(ms), &message(spi, identity, Some(at(ms))))
        };
        assert_eq!(ask(&mut keyring, 300, "one", 1000), fresh(0, true));
        assert_eq!(ask(&mut keyring, 301, "two", 1000), fresh(1, true));
        let homes = || vec![Prefix::host(HOME)];
        let keys = [(303, "three"), (302, "one")];
        let keys = keys.map(|(spi, identity)| (association(spi, identity), homes()));
        keyring.replace(keys).unwrap();
        assert_eq!(
            ask(&mut keyring, 300, "one", 2000),
            Authentication::Discarded(Silence::NoAssociation)
        );
        assert_eq!(ask(&mut keyring, 302, "one", 999), mismatch(at(999)));
        assert_eq!(ask(&mut keyring, 302, "one", 2001), fresh(0, true));
        assert_eq!(ask(&mut keyring, 303, "three", 2001), fresh(2, true));
        assert_eq!(keyring.holders(), [NodeId(0), NodeId(2)].into());
        keyring
            .replace([(association(301, "two"), homes())])
            .unwrap();
        assert_eq!(ask(&mut keyring, 301, "two", 1000), mismatch(at(1000)));
        assert_eq!(ask(&mut keyring, 301, "two", 2001), fresh(1, true));
        let twice = [
            (association(304, "four"), homes()),
            (association(304, "one"), homes()),
        ];
        assert_eq!(
            keyring.replace(twice),
            Err(AssociationError::RepeatedSpi(304))
        );
        assert_eq!(ask(&mut keyring, 301, "two", 3000), fresh(1, true));
        let identities: Vec<_> = keyring.identities().collect();
        assert_eq!(identities, [&b"one"[..], b"two", b"three", b"four"]);
    }

    impl Timestamp {
        /// The seconds of this and the fraction of the other.
        fn with_low(self, fraction: Timestamp) -> Timestamp {
            Timestamp(self.0 & !0xffff_ffff | fraction.0 & 0xffff_ffff)
        }
    }
}
