//! Two responders that refresh: who owns A when, as their mode says. (They agree among
//! themselves; the longest tests, so that they begin first.)
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use aarp_lab::{Capture, Process, Snap, Transport, wait_until};

use crate::decode::decoded;
use crate::site::{A, AGENT, LIMIT, Site, U1, U2, networked};

/// Intervals that are looked at.
const INTERVALS: usize = 10;
/// The least lifetime, so that a binding is refreshed every three seconds at the latest.
const LIFETIME: &str = "4s";
const WITHIN: Duration = Duration::from_secs(150);

/// An answer of the agent.
#[derive(Debug)]
struct Answer {
    time: Duration,
    to: Ipv6Addr,
    status: u32,
}

/// The answers of the agent, from its capture.
fn answers(capture: &Capture) -> Vec<Answer> {
    let filter = format!("mip6.mhtype == 6 && ipv6.src == {AGENT}");
    let fields = [
        "ipv6.dst",
        "mip6.ba.status",
        "ipv6.routing.mipv6.home_address",
    ];
    let all = decoded(capture, &filter, &fields).into_iter();
    let all = all.map(|packet| {
        let [to, status, home] = packet.fields.try_into().unwrap();
        assert_eq!(home, A.to_string(), "the type 2 routing header names A");
        Answer {
            time: packet.time,
            // The first is in the header, another that of the routing header.
            to: to.split(',').next().unwrap().parse().unwrap(),
            status: status.parse().unwrap(),
        }
    });
    all.collect()
}

/// Protocol number of the Mobility Header.
const MOBILITY: u8 = 135;

/// Waits until the agent has sent a message more than the `seen` ones, and counts them.
/// What it says tshark tells; but a look by tshark is a process, and there are others.
fn wait_message(capture: &Capture, seen: &mut usize) -> aarp_lab::Result<()> {
    let before = *seen;
    wait_until("another message of the agent", WITHIN, || {
        let packets = capture.packets()?;
        let sent = packets.iter().filter(|packet| packet.outgoing);
        *seen = sent
            .filter(|packet| packet.transport == Transport::Other(MOBILITY))
            .count();
        Ok(*seen > before)
    })
}

/// Waits until a responder had this many answers of a status.
fn wait_answers(capture: &Capture, to: Ipv6Addr, status: u32, count: usize) -> Vec<Answer> {
    let mut last = Vec::new();
    let mut seen = 0;
    let what = format!("{count} answers of status {status} to {to}");
    let done = wait_until(&what, WITHIN, || {
        wait_message(capture, &mut seen)?;
        last = answers(capture);
        let such = last.iter().filter(|a| a.to == to && a.status == status);
        Ok(such.count() >= count)
    });
    done.unwrap_or_else(|error| panic!("{error}: {last:#?}"));
    last
}

/// A TCP session through the agent, which says something both ways.
pub(crate) struct Session {
    client: Process,
    server: Process,
    pipes: [ChildStdin; 2],
    spoken: usize,
}

impl Session {
    pub(crate) fn open(site: &Site, host: &str) -> Self {
        let nc = |host| site.host(host).command("nc.openbsd").stdin(Stdio::piped());
        let mut server = nc(host).args(["-6", "-l", "7000"]).spawn().unwrap();
        site.host(host).wait_tcp(7000, LIMIT).unwrap();
        let mut client = nc("c").args([&A.to_string(), "7000"]).spawn().unwrap();
        Self {
            pipes: [&mut client, &mut server].map(|end| end.take_stdin().unwrap()),
            client,
            server,
            spoken: 0,
        }
    }

    /// A line to the responder and one back.
    pub(crate) fn speak(&mut self) {
        self.spoken += 1;
        let line = format!("line {}.\n", self.spoken);
        let [client, server] = &mut self.pipes;
        client.write_all(line.as_bytes()).unwrap();
        self.server.wait_stdout(&line, LIMIT).unwrap();
        server.write_all(line.as_bytes()).unwrap();
        self.client.wait_stdout(&line, LIMIT).unwrap();
    }
}

/// The one that is registered keeps A for as long as it refreshes; the other stands by,
/// tries, and is refused. A TCP session lives through all of it; when the owner goes,
/// the other has A.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn in_standby_the_owner_keeps_its_address() {
    networked(|| {
        let site = Site::new();
        let _agent = site.keyed_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let lifetime = ["--lifetime", LIFETIME, "--ownership", "standby"];
        let one = [&lifetime[..], &["--spi", "256"]].concat();
        let other = [&lifetime[..], &["--spi", "257"]].concat();
        let _first = site.binding("s2", &other);
        // A first registration takes A over, by the number that the agent names.
        let second = site.binding("s1", &one);
        assert_eq!(site.owner(), Some(U1));
        let taken = answers(&capture);
        let taken = taken
            .iter()
            .rfind(|a| a.to == U1 && a.status == 0)
            .unwrap()
            .time;
        let mut session = Session::open(&site, "s1");
        let mut refreshed = 0;
        let mut seen = 0;
        while refreshed < INTERVALS {
            session.speak();
            wait_message(&capture, &mut seen).unwrap();
            let all = answers(&capture);
            let such = |a: &&Answer| a.to == U1 && a.status == 0 && a.time > taken;
            refreshed = all.iter().filter(such).count();
            assert!(
                all.last().is_none_or(|a| a.time < taken + WITHIN),
                "{all:#?}"
            );
        }
        let all = answers(&capture);
        let later = all.iter().filter(|a| a.time > taken);
        for answer in later.clone() {
            let expected = if answer.to == U1 { 0 } else { 135 };
            assert_eq!(answer.status, expected, "{answer:?} of {all:#?}");
        }
        // It has tried, again and again.
        let trials = later.filter(|a| a.to == U2).count();
        assert!(trials >= INTERVALS / 4, "{all:#?}");
        assert_eq!(site.owner(), Some(U1));
        session.speak();
        assert!(session.spoken > INTERVALS / 2);
        // The owner leaves: A is the other's, at its next trial.
        let left = crate::site::now();
        second.terminate(LIMIT).unwrap();
        let all = wait_answers(&capture, U2, 0, 2);
        let after = all
            .iter()
            .find(|a| a.to == U2 && a.status == 0 && a.time > left);
        // What was left of the binding at the last refusal, in units of 4 s, and a second.
        let after = after.unwrap().time - left;
        assert!(after < Duration::from_secs(6) + SLACK, "{after:?}");
        assert_eq!(site.owner(), Some(U2));
    });
}

/// What a busy machine may add to a time that a protocol sets.
const SLACK: Duration = Duration::from_secs(4);

/// Whoever registers last owns A: two that refresh alternate.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn in_last_mode_the_owners_alternate() {
    networked(|| {
        let site = Site::new();
        let _agent = site.keyed_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let lifetime = ["--lifetime", LIFETIME, "--ownership", "last"];
        let mut running = Vec::new();
        for (host, spi) in [("s1", "256"), ("s2", "257")] {
            let nginx = site.nginx(host);
            let binding = site.binding(host, &[&lifetime[..], &["--spi", spi]].concat());
            assert_eq!(site.who(), host);
            running.extend([nginx, binding]);
        }
        let all = wait_answers(&capture, U1, 0, INTERVALS + 1);
        // Each time that one has A, the other's refresh is refused, and then accepted.
        let since = all
            .iter()
            .find(|a| a.to == U2 && a.status == 0)
            .unwrap()
            .time;
        let owners: Vec<_> = all
            .iter()
            .filter(|a| a.time >= since && a.status == 0)
            .collect();
        assert!(owners.len() >= 2 * INTERVALS - 1, "{all:#?}");
        let alternations = owners.windows(2).filter(|pair| pair[0].to != pair[1].to);
        let alternations = alternations.count();
        // By chance one refreshes twice before the other does.
        assert!(
            alternations + 4 >= owners.len() - 1,
            "{alternations}: {all:#?}"
        );
        for owner in [U1, U2] {
            let refused = all
                .iter()
                .filter(|a| a.to == owner && a.status == 135)
                .count();
            assert!(refused + 4 >= INTERVALS, "{owner}: {all:#?}");
        }
        // No other answers were given, and the last one says whose it is.
        assert!(all.iter().all(|a| [0, 135].contains(&a.status)), "{all:#?}");
        wait_until("the agent has whom it answered last", LIMIT, || {
            let all = answers(&capture);
            let last = all.iter().rfind(|a| a.status == 0).unwrap().to;
            Ok(site.owner() == Some(last))
        })
        .unwrap();
    });
}
