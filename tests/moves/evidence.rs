//! What the captures at the router show.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_lab::{Direction, Filter, Packet};
use serde_json::{Value, json};

use crate::load::{Connected, Load};
use crate::site::{A, PORT, RESPONDERS, unicast};
use crate::timeline::Timeline;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// What an answer may take between the router and the daemon beyond what is counted: the
/// kernel's own work, for which no process waits.
const KERNEL: Duration = Duration::from_millis(20);
/// Events have milliseconds.
const MILLISECOND: Duration = Duration::from_millis(1);

/// What the router has carried.
pub struct Seen {
    /// On its link to the client.
    at_client: Vec<Packet>,
    /// What it has sent and received on those to the responders.
    at_responders: [Vec<Packet>; RESPONDERS.len()],
}

/// Which responder has this U.
fn responder(address: IpAddr) -> Option<usize> {
    (0..RESPONDERS.len()).find(|number| address == unicast(*number))
}

impl Seen {
    pub fn new(at_client: Vec<Packet>, at_responders: [Vec<Packet>; RESPONDERS.len()]) -> Self {
        Self {
            at_client,
            at_responders,
        }
    }

    fn of_client(&self, filter: Filter) -> impl Iterator<Item = &Packet> {
        let filter = filter.direction(Direction::In);
        self.at_client
            .iter()
            .filter(move |packet| filter.matches(packet))
    }

    fn probes(&self) -> impl Iterator<Item = &Packet> {
        self.of_client(Filter::icmp6(ECHO_REQUEST).dst(A))
    }

    /// The answers to them, and whose they are.
    fn answers(&self) -> Vec<(Duration, usize)> {
        let first = self.probes().next().expect("a probe").time;
        let filter = Filter::icmp6(ECHO_REPLY).direction(Direction::Out);
        // Before that, the responders were pinged to know the neighbours.
        let answers = self
            .at_client
            .iter()
            .filter(|p| filter.matches(p) && p.time > first);
        let answers = answers.map(|p| (p.time, responder(p.src).expect("a U")));
        answers.collect()
    }

    /// The route led where the test says that it did: every probe went there.
    pub fn probes_went_where_the_route_led(&self, timeline: &Timeline) {
        let filter = Filter::icmp6(ECHO_REQUEST).dst(A).direction(Direction::Out);
        let mut sent: Vec<_> = self
            .at_responders
            .iter()
            .enumerate()
            .flat_map(|(to, packets)| {
                let packets = packets.iter().filter(|packet| filter.matches(packet));
                packets.map(move |packet| (packet.time, to))
            })
            .collect();
        sent.sort();
        let came: Vec<_> = self.probes().map(|packet| packet.time).collect();
        assert_eq!(came.len(), sent.len());
        for (came, (sent, to)) in came.iter().zip(&sent) {
            assert!(
                timeline.may_have_led(*to, *came, *sent),
                "{came:?} {to} {timeline:?}"
            );
        }
        let reached: HashSet<_> = sent.iter().map(|(_, to)| to).collect();
        assert_eq!(reached.len(), RESPONDERS.len(), "each was asked");
        println!("{} probes, each to where the route led", sent.len());
    }

    /// Each connection was begun towards a responder to which the route led within the TTL
    /// before.
    pub fn every_connection_was_right(&self, load: &Load, timeline: &Timeline, ttl: Duration) {
        let mut told: BTreeMap<(u16, usize), Vec<Connected>> = BTreeMap::new();
        let mut all = load.connected();
        all.sort_by_key(|connected| connected.began);
        for connected in &all {
            // To several destinations the same port may be used at once.
            let same = told.entry((connected.port, connected.by)).or_default();
            same.push(*connected);
        }
        let mut known = HashSet::new();
        let (mut stale, mut delays) = (Vec::new(), Vec::new());
        let round_trip = self.longest_round_trip();
        for syn in self.of_client(Filter::tcp().flags("Sa").port(PORT)) {
            let tcp = syn.tcp().expect("a segment");
            // Not one that was sent again.
            if !known.insert((tcp.sport, syn.dst, tcp.seq)) {
                continue;
            }
            assert_ne!(syn.dst, A, "a connection was not moved: {syn:?}");
            let to = responder(syn.dst).unwrap_or_else(|| panic!("{syn:?}"));
            let same = told.get(&(tcp.sport, to)).map_or(&[][..], Vec::as_slice);
            let connected = same.iter().rfind(|connected| connected.began <= syn.time);
            let connected = connected.unwrap_or_else(|| panic!("nobody's: {syn:?}"));
            let last = timeline.last_led(to, syn.time);
            let last = last.unwrap_or_else(|| panic!("never right: {syn:?}"));
            // What is between the call and the packet is the program's own time.
            let age = connected.began.saturating_sub(last);
            let delay = load.delay(connected, last, syn.time);
            let allowed = ttl + round_trip + KERNEL + delay;
            assert!(
                age <= allowed,
                "{age:?} of {allowed:?} (delay {delay:?}): {connected:?} {syn:?}"
            );
            if !age.is_zero() {
                stale.push(age);
                delays.push(delay);
            }
        }
        assert_eq!(known.len(), all.len(), "what was told and what was seen");
        stale.sort();
        delays.sort();
        println!(
            "{} of {} connections went to where the route had led: {:?} (median), {:?} (at most) \
             before; delays {:?} (median), {:?} (at most); the longest round trip of a probe \
             {round_trip:?}",
            stale.len(),
            all.len(),
            stale.get(stale.len() / 2),
            stale.last(),
            delays.get(delays.len() / 2),
            delays.last(),
        );
    }

    /// Between the router and the responders, of probes.
    fn longest_round_trip(&self) -> Duration {
        let answers = self.answers();
        let trips = self
            .probes()
            .zip(answers.iter())
            .map(|(probe, (answered, _))| {
                // One question is asked at a time.
                answered
                    .checked_sub(probe.time)
                    .expect("one after the other")
            });
        trips.max().expect("a probe")
    }

    /// The connections that were to last did: by the segments, too.
    pub fn pinned_connections_lasted(&self, load: &Load) {
        let count = |filter: Filter, since: Duration| {
            let packets = self.at_client.iter();
            filter.count(packets.filter(|packet| packet.time >= since))
        };
        assert_eq!(count(Filter::tcp().flags("R"), Duration::ZERO), 0);
        for client in &load.long {
            let connected = Connected::read(0, &client.lines[0]).expect("it was made");
            let u = unicast(connected.by);
            let of = |flags| Filter::tcp().port(connected.port).address(u).flags(flags);
            assert_eq!(count(of("Sa"), connected.began), 1, "{connected:?}");
            // Its own, at the end, and the answer.
            assert_eq!(count(of("F"), connected.began), 2, "{connected:?}");
            let name = RESPONDERS[connected.by];
            let is_whole = |(n, line): (usize, &String)| *line == format!("spoken {n} {name}");
            assert!(client.lines[1..].iter().enumerate().all(is_whole));
        }
    }

    /// Each change of responder that the answers show is one event, and there are no more.
    pub fn events_are_complete(&self, told: &[Value]) {
        let answers = self.answers();
        assert_eq!(
            answers.len(),
            self.probes().count(),
            "each probe was answered"
        );
        let mut expected = Vec::new();
        let mut before: Option<usize> = None;
        for (at, (time, by)) in answers.iter().enumerate() {
            let next = answers.get(at + 1).map(|(time, _)| *time);
            let to = unicast(*by);
            match before.replace(*by) {
                Some(before) if before == *by => {}
                Some(before) => expected.push((*time, next, "changed", Some(unicast(before)), to)),
                None => expected.push((*time, next, "learned", None, to)),
            }
        }
        let is_about_a = |event: &&Value| event.get("anycast").is_some();
        let events: Vec<_> = told.iter().filter(is_about_a).collect();
        let kinds: HashSet<_> = told.iter().map(|event| event["event"].as_str()).collect();
        let usual = ["started", "learned", "changed", "stopping"].map(Some);
        assert!(kinds.is_subset(&usual.into()), "{kinds:?}");
        for (event, (time, next, kind, from, to)) in events.iter().zip(&expected) {
            let is = (
                &event["event"],
                &event["from"],
                &event["to"],
                &event["anycast"],
            );
            let from = from.map_or(Value::Null, |from| address(&from));
            let should = (&json!(kind), &from, &address(to), &address(&A));
            assert_eq!(is, should, "{event}, after {time:?}");
            let at = moment(event);
            assert!(at + MILLISECOND > *time, "{event}, before {time:?}");
            assert!(
                next.is_none_or(|next| at <= next),
                "{event}, after {next:?}"
            );
        }
        assert_eq!(events.len(), expected.len());
        println!("{} answers, {} events", answers.len(), events.len());
    }
}

fn address(address: &Ipv6Addr) -> Value {
    json!(address.to_string())
}

/// When an event was told.
fn moment(event: &Value) -> Duration {
    let text = event["time"].as_str().expect("a time");
    let time: SystemTime = humantime::parse_rfc3339(text).expect("RFC 3339");
    time.duration_since(UNIX_EPOCH).expect("a clock after 1970")
}
