//! Programs that connect while the route moves.

use std::time::{Duration, Instant};

use crate::site::{A, Client, PATIENCE, PORT, RESPONDERS, Site, now};

/// Connections that are to last, begun all along the way.
const LASTING: usize = 8;

/// What was done, and what became of it.
pub struct Load {
    /// Clients that connect again and again: blocking, waiting in poll(), curl.
    short: Vec<Client>,
    pub long: Vec<Client>,
    /// Of the daemon, and of the first clients, which live on.
    delays: Vec<Delays>,
    waited: Vec<Duration>,
}

/// A connection, as the program tells it.
#[derive(Clone, Copy, Debug)]
pub struct Connected {
    /// The moment before it was begun.
    pub began: Duration,
    pub port: u16,
    pub by: usize,
    /// The number of the program.
    client: usize,
}

impl Load {
    /// Moves the route so many times, under load.
    pub fn drive(site: &mut Site, moves: usize) -> Self {
        let (a, port) = (A.to_string(), PORT.to_string());
        let short = ["blocking", "waiting"].map(|how| ["short", how, &a, &port]);
        let mut short: Vec<_> = short.iter().map(|words| site.client(words, true)).collect();
        let mut delays = vec![Delays::of(site.daemon_pid())];
        delays.extend(short.iter().map(|client| Delays::of(client.pid())));
        short.push(site.curls());
        let mut load = Self {
            short,
            long: Vec::new(),
            delays,
            waited: Vec::new(),
        };
        load.reach(site, "a first connection");
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % limit as u64) as usize
        };
        for turn in 0..moves {
            if turn % moves.div_ceil(LASTING) == 0 {
                let mut client = site.client(&["long", &a, &port], true);
                client.wait_for("a connection that lasts", |line| line.starts_with("spoken"));
                load.long.push(client);
            }
            site.move_to((site.leads_to + 1 + below(RESPONDERS.len() - 1)) % RESPONDERS.len());
            // Now and then it moves on before anybody can have noticed.
            if turn + 1 < moves && below(5) == 0 {
                continue;
            }
            let began = Instant::now();
            load.reach(site, &format!("what follows move {turn}"));
            load.waited.push(began.elapsed());
            // The moments of the moves are spread over the time between two questions.
            let more = load.short[0].lines.len() + below(16);
            load.until("some more connections", |load| {
                load.short[0].lines.len() > more
            });
        }
        for client in load.short.iter_mut().chain(&mut load.long) {
            client.end();
        }
        load.delays.iter_mut().for_each(Delays::sample);
        load
    }

    /// Reads what was said.
    fn read(&mut self) {
        self.delays.iter_mut().for_each(Delays::sample);
        let clients = self.short.iter_mut().chain(&mut self.long);
        clients.for_each(Client::read_success);
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        aarp_lab::wait_until(what, PATIENCE, || {
            self.read();
            Ok(is_so(self))
        })
        .unwrap_or_else(|error| {
            let last = |client: &Client| client.lines.last().cloned();
            let short: Vec<_> = self.short.iter().map(last).collect();
            let long: Vec<_> = self.long.iter().map(last).collect();
            panic!("{error}: {short:?} {long:?}")
        });
    }

    /// Waits until every client has reached the responder to which the route leads, and
    /// every connection that lasts has been used again.
    fn reach(&mut self, site: &Site, what: &str) {
        let there = site.leads_to;
        let begun: Vec<_> = self.long.iter().map(|client| client.lines.len()).collect();
        let moved = now();
        let is_there = |client: &Client| {
            let connected = client
                .lines
                .last()
                .and_then(|line| Connected::read(0, line));
            connected.is_some_and(|connected| connected.began > moved && connected.by == there)
        };
        self.until(what, |load| {
            let mut long = load.long.iter().zip(&begun);
            load.short.iter().all(is_there)
                && long.all(|(client, begun)| client.lines.len() > *begun)
        });
    }

    /// Every connection that was made.
    pub fn connected(&self) -> Vec<Connected> {
        let clients = self.short.iter().chain(&self.long);
        let lines = clients
            .enumerate()
            .flat_map(|(number, client)| client.lines.iter().map(move |line| (number, line)));
        lines
            .filter_map(|(number, line)| Connected::read(number, line))
            .collect()
    }

    /// How long the daemon, which has the answer, and the program, which is told it, may
    /// have waited for a processor in this time.
    pub fn delay(&self, of: &Connected, begin: Duration, end: Duration) -> Duration {
        let program = self.delays[1..].get(of.client);
        let all = self.delays[..1].iter().chain(program);
        all.map(|delays| delays.between(begin, end)).sum()
    }

    pub fn summary(&self) -> String {
        let mut waited = self.waited.clone();
        waited.sort();
        let spoken: usize = self.long.iter().map(|client| client.lines.len() - 1).sum();
        format!(
            "{} connections, {spoken} exchanges over {} that lasted; all clients were where the \
             route led after {:?} (median), {:?} (at most)",
            self.connected().len(),
            self.long.len(),
            waited[waited.len() / 2],
            waited[waited.len() - 1],
        )
    }
}

impl Connected {
    /// What a line says, if it is about a connection.
    pub fn read(client: usize, line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("connected ")?.split(' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line:?}"));
        let began = word().parse().map(Duration::from_nanos).expect("a time");
        let port = word().parse().expect("a port");
        let name = word();
        let by = RESPONDERS.iter().position(|responder| *responder == name);
        let by = by.unwrap_or_else(|| panic!("{line:?}"));
        Some(Self {
            began,
            port,
            by,
            client,
        })
    }
}

/// How long a process could not go on because others had the processors: a slow machine
/// is not a mapping that is too old.
#[derive(Debug)]
struct Delays {
    process: u32,
    /// The moment, and the sum until then.
    samples: Vec<(Duration, Duration)>,
}

impl Delays {
    fn of(process: u32) -> Self {
        let mut delays = Self {
            process,
            samples: Vec::new(),
        };
        delays.sample();
        delays
    }

    /// Looks how long it was up to now.
    fn sample(&mut self) {
        let before = self.samples.last().map_or(Duration::ZERO, |last| last.1);
        // Nothing more, once it has ended.
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.process));
        let waited = text.map_or(before, |text| {
            let waited = text.split_whitespace().nth(1).expect("three numbers");
            Duration::from_nanos(waited.parse().expect("nanoseconds"))
        });
        self.samples.push((now(), waited));
    }

    /// How long it was, at the most, in this time.
    fn between(&self, begin: Duration, end: Duration) -> Duration {
        let first = self.samples.partition_point(|sample| sample.0 <= begin);
        let last = self.samples.partition_point(|sample| sample.0 < end);
        let sum = |at: usize| self.samples[at.min(self.samples.len() - 1)].1;
        sum(last).saturating_sub(sum(first.saturating_sub(1)))
    }
}
