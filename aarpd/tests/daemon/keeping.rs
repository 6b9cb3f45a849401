//! Mappings over their time: used and not, with another responder, and without one.

use std::time::{Duration, Instant};

use aarp_lab::{Filter, LinkSpec, Signal, rootless, wait_until};
use aarp_wire::mapper::{Asked, Failure, Message};

use crate::site::{A, PATIENCE, Site, responders, u};
use crate::talk::{Client, Told};

/// Nobody is silent because a machine is slow, nor is A asked twice.
const LONG: &str = "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n\
                    [times]\nbudget = \"10s\"\nretransmit = [\"5s\"]\n";
/// A mapping that ends while one waits for it; as long as a loaded machine does not notice.
const SHORT: &str = "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n\
                     [times]\nttl = \"3s\"\nbudget = \"10s\"\nretransmit = [\"5s\"]\n";

/// For how long a program may not be heard of before its mapping ends: less than the part
/// of the time in which it is due.
const STALL: Duration = Duration::from_millis(400);

/// A program that uses A all the time.
struct Program<'s> {
    site: &'s Site,
    client: Client,
    looked: Instant,
}

impl<'s> Program<'s> {
    fn new(site: &'s Site) -> Self {
        let client = site.connect();
        assert_eq!(client.u(A), u(1));
        Self {
            site,
            client,
            looked: Instant::now(),
        }
    }

    /// Looks in the table, and tells the daemon when it is time. A mapping may be missing
    /// only where this program has had no time to say that it uses it.
    fn look(&mut self) -> String {
        let hit = self.site.look(A);
        let stalled = self.looked.elapsed() > STALL;
        self.looked = Instant::now();
        match hit {
            Some(hit) => {
                if hit.is_due {
                    self.client.send(0, &Message::Used(A.parse().unwrap()));
                }
                hit.mapping.u.to_string()
            }
            None => {
                assert!(stalled, "it was used, and is not there");
                self.client.u(A)
            }
        }
    }
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn what_is_used_is_there_all_the_time_and_ends_when_it_is_not() {
    rootless::test(|| {
        let site = Site::new(SHORT);
        let _daemon = site.start();
        let mut program = Program::new(&site);
        // Refreshed three times, and never missed meanwhile.
        wait_until("it is refreshed", PATIENCE, || {
            assert_eq!(program.look(), u(1));
            let status = program.client.status();
            Ok(status["questions"]["refresh"].as_u64() >= Some(3))
        })
        .unwrap();
        wait_until("no question is open", PATIENCE, || {
            Ok(program.client.status()["open"] == 0)
        })
        .unwrap();
        let before = program.client.status()["probes"]["echo"].as_u64();
        wait_until("it ends", PATIENCE, || Ok(site.look(A).is_none())).unwrap();
        assert_eq!(program.client.status()["probes"]["echo"].as_u64(), before);
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn another_responder_is_told_as_it_happens() {
    rootless::test(|| {
        let site = Site::new(SHORT);
        let _daemon = site.start();
        let follower = site.connect();
        follower.follow();
        let mut program = Program::new(&site);
        let learned = follower.event();
        assert_eq!(
            (&learned["event"], &learned["to"]),
            (&"learned".into(), &u(1).into())
        );
        site.move_to(2);
        wait_until("the other answers", PATIENCE, || Ok(program.look() == u(2))).unwrap();
        let changed = follower.event_of("changed");
        assert_eq!(
            (&changed["from"], &changed["to"]),
            (&u(1).into(), &u(2).into())
        );
        assert_eq!(changed["anycast"], A);
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_silent_responder_is_gone_before_its_mapping_ends() {
    rootless::test(|| {
        let config = SHORT.replace("\"3s\"", "\"10s\"");
        let site = Site::new(&config);
        let daemon = site.start();
        let follower = site.connect();
        follower.follow();
        let mut program = Program::new(&site);
        site.lab.ip("s1", "link set eth0 down").unwrap();
        // From now on no answer is waited for.
        let times = "budget = \"300ms\"\nretransmit = [\"50ms\"]";
        let config = config.replace("budget = \"10s\"\nretransmit = [\"5s\"]", times);
        std::fs::write(&site.config, config).unwrap();
        daemon.signal(Signal::HUP).unwrap();
        follower.event_of("reloaded");
        wait_until("it is gone", PATIENCE, || Ok(program.look() == A)).unwrap();
        let gone = follower.event_of("gone");
        assert_eq!(
            (&gone["from"], &gone["state"]),
            (&u(1).into(), &"unanswered".into())
        );
    });
}

#[test]
fn a_failure_has_the_next_responder_found_for_all() {
    rootless::test(|| {
        let site = Site::new(LONG);
        let _daemon = site.start();
        let (client, follower) = (site.connect(), site.connect());
        follower.follow();
        assert_eq!(client.u(A), u(1));
        site.move_to(2);
        assert_eq!(site.found(A), Some(u(1)));
        client.send(
            0,
            &Message::Failed(Failure {
                a: A.parse().unwrap(),
                u: u(1).parse().unwrap(),
                port: 443,
                protocol: 6,
                errno: 111,
            }),
        );
        assert_eq!(follower.event_of("failed")["errno"], 111);
        assert_eq!(follower.event_of("changed")["to"], u(2));
        assert_eq!(site.found(A), Some(u(2)));
    });
}

#[test]
fn who_is_not_served_by_what_is_known_has_it_asked_anew() {
    rootless::test(|| {
        let site = Site::new(LONG);
        let _daemon = site.start();
        let client = site.connect();
        assert_eq!(client.u(A), u(1));
        site.move_to(2);
        assert_eq!(client.u(A), u(1));
        client.ask(3, A.parse().unwrap(), Asked::ANEW);
        match client.next() {
            (3, Told::Mapping(answer)) => assert_eq!(answer.u.to_string(), u(2)),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.u(A), u(2));
    });
}

#[test]
fn a_late_answer_serves_the_next() {
    rootless::test(|| {
        // The asker goes before there is an answer, and its question goes on.
        let mut network = responders();
        network
            .links
            .retain(|link| !link.ends[0].starts_with("s1:"));
        let far = LinkSpec::new("s1:eth0 2001:db8:51::2/64", "router:s1 2001:db8:51::1/64");
        let network = network.add_link(far.delay(Duration::from_millis(50)));
        let site = Site::of(&network, LONG);
        let _daemon = site.start();
        let client = site.connect();
        client.ask(1, A.parse().unwrap(), Asked::NONBLOCKING);
        drop(client);
        wait_until("it is known", PATIENCE, || Ok(site.found(A) == Some(u(1)))).unwrap();
    });
}

#[test]
fn routes_that_matter_put_mappings_in_doubt() {
    rootless::test(|| {
        let site = Site::new(LONG);
        let _daemon = site.start();
        let (client, follower) = (site.connect(), site.connect());
        follower.follow();
        assert_eq!(client.u(A), u(1));
        follower.event_of("learned");
        let capture = site.lab.capture("client", "eth0").unwrap();
        // Somewhere else: nobody minds.
        site.lab
            .ip("client", "-6 route add 2001:db8:77::/48 via 2001:db8:1::1")
            .unwrap();
        site.lab
            .ip("client", "-6 route del 2001:db8:77::/48")
            .unwrap();
        // To A, by the same router: what is in use is asked again at once.
        site.lab
            .ip("client", "-6 route add 2001:db8:a::/64 via 2001:db8:1::1")
            .unwrap();
        let epoch = follower.event_of("epoch");
        assert_eq!(
            (&epoch["epoch"], &epoch["cause"]),
            (&2.into(), &"routes".into())
        );
        wait_until("it is asked again", PATIENCE, || {
            Ok(site.found(A) == Some(u(1)))
        })
        .unwrap();
        assert_eq!(Filter::icmp6(128).count(&capture.finish().unwrap()), 1);
        // The default route, which A takes no longer.
        site.lab.ip("client", "-6 route del default").unwrap();
        assert_eq!(follower.event_of("epoch")["epoch"], 3);
        // No route to A at all.
        site.lab
            .ip("client", "-6 route del 2001:db8:a::/64")
            .unwrap();
        let gone = follower.event_of("gone");
        assert_eq!(gone["from"], u(1));
        wait_until("it is gone", PATIENCE, || Ok(site.look(A).is_none())).unwrap();
    });
}

#[test]
fn a_flood_of_route_changes_is_judged_now_and_then() {
    rootless::test(|| {
        let site = Site::new(LONG);
        let _daemon = site.start();
        let client = site.connect();
        assert_eq!(client.u(A), u(1));
        let lines: String = (0..2000)
            .map(|n| {
                let verb = if n % 2 == 0 { "add" } else { "del" };
                format!("route {verb} 2001:db8:a::/64 via 2001:db8:1::1\n")
            })
            .collect();
        let batch = site.lab.work().join("batch");
        std::fs::write(&batch, lines).unwrap();
        let began = Instant::now();
        let ip = site.host().command("ip").args(["-6", "-batch"]).arg(&batch);
        ip.run().unwrap();
        wait_until("it is judged", PATIENCE, || {
            Ok(client.status()["epochs"].as_u64() >= Some(1))
        })
        .unwrap();
        let epochs = client.status()["epochs"].as_u64().unwrap();
        // Twice a second at the most.
        let most = 2 + 2 * began.elapsed().as_secs();
        assert!(epochs <= most, "{epochs} epochs in {:?}", began.elapsed());
        wait_until("it is known again", PATIENCE, || {
            Ok(site.found(A) == Some(u(1)))
        })
        .unwrap();
    });
}

#[test]
fn a_link_that_goes_down_puts_mappings_in_doubt() {
    rootless::test(|| {
        let site = Site::new(LONG);
        let _daemon = site.start();
        let (client, follower) = (site.connect(), site.connect());
        follower.follow();
        assert_eq!(client.u(A), u(1));
        site.lab.ip("client", "link set eth0 down").unwrap();
        assert_eq!(follower.event_of("epoch")["cause"], "routes");
        assert_eq!(follower.event_of("gone")["from"], u(1));
        assert_eq!(site.look(A), None);
        // And up again, with what goes down with it.
        site.lab.ip("client", "link set eth0 up").unwrap();
        site.lab
            .ip(
                "client",
                "-6 address replace 2001:db8:1::2/64 dev eth0 nodad",
            )
            .unwrap();
        site.lab
            .ip("client", "-6 route replace default via 2001:db8:1::1")
            .unwrap();
        wait_until("A is known again", PATIENCE, || {
            Ok(matches!(client.resolve(A), Told::Mapping(answer) if answer.u.to_string() == u(1)))
        })
        .unwrap();
    });
}
