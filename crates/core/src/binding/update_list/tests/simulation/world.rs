//! Responders, an agent, and a network that does to packets what it is told to.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::*;
use crate::binding::authentication::Association;
use crate::binding::cache::{self, Cache, Change, Sender, Verdict};
use crate::binding::keyring::{Authentication, Credentials, Freshness, Keyring};
use crate::prefix::Prefix;

/// What the network does with a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Of a thousand packets, how many are lost.
    pub(super) loss: u64,
    /// And how many come twice.
    pub(super) duplicates: u64,
    /// The longest delay; each packet has its own, so they overtake each other.
    pub(super) delay: Duration,
}

pub(super) const FAIR: Weather = Weather {
    loss: 0,
    duplicates: 0,
    delay: Duration::from_millis(20),
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Packet {
    Update(Update),
    Acknowledgement(Acknowledgement),
}

pub(super) struct Responder {
    pub(super) registration: Registration,
    pub(super) peer: Peer,
    pub(super) association: Association,
    pub(super) care_of: Ipv6Addr,
    /// Runs, and reaches the agent.
    pub(super) alive: bool,
    pub(super) connected: bool,
}

/// The whole of it.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) random: u64,
    pub(super) weather: Weather,
    pub(super) authenticated: bool,
    pub(super) responders: Vec<Responder>,
    pub(super) cache: Cache,
    pub(super) keyring: Keyring,
    /// Packets on their way, by when they come: of or for which responder.
    pub(super) packets: BTreeMap<Reverse<(Duration, u64)>, (usize, Packet)>,
    /// When A got which U.
    pub(super) owners: Vec<(Duration, usize)>,
}

pub(super) fn care_of(responder: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, responder as u16 + 1)
}

pub(super) fn association(responder: usize) -> Association {
    let identity = format!("responder{responder}@example.org");
    Association::new(300 + responder as u32, &[7; 20], identity.as_bytes()).unwrap()
}

pub(super) fn new_cache() -> Cache {
    Cache::new(cache::Settings {
        home: vec![Prefix::host(A)],
        own: vec![],
        max_lifetime: Lifetime::MAX,
        refresh_advice: None,
        capacity: 10,
    })
}

pub(super) fn new_keyring(responders: usize) -> Keyring {
    let mut keyring = Keyring::new(Freshness::DEFAULT);
    for responder in 0..responders {
        keyring
            .insert(association(responder), [Prefix::host(A)])
            .unwrap();
    }
    keyring
}

/// What the MAC covers here.
pub(super) fn covered(update: &Update) -> [u8; 20] {
    let mut covered = [0; 20];
    covered[6..8].copy_from_slice(&update.sequence.0.to_be_bytes());
    covered[10..12].copy_from_slice(&update.lifetime.0.to_be_bytes());
    let stamp = update.timestamp.map_or(0, |timestamp| timestamp.0);
    covered[12..].copy_from_slice(&stamp.to_be_bytes());
    covered
}

impl World {
    pub(super) fn new(
        responders: usize,
        settings: Settings,
        authenticated: bool,
        seed: u64,
    ) -> Self {
        let responder = |n| Responder {
            registration: Registration::new(
                A,
                settings,
                Sequence(seed as u16).advance(n as u16 * 9),
            ),
            peer: new_peer(authenticated),
            association: association(n),
            care_of: care_of(n),
            alive: true,
            connected: true,
        };
        Self {
            now: secs(1000),
            random: seed,
            weather: FAIR,
            authenticated,
            responders: (0..responders).map(responder).collect(),
            cache: new_cache(),
            keyring: new_keyring(responders),
            packets: BTreeMap::new(),
            owners: Vec::new(),
        }
    }

    /// SplitMix64.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn moment(&mut self) -> Moment {
        let random = self.random();
        moment(self.now, random)
    }

    pub(super) fn put(&mut self, responder: usize, packet: Packet) {
        if !self.responders[responder].connected {
            return;
        }
        let copies = 1 + usize::from(self.random() % 1000 < self.weather.duplicates);
        for _ in 0..copies {
            if self.random() % 1000 < self.weather.loss {
                continue;
            }
            let longest = self.weather.delay.as_micros() as u64 + 1;
            let delay = ms(1) + Duration::from_micros(self.random() % longest);
            let at = Reverse((self.now + delay, self.random()));
            self.packets.insert(at, (responder, packet));
        }
    }

    pub(super) fn act(&mut self, responder: usize, actions: &[Action]) {
        for update in updates(actions) {
            self.put(responder, Packet::Update(update));
        }
    }

    pub(super) fn register(&mut self, n: usize) {
        let at = self.moment();
        let responder = &mut self.responders[n];
        let u = responder.care_of;
        let actions = responder.registration.register(at, u, &mut responder.peer);
        self.act(n, &actions);
    }

    /// Stops without a word, and begins again.
    pub(super) fn kill(&mut self, n: usize) {
        self.responders[n].alive = false;
    }

    pub(super) fn restart(&mut self, n: usize, remembers: bool) {
        let last = self
            .cache
            .iter()
            .last()
            .map_or(Sequence(0), |binding| binding.sequence());
        // All but the numbers that the head of the module speaks of.
        let number = last
            .advance(32_768)
            .advance((self.random() % 65_500) as u16);
        let authenticated = self.authenticated;
        let responder = &mut self.responders[n];
        let kept = responder.registration.upcoming();
        let number = if remembers { kept } else { number };
        let settings = responder.registration.settings;
        responder.registration = Registration::new(A, settings, number);
        responder.peer = new_peer(authenticated);
        responder.alive = true;
        self.register(n);
    }

    pub(super) fn restart_agent(&mut self) {
        self.cache = new_cache();
        self.keyring = new_keyring(self.responders.len());
    }

    pub(super) fn at_agent(&mut self, n: usize, update: Update) {
        let now = self.now;
        let sender = if self.authenticated {
            let association = &self.responders[n].association;
            let covered = covered(&update);
            let credentials = Credentials {
                spi: association.spi(),
                identity: Some(association.identity()),
                timestamp: update.timestamp,
                mac: association.mac(update.care_of, A, &covered),
                care_of: update.care_of,
                home: A,
                covered: &covered,
            };
            let wall = moment(now, 0).wall;
            match self.keyring.authenticate(wall, &credentials) {
                Authentication::Fresh { node, may_register } => Sender::Node {
                    id: node,
                    may_register,
                },
                Authentication::Rejected { status, timestamp } => {
                    let ack = Acknowledgement {
                        timestamp,
                        ..ack(status.0, update.sequence.0, 0)
                    };
                    return self.put(n, Packet::Acknowledgement(ack));
                }
                Authentication::Discarded(reason) => panic!("{reason:?}"),
            }
        } else {
            Sender::Unidentified
        };
        match self.cache.receive(now, &update, sender) {
            Verdict::Acknowledge {
                acknowledgement,
                change,
            } => {
                if matches!(change, Change::Created | Change::Moved { .. }) {
                    self.owners.push((now, n));
                }
                self.put(n, Packet::Acknowledgement(acknowledgement));
            }
            Verdict::Discard(reason) => panic!("{reason:?}"),
        }
    }

    /// Lets things happen for so long.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..1_000_000 {
            let packet = self.packets.last_key_value().map(|(at, _)| at.0.0);
            let alive = self.responders.iter().filter(|responder| responder.alive);
            let deadline = alive
                .filter_map(|responder| responder.registration.deadline())
                .min();
            let Some(next) = packet
                .into_iter()
                .chain(deadline)
                .min()
                .filter(|next| *next <= end)
            else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if packet == Some(next) {
                let (_, (n, packet)) = self.packets.pop_last().unwrap();
                self.deliver(n, packet);
                continue;
            }
            for n in 0..self.responders.len() {
                let at = self.moment();
                let responder = &mut self.responders[n];
                if responder.alive {
                    let actions = responder.registration.wake(at, &mut responder.peer);
                    self.act(n, &actions);
                }
            }
        }
        panic!("too much happens");
    }

    pub(super) fn deliver(&mut self, n: usize, packet: Packet) {
        if !self.responders[n].connected {
            return;
        }
        match packet {
            Packet::Update(update) => self.at_agent(n, update),
            Packet::Acknowledgement(ack) => {
                let at = self.moment();
                let responder = &mut self.responders[n];
                if responder.alive {
                    let registration = &mut responder.registration;
                    let actions = registration.acknowledge(at, &ack, &mut responder.peer);
                    self.act(n, &actions.unwrap_or_default());
                }
            }
        }
    }

    /// Who has A at the agent.
    pub(super) fn owner(&self) -> Option<usize> {
        let u = self.cache.lookup(self.now, A)?.care_of();
        (0..self.responders.len()).find(|n| care_of(*n) == u)
    }

    pub(super) fn states(&self) -> Vec<State> {
        let state = |responder: &Responder| responder.registration.state();
        self.responders.iter().map(state).collect()
    }

    /// One owner, who knows it; the others who run stand by.
    pub(super) fn is_settled(&self) -> bool {
        let owner = self.owner();
        let alive = self.states().into_iter().enumerate();
        let mut alive = alive.filter(|(n, _)| self.responders[*n].alive);
        owner.is_some()
            && alive.all(|(n, state)| {
                let expected = if Some(n) == owner {
                    State::Registered
                } else {
                    State::Standby
                };
                state == expected
            })
    }

    /// Runs until A has a U that runs and is connected, at most so long; how long it
    /// took.
    pub(super) fn until_served(&mut self, longest: Duration) -> Duration {
        let begin = self.now;
        while self.now < begin + longest {
            let owner = self.owner().map(|n| &self.responders[n]);
            if owner.is_some_and(|owner| owner.alive && owner.connected) {
                break;
            }
            self.run(ms(10));
        }
        self.now - begin
    }
}

pub(super) fn new_peer(authenticated: bool) -> Peer {
    if authenticated {
        Peer::authenticated(Stamps::default(), secs(7))
    } else {
        Peer::new()
    }
}
