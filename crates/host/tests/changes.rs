//! Changes of a host in a network namespace: made once, undone whole.
use std::net::Ipv6Addr;

use aarp_host::changes::{Change, Changes, Done, MAIN, METRIC};
use aarp_host::sysctl::{Number, Switch};
use aarp_host::tool::Tool;
use aarp_lab::{Host, HostSpec, Lab, Network, rootless};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);

fn lab() -> Lab {
    let network = Network::new()
        .host("agent", HostSpec::new())
        .host("peer", HostSpec::new())
        .link("agent:eth0 2001:db8:1::1/64", "peer:eth0 2001:db8:1::2/64");
    Lab::new(&network).unwrap()
}

fn all() -> Vec<Change> {
    let route = |table| Change::Route {
        destination: A,
        prefix_length: 128,
        interface: "eth0".into(),
        table,
        metric: METRIC,
    };
    vec![
        Change::Address {
            address: A,
            prefix_length: 128,
            interface: "lo".into(),
            deprecated: true,
        },
        route(MAIN),
        route(77),
        Change::Rule {
            protocol: None,
            from: A,
            table: 77,
            priority: 900,
        },
        Change::Rule {
            protocol: Some(58),
            from: A,
            table: 77,
            priority: 901,
        },
        Change::ProxyNdp {
            interface: "eth0".into(),
        },
        Change::ProxyNeighbour {
            address: A,
            interface: "eth0".into(),
        },
        Change::ProxyDelay {
            interface: "eth0".into(),
        },
        Change::Forwarding {
            interface: "eth0".into(),
        },
    ]
}

/// Runs `job` in the host's namespaces with a record of its own.
fn with<R: Send + 'static>(
    host: &Host,
    record: Vec<Done>,
    job: impl FnOnce(&mut Changes) -> R + Send + 'static,
) -> (R, Vec<Done>) {
    host.enter(move || {
        let mut changes = Changes::resume(Tool::ip().unwrap(), record);
        let result = job(&mut changes);
        (result, changes.record().to_vec())
    })
}

/// What the host's configuration is, as far as it is changed here. What the kernel
/// adds by itself, it adds when it likes.
fn state(host: &Host) -> String {
    let shown = [
        "-o -6 addr show scope global",
        "-6 route show table all",
        "-6 rule show",
        "-6 neigh show proxy",
    ];
    let own = ["local ", "anycast ", "multicast ", "fe80:"];
    let mut state = String::new();
    for words in shown {
        let text = host.ip(words).unwrap();
        for line in text
            .lines()
            .filter(|line| !own.iter().any(|o| line.starts_with(o)))
        {
            state.push_str(line);
            state.push('\n');
        }
    }
    let switches = host.enter(|| {
        let switches = [Switch::ProxyNdp, Switch::Forwarding].map(|s| s.read("eth0").unwrap());
        (switches, Number::ProxyDelay.read("eth0").unwrap())
    });
    state.push_str(&format!("{switches:?}"));
    state
}

#[test]
fn changes_are_made_once_and_undone() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        let before = state(agent);
        let (made, record) = with(agent, Vec::new(), |changes| {
            all()
                .into_iter()
                .map(|c| changes.make(c).unwrap())
                .collect()
        });
        let made: Vec<bool> = made;
        assert_eq!(made, [true; 9]);
        let changed = state(agent);
        for expected in [
            "inet6 2001:db8:f::1/128 scope global nodad deprecated",
            "2001:db8:f::1 dev eth0 table 77 metric 1024",
            "2001:db8:f::1 dev eth0 metric 1024",
            "900:\tfrom 2001:db8:f::1 lookup 77",
            "([Some(true), Some(true)], Some(0))",
        ] {
            assert!(changed.contains(expected), "{expected:?} not in {changed}");
        }
        assert!(
            agent
                .ip("-6 neigh show proxy")
                .unwrap()
                .contains("2001:db8:f::1")
        );
        // Once more, by another process: nothing to do, and so nothing to undo.
        let (again, empty) = with(agent, Vec::new(), |changes| {
            let again: Vec<_> = all()
                .into_iter()
                .map(|c| changes.make(c).unwrap())
                .collect();
            assert_eq!(changes.undo().len(), 0);
            again
        });
        assert_eq!((again, empty), (vec![false; 9], vec![]));
        assert_eq!(state(agent), changed);
        // Taken up again from what was written down.
        let text = serde_json::to_string(&record).unwrap();
        let record: Vec<Done> = serde_json::from_str(&text).unwrap();
        let (errors, left) = with(agent, record, |changes| changes.undo().len());
        assert_eq!((errors, left), (0, vec![]));
        assert_eq!(state(agent), before);
    });
}

#[test]
fn a_failure_half_way_leaves_a_record_that_undoes() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        let before = state(agent);
        let (error, left) = with(agent, Vec::new(), |changes| {
            let mut wanted = all();
            wanted.insert(
                3,
                Change::ProxyNeighbour {
                    address: A,
                    interface: "missing0".into(),
                },
            );
            let error = wanted
                .into_iter()
                .map(|change| changes.make(change))
                .find_map(Result::err)
                .unwrap()
                .to_string();
            assert_eq!(changes.record().len(), 3);
            let errors = changes.undo();
            assert!(errors.is_empty(), "{errors:?}");
            error
        });
        assert!(
            error.contains("ip -6 neigh add proxy 2001:db8:f::1 dev missing0"),
            "{error}"
        );
        assert_eq!(left, []);
        assert_eq!(state(agent), before);
    });
}

#[test]
fn what_somebody_else_has_done_is_left_to_them() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        // There before: the address, a proxy, and another route in the same place.
        agent
            .ip("-6 addr add 2001:db8:f::1/128 dev lo nodad")
            .unwrap();
        agent
            .ip("-6 neigh add proxy 2001:db8:f::1 dev eth0")
            .unwrap();
        agent
            .ip("-6 route add 2001:db8:f::1/128 via 2001:db8:1::2 dev eth0 proto static mtu 1400")
            .unwrap();
        let before = state(agent);
        let (made, record) = with(agent, Vec::new(), |changes| {
            all()
                .into_iter()
                .map(|c| changes.make(c).unwrap())
                .collect()
        });
        let made: Vec<bool> = made;
        assert_eq!(
            made,
            [false, true, true, true, true, true, false, true, true]
        );
        assert_eq!(record[0].replaced.len(), 1);
        // Meanwhile somebody has removed the rule.
        agent
            .ip("-6 rule del from 2001:db8:f::1 lookup 77")
            .unwrap();
        let (errors, left) = with(agent, record, |changes| changes.undo().len());
        assert_eq!((errors, left), (0, vec![]));
        assert_eq!(state(agent), before);
    });
}

#[test]
fn one_change_is_reverted_by_itself() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        let before = state(agent);
        with(agent, Vec::new(), |changes| {
            for change in all() {
                changes.make(change).unwrap();
            }
            for (left, change) in all().iter().rev().enumerate() {
                assert!(changes.revert(change).unwrap());
                assert!(!changes.revert(change).unwrap(), "it is no more");
                assert_eq!(changes.record().len(), 8 - left);
            }
        });
        assert_eq!(state(agent), before);
    });
}

#[test]
fn routes_lost_with_their_device_are_put_back() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        let route = "-6 route add 2001:db8:f::1/128 via 2001:db8:1::2 dev eth0";
        agent.ip(route).unwrap();
        let before = state(agent);
        agent
            .ip("link add name tunnel0 type veth peer name tunnel1")
            .unwrap();
        for end in ["tunnel0", "tunnel1"] {
            agent
                .ip(&format!("link set {end} addrgenmode none up"))
                .unwrap();
        }
        let (_, record) = with(agent, Vec::new(), |changes| {
            let into = Change::Route {
                destination: A,
                prefix_length: 128,
                interface: "tunnel0".into(),
                table: MAIN,
                metric: METRIC,
            };
            assert!(changes.make(into).unwrap());
        });
        agent.ip("link del tunnel0").unwrap();
        let (errors, left) = with(agent, record, |changes| changes.undo().len());
        assert_eq!((errors, left), (0, vec![]));
        assert_eq!(state(agent), before);
    });
}

/// What is listed is listed once for all changes, and what is missing is made.
#[test]
fn many_changes_are_one_look() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        let mut wanted = all();
        for last in 2..30 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, last);
            wanted.push(Change::Route {
                destination: address,
                prefix_length: 128,
                interface: "eth0".into(),
                table: MAIN,
                metric: METRIC,
            });
            wanted.push(Change::ProxyNeighbour {
                address,
                interface: "eth0".into(),
            });
        }
        // It notes what it is asked, and asks the real one.
        let (script, asked) = (agent.dir().join("ip"), agent.dir().join("asked"));
        let text = format!(
            "#!/bin/sh\necho \"$@\" >> {}\nexec ip \"$@\"\n",
            asked.display()
        );
        aarp_lab::write_executable(&script, text).unwrap();
        let lines = move || {
            let text = std::fs::read_to_string(&asked).unwrap();
            std::fs::remove_file(&asked).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let before = state(agent);
        let undone = agent.enter(move || {
            let mut changes = Changes::new(Tool::at(script));
            let mut made = 0;
            changes.make_all(&wanted, |_| made += 1).unwrap();
            assert_eq!(made, wanted.len());
            lines();
            changes
                .make_all(&wanted, |change| panic!("{change:?}"))
                .unwrap();
            // Addresses, rules, proxies, and the routes of two tables.
            let looks = lines();
            assert_eq!(looks.len(), 5, "{looks:#?}");
            // One that is missing, and one that cannot be made before it.
            let route = wanted.last().unwrap();
            assert!(changes.revert(route).unwrap());
            wanted.insert(
                0,
                Change::ProxyNdp {
                    interface: "missing0".into(),
                },
            );
            let mut made = Vec::new();
            let result = changes.make_all(&wanted, |change| made.push(change.clone()));
            let error = result.unwrap_err().to_string();
            assert!(error.contains("missing0"), "{error}");
            assert_eq!(made, [wanted.last().unwrap().clone()]);
            // However often others remove one, it is recorded once.
            let (record, neighbour) = (changes.record().len(), wanted.last().unwrap());
            let Change::ProxyNeighbour { address, interface } = neighbour else {
                panic!("{neighbour:?}")
            };
            for _ in 0..5 {
                let address = address.to_string();
                let words = ["-6", "neigh", "del", "proxy", &address, "dev", interface];
                let removed = std::process::Command::new("ip").args(words).status();
                assert!(removed.unwrap().success());
                assert!(changes.make(neighbour.clone()).unwrap());
                assert_eq!(changes.record().len(), record);
            }
            changes.undo().len()
        });
        assert_eq!(undone, 0);
        assert_eq!(state(agent), before);
    });
}

#[test]
fn switches_are_read() {
    rootless::test(|| {
        let lab = lab();
        let agent = lab.host("agent").unwrap();
        agent.sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
        agent.enter(|| {
            assert_eq!(Switch::Forwarding.read("all").unwrap(), Some(true));
            assert_eq!(Switch::ProxyNdp.read("eth0").unwrap(), Some(false));
            assert_eq!(Switch::ProxyNdp.read("missing0").unwrap(), None);
            for bad in ["", "..", "../../../kernel", "a/b"] {
                assert!(Switch::Forwarding.read(bad).is_err(), "{bad:?}");
            }
        });
    });
}
