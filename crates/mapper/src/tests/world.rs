//! A network whose time goes as fast as it is worked off: who answers for A is a line in
//! a map, and answers take their time. The table is the one that programs read.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv6Addr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aarp_core::config::{TOKENS, end_token, read_document};
use aarp_core::mapping::Mapping;
use aarp_core::prefix::Prefix;
use aarp_core::probing::{IcmpError, Incoming};
use aarp_core::settings::{Layer, Methods, Settings};
use aarp_core::table::{
    Entry, HEADER_WORDS, Identity, Namespace, SLOT_WORDS, TableWriter, slots_for,
};
use aarp_wire::icmpv6::{DESTINATION_UNREACHABLE, EchoKind, EchoRepr};
use aarp_wire::route::{RouteRepr, RouteType};

use crate::{Action, Asker, Event, Limits, Mapper, Probe, Reply, Start, User};

pub(super) const IDENT: u16 = 0x4141;
pub(super) const BEGIN: Duration = Duration::from_secs(1000);

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// The `n`th anycast address.
pub(super) fn a(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, n + 1)
}

/// The `n`th unicast address.
pub(super) fn u(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x51 + n, 0, 0, 0, 0, 2)
}

pub(super) const PREFIXES: &str = "[resolve]\nprefixes=[\"2001:db8:a::/48\"]\n";

pub(super) fn settings(text: &str) -> Box<Settings> {
    let mut settings = Box::new(Settings::DEFAULT);
    let room = &mut [end_token(); TOKENS];
    read_document(&mut settings, Layer::System, text, room).unwrap();
    settings
}

pub(super) const DEFAULT_ROUTE: RouteRepr = RouteRepr {
    route_type: RouteType::Unicast,
    prefix_len: 0,
    gateway: true,
};

/// Something on its way to the mapper.
#[derive(Debug, Clone)]
struct InFlight {
    rank: usize,
    octets: Vec<u8>,
    source: Ipv6Addr,
    /// It is an error about what was sent there, which the octets are.
    about: Option<Ipv6Addr>,
}

pub(super) struct World {
    pub(super) mapper: Mapper<'static>,
    pub(super) now: Duration,
    /// Who answers for A, and after what time; nobody where there is no line.
    pub(super) answers: HashMap<Ipv6Addr, (Ipv6Addr, Duration)>,
    /// After what time a router says that A cannot be reached, where nobody answers.
    pub(super) rejects: HashMap<Ipv6Addr, Duration>,
    /// Routes that are not the default route.
    pub(super) routes: HashMap<Ipv6Addr, Option<RouteRepr>>,
    pub(super) sockets: Methods,
    /// The system fails whenever a question is to begin.
    pub(super) is_failing: bool,
    in_flight: BTreeMap<(Duration, u64), InFlight>,
    count: u64,
    pub(super) told: Vec<(Duration, Asker, Reply)>,
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) sent: Vec<(Duration, Probe)>,
    /// How many mappings each flush and reload has forgotten.
    pub(super) forgotten: Vec<usize>,
}

impl World {
    pub(super) fn new(text: &str, limits: Limits) -> Self {
        Self::with_capacity(text, limits, 1000)
    }

    pub(super) fn with_capacity(text: &str, limits: Limits, capacity: usize) -> Self {
        let slots = slots_for(capacity).unwrap();
        let words = HEADER_WORDS + SLOT_WORDS * slots;
        let memory: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
        let identity = Identity {
            capacity,
            key: [7, 9],
            namespace: Namespace {
                device: 1,
                inode: 2,
            },
            boot: [0, 0],
            pid: 1,
            started: 1,
        };
        let table = TableWriter::format(memory.leak(), &identity, BEGIN).unwrap();
        Self {
            mapper: Mapper::new(Box::leak(Box::new(table)), settings(text), limits),
            now: BEGIN,
            answers: HashMap::new(),
            rejects: HashMap::new(),
            routes: HashMap::new(),
            sockets: Methods::ECHO,
            is_failing: false,
            in_flight: BTreeMap::new(),
            count: 0,
            told: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    pub(super) fn ask(&mut self, client: u64, user: User, a: Ipv6Addr) {
        let asker = Asker { client, request: 1 };
        self.mapper.resolve(asker, user, a, false, self.now);
        self.work();
    }

    /// Has mappings forgotten, until that is done; how many there were.
    pub(super) fn flush(&mut self, prefix: Prefix) -> usize {
        let (client, request) = (u64::MAX, 1);
        self.mapper.flush(Asker { client, request }, prefix);
        self.run(Duration::ZERO);
        self.forgotten.pop().unwrap()
    }

    /// Goes on with other settings, until that is done; how many mappings they forbid.
    pub(super) fn reload(&mut self, settings: Box<Settings>) -> usize {
        self.mapper.reload(settings);
        self.run(Duration::ZERO);
        self.forgotten.pop().unwrap()
    }

    /// Does all that is to be done now.
    fn work(&mut self) {
        while let Some(action) = self.mapper.next(self.now) {
            match action {
                Action::Begin(a) if self.is_failing => self.mapper.not_begun(a),
                Action::Begin(a) => {
                    self.count += 1;
                    let mut random = [0x55; 34];
                    random[..8].copy_from_slice(&self.count.to_le_bytes());
                    random[16..24].copy_from_slice(&self.count.to_le_bytes());
                    let start = Start {
                        route: self.route(a),
                        methods: self.sockets,
                        ident: Some(IDENT),
                        random,
                    };
                    self.mapper.begin(a, &start, self.now);
                }
                Action::Send(probe) => {
                    self.sent.push((self.now, probe));
                    let rejected = self.rejects.get(&probe.to).copied();
                    match (self.answers.get(&probe.to).copied(), rejected) {
                        (Some((source, rtt)), _) => self.reply(&probe, source, rtt),
                        (None, Some(rtt)) => self.reject(&probe, rtt),
                        (None, None) => {}
                    }
                }
                Action::Tell(asker, reply) => self.told.push((self.now, asker, reply)),
                Action::Happened(event) => self.events.push((self.now, event)),
                Action::Flushed(_, count) | Action::Reloaded(count) => self.forgotten.push(count),
            }
        }
    }

    fn route(&self, to: Ipv6Addr) -> Option<RouteRepr> {
        *self.routes.get(&to).unwrap_or(&Some(DEFAULT_ROUTE))
    }

    /// Has a probe answered from `source`.
    pub(super) fn reply(&mut self, probe: &Probe, source: Ipv6Addr, after: Duration) {
        let request = EchoRepr::parse(probe.message()).unwrap();
        let reply = EchoRepr {
            kind: EchoKind::Reply,
            ..request
        };
        let mut buffer = [0; 64];
        let octets = reply.emit(&mut buffer).unwrap().to_vec();
        self.arrive(probe.rank, octets, source, after);
    }

    pub(super) fn arrive(
        &mut self,
        rank: usize,
        octets: Vec<u8>,
        source: Ipv6Addr,
        after: Duration,
    ) {
        let in_flight = InFlight {
            rank,
            octets,
            source,
            about: None,
        };
        self.send(in_flight, after);
    }

    /// Has a router say that a probe cannot be delivered.
    fn reject(&mut self, probe: &Probe, after: Duration) {
        let in_flight = InFlight {
            rank: probe.rank,
            octets: probe.message().to_vec(),
            source: ip("2001:db8:1::1"),
            about: Some(probe.to),
        };
        self.send(in_flight, after);
    }

    fn send(&mut self, in_flight: InFlight, after: Duration) {
        self.count += 1;
        self.in_flight
            .insert((self.now + after, self.count), in_flight);
    }

    /// Lets time go by.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.work();
            let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
            let next = [self.mapper.due(), arrival].into_iter().flatten().min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = at.max(self.now),
                None => break,
            }
            while let Some(entry) = self.in_flight.first_entry()
                && entry.key().0 <= self.now
            {
                let came = entry.remove();
                let routes = self.routes.clone();
                let route = |to| *routes.get(&to).unwrap_or(&Some(DEFAULT_ROUTE));
                let incoming = match came.about {
                    None => Incoming::Message(&came.octets),
                    Some(destination) => Incoming::Error(IcmpError {
                        message_type: DESTINATION_UNREACHABLE,
                        code: 0,
                        destination,
                        port: 0,
                        quote: &came.octets,
                    }),
                };
                self.mapper
                    .hear(came.rank, &incoming, came.source, self.now, route);
            }
        }
        self.now = end;
        self.work();
    }

    pub(super) fn known(&self, a: Ipv6Addr) -> Option<Entry> {
        self.mapper.table().view().get(a)
    }

    /// What a program that looks in the table finds.
    pub(super) fn found(&self, a: Ipv6Addr) -> Option<Mapping> {
        let hit = self.mapper.table().view().lookup(a, self.now);
        hit.map(|hit| hit.mapping)
    }

    /// A program that looks in the table, and says so when the mapping is due.
    pub(super) fn look(&mut self, a: Ipv6Addr) -> Option<Ipv6Addr> {
        let hit = self.mapper.table().view().lookup(a, self.now)?;
        if hit.is_due {
            self.mapper.used(User::Own, a, self.now);
            self.work();
        }
        Some(hit.mapping.u)
    }

    /// The replies to one client.
    pub(super) fn replies(&self, client: u64) -> Vec<Reply> {
        let own = self
            .told
            .iter()
            .filter(|(_, asker, _)| asker.client == client);
        own.map(|(_, _, reply)| *reply).collect()
    }
}
