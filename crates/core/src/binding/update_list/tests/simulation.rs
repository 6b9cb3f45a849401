//! Responders and an agent with a network between them, in virtual time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::binding::authentication::Association;
use crate::binding::cache::{self, Cache, Change, Sender, Verdict};
use crate::binding::keyring::{Authentication, Credentials, Freshness, Keyring};
use crate::prefix::Prefix;

/// What the network does with a packet.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Of a thousand packets, how many are lost.
    loss: u64,
    /// And how many come twice.
    duplicates: u64,
    /// The longest delay; each packet has its own, so they overtake each other.
    delay: Duration,
}

const FAIR: Weather = Weather {
    loss: 0,
    duplicates: 0,
    delay: Duration::from_millis(20),
};

#[derive(Clone, Copy, Debug)]
enum Packet {
    Update(Update),
    Acknowledgement(Acknowledgement),
}

struct Responder {
    registration: Registration,
    peer: Peer,
    association: Association,
    care_of: Ipv6Addr,
    /// Runs, and reaches the agent.
    alive: bool,
    connected: bool,
}

/// The whole of it.
struct World {
    now: Duration,
    random: u64,
    weather: Weather,
    authenticated: bool,
    responders: Vec<Responder>,
    cache: Cache,
    keyring: Keyring,
    /// Packets on their way, by when they come: of or for which responder.
    packets: BTreeMap<Reverse<(Duration, u64)>, (usize, Packet)>,
    /// When A got which U.
    owners: Vec<(Duration, usize)>,
}

fn care_of(responder: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, responder as u16 + 1)
}

fn association(responder: usize) -> Association {
    let identity = format!("responder{responder}@example.org");
    Association::new(300 + responder as u32, &[7; 20], identity.as_bytes()).unwrap()
}

fn new_cache() -> Cache {
    Cache::new(cache::Settings {
        home: vec![Prefix::host(A)],
        own: vec![],
        max_lifetime: Lifetime::MAX,
        refresh_advice: None,
        capacity: 10,
    })
}

fn new_keyring(responders: usize) -> Keyring {
    let mut keyring = Keyring::new(Freshness::DEFAULT);
    for responder in 0..responders {
        keyring
            .insert(association(responder), [Prefix::host(A)])
            .unwrap();
    }
    keyring
}

/// What the MAC covers here.
fn covered(update: &Update) -> [u8; 20] {
    let mut covered = [0; 20];
    covered[6..8].copy_from_slice(&update.sequence.0.to_be_bytes());
    covered[10..12].copy_from_slice(&update.lifetime.0.to_be_bytes());
    let stamp = update.timestamp.map_or(0, |timestamp| timestamp.0);
    covered[12..].copy_from_slice(&stamp.to_be_bytes());
    covered
}

impl World {
    fn new(responders: usize, settings: Settings, authenticated: bool, seed: u64) -> Self {
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
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn moment(&mut self) -> Moment {
        let random = self.random();
        moment(self.now, random)
    }

    fn put(&mut self, responder: usize, packet: Packet) {
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

    fn act(&mut self, responder: usize, actions: &[Action]) {
        for update in updates(actions) {
            self.put(responder, Packet::Update(update));
        }
    }

    fn register(&mut self, n: usize) {
        let at = self.moment();
        let responder = &mut self.responders[n];
        let u = responder.care_of;
        let actions = responder.registration.register(at, u, &mut responder.peer);
        self.act(n, &actions);
    }

    /// Stops without a word, and begins again.
    fn kill(&mut self, n: usize) {
        self.responders[n].alive = false;
    }

    fn restart(&mut self, n: usize, remembers: bool) {
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

    fn restart_agent(&mut self) {
        self.cache = new_cache();
        self.keyring = new_keyring(self.responders.len());
    }

    fn at_agent(&mut self, n: usize, update: Update) {
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
    fn run(&mut self, time: Duration) {
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

    fn deliver(&mut self, n: usize, packet: Packet) {
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
    fn owner(&self) -> Option<usize> {
        let u = self.cache.lookup(self.now, A)?.care_of();
        (0..self.responders.len()).find(|n| care_of(*n) == u)
    }

    fn states(&self) -> Vec<State> {
        let state = |responder: &Responder| responder.registration.state();
        self.responders.iter().map(state).collect()
    }

    /// One owner, who knows it; the others who run stand by.
    fn is_settled(&self) -> bool {
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
    fn until_served(&mut self, longest: Duration) -> Duration {
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

fn new_peer(authenticated: bool) -> Peer {
    if authenticated {
        Peer::authenticated(Stamps::default(), secs(7))
    } else {
        Peer::new()
    }
}

const LIFETIME: Duration = Duration::from_secs(60);
/// Three quarters of it.
const REFRESH: Duration = Duration::from_secs(45);

fn standby() -> Settings {
    Settings::DEFAULT
}

/// Settled, and stays so for ten intervals.
fn check_settled(world: &mut World) -> Result<(), TestCaseError> {
    prop_assert!(
        world.is_settled(),
        "{:?} {:?} {:?}",
        world.owner(),
        world.states(),
        world.owners
    );
    let owners = world.owners.len();
    world.run(10 * REFRESH);
    prop_assert!(
        world.is_settled(),
        "{:?} {:?}",
        world.owner(),
        world.states()
    );
    prop_assert_eq!(world.owners.len(), owners, "{:?}", &world.owners);
    Ok(())
}

proptest! {
    /// Whatever the network does to the packets of the beginning, one responder has A
    /// in the end, the others know that they do not, and it stays so.
    #[test]
    fn one_owner_in_the_end(
        seed: u64, count in 2..5usize, authenticated: bool,
        loss in 0..400u64, duplicates in 0..300u64, delay in 0..3000u64,
        starts in prop::collection::vec(0..100_000u64, 5),
    ) {
        let mut world = World::new(count, standby(), authenticated, seed);
        world.weather = Weather { loss, duplicates, delay: ms(delay) };
        let mut order: Vec<(u64, usize)> = starts.into_iter().zip(0..count).collect();
        order.sort_unstable();
        let begin = world.now;
        for (start, n) in order {
            let wait = (begin + ms(start)).saturating_sub(world.now);
            world.run(wait);
            world.register(n);
        }
        world.run(secs(600));
        world.weather = FAIR;
        world.run(3 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// Duplicates and reordering alone move A only with the first registrations.
    #[test]
    fn no_flapping_without_loss(
        seed: u64, authenticated: bool, duplicates in 0..500u64, delay in 0..900u64,
    ) {
        let mut world = World::new(3, standby(), authenticated, seed);
        world.weather = Weather { loss: 0, duplicates, delay: ms(delay) };
        for n in 0..3 {
            world.register(n);
            world.run(secs(20));
        }
        world.run(3 * LIFETIME);
        prop_assert_eq!(world.owner(), Some(2), "{:?}", &world.owners);
        check_settled(&mut world)?;
    }

    /// The owner dies: another has A as soon as the binding is over, but for the
    /// rounding, the jitter and the way.
    #[test]
    fn an_owner_dies(seed: u64, count in 2..6usize, authenticated: bool, after in 0..200_000u64) {
        let mut world = World::new(count, standby(), authenticated, seed);
        for n in 0..count {
            world.register(n);
            world.run(secs(1));
        }
        world.run(LIFETIME + ms(after));
        prop_assert!(world.is_settled(), "{:?} {:?}", world.states(), &world.owners);
        let owner = world.owner().unwrap();
        world.kill(owner);
        // What it sent may be on its way.
        world.run(ms(100));
        let left = world.cache.lookup(world.now, A).unwrap().expiry() - world.now;
        world.run(left);
        prop_assert_eq!(world.owner(), None);
        let took = world.until_served(LIFETIME);
        prop_assert!(took < secs(4 + 1) + ms(100), "{:?}", took);
        world.run(2 * LIFETIME);
        check_settled(&mut world)?;
        // It comes back and, this being a first registration, takes over.
        world.restart(owner, seed % 2 == 0);
        world.run(secs(2));
        prop_assert_eq!(world.owner(), Some(owner));
        world.run(2 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// The agent forgets everything: A is served again within one refresh interval.
    #[test]
    fn the_agent_restarts(seed: u64, authenticated: bool, last: bool, after in 0..200_000u64) {
        let ownership = if last { Ownership::Last } else { Ownership::Standby };
        let settings = Settings { ownership, ..standby() };
        let mut world = World::new(2, settings, authenticated, seed);
        world.register(0);
        world.run(secs(1));
        world.register(1);
        world.run(LIFETIME + ms(after));
        world.restart_agent();
        let took = world.until_served(2 * LIFETIME);
        prop_assert!(took <= REFRESH + ms(100), "{:?}", took);
        if !last {
            world.run(2 * LIFETIME);
            check_settled(&mut world)?;
        }
    }

    /// The owner restarts, with or without its number: A is served at once.
    #[test]
    fn a_responder_restarts(seed: u64, authenticated: bool, remembers: bool, down in 0..200_000u64) {
        let mut world = World::new(2, standby(), authenticated, seed);
        world.register(0);
        world.run(LIFETIME);
        world.kill(0);
        world.run(ms(down));
        world.restart(0, remembers);
        world.run(ms(200));
        prop_assert_eq!(world.states()[0], State::Registered);
        world.register(1);
        world.run(2 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// Everybody is cut off from the agent: A is served with the next try.
    #[test]
    fn the_path_is_cut(seed: u64, authenticated: bool, cut in 0..2000u64) {
        let mut world = World::new(2, standby(), authenticated, seed);
        for n in 0..2 {
            world.register(n);
            world.run(LIFETIME);
        }
        world.responders.iter_mut().for_each(|responder| responder.connected = false);
        world.run(secs(cut));
        world.responders.iter_mut().for_each(|responder| responder.connected = true);
        let took = world.until_served(2 * LIFETIME);
        prop_assert!(took <= MAX_TIMEOUT + ms(100), "{:?}", took);
        world.run(3 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// Only the owner is cut off: the other takes over, and the first stands by when
    /// it is back.
    #[test]
    fn the_owner_is_cut_off(seed: u64, authenticated: bool, cut in 130..2000u64) {
        let mut world = World::new(2, standby(), authenticated, seed);
        for n in 0..2 {
            world.register(n);
            world.run(LIFETIME);
        }
        prop_assert_eq!(world.owner(), Some(1));
        world.responders[1].connected = false;
        world.run(secs(cut));
        prop_assert_eq!(world.owner(), Some(0));
        let owners = world.owners.len();
        world.responders[1].connected = true;
        world.run(secs(40));
        prop_assert_eq!(world.owners.len(), owners, "{:?}", &world.owners);
        check_settled(&mut world)?;
    }

    /// Whoever registers last has A: two who refresh alternate, once for each refresh.
    #[test]
    fn the_last_ones_alternate(seed: u64, authenticated: bool, apart in 1000..40_000u64) {
        let settings = Settings { ownership: Ownership::Last, ..standby() };
        let mut world = World::new(2, settings, authenticated, seed);
        world.register(0);
        world.run(ms(apart));
        world.register(1);
        world.run(10 * REFRESH);
        // Where the two refresh at the same time, one turn is too short to be seen.
        let turns = |n| world.owners.iter().filter(|(_, owner)| *owner == n).count();
        prop_assert!(turns(0) >= 4 && turns(1) >= 4, "{:?}", &world.owners);
    }
}
