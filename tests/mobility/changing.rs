//! What changes while a sidecar runs, and what it leaves when it is killed.
use std::fmt::Write as _;

use aarp_lab::{Process, wait_until};

use crate::following::{lasting, traces, wait_owner};
use crate::site::{A, AGENT, CLIENT, LIMIT, Site, U1, U2, count, networked, said};

/// Whether the rule is there that leads what A sends into the tunnel.
fn is_led(site: &Site) -> bool {
    let rules = site.lab.ip("s1", "-6 rule").unwrap();
    rules.contains(&format!("5270:\tfrom {A} "))
}

/// Without a binding the agent would drop what the tunnel brings: an address that is
/// reached without agents is served as if the sidecar were not there.
#[test]
fn answers_take_the_tunnel_only_while_it_is_registered() {
    networked(|| {
        let site = Site::new();
        let _nginx = site.nginx("s1");
        // A is routed to the responder, which has it.
        for (host, words) in [
            ("s1", format!("-6 address add {A}/128 dev lo nodad")),
            ("r1", format!("-6 route add {A}/128 via {U1}")),
            ("rt", format!("-6 route add {A}/128 via 2001:db8:0:14::2")),
        ] {
            site.lab.ip(host, &words).unwrap();
        }
        let binding = site.binding_command("s1", &["--lifetime", "4s"]).spawn();
        let binding = binding.unwrap();
        binding.wait_stderr("registering with", LIMIT).unwrap();
        assert_eq!(site.who(), "s1");
        assert!(!is_led(&site));
        assert!(wakes_from_sleep(&binding));
        let agent = site.open_agent();
        binding.wait_stderr("registered with", LIMIT).unwrap();
        assert!(is_led(&site));
        agent.kill();
        // The binding ends, there as here.
        said(&binding, "registering with", 2);
        wait_until("the rule is gone", LIMIT, || Ok(!is_led(&site))).unwrap();
        assert_eq!(site.who(), "s1");
    });
}

/// Whether a program waits by a timer that goes on while its host sleeps: what is due then
/// is done when it wakes, and not as much later as it has slept.
fn wakes_from_sleep(program: &Process) -> bool {
    let folder = format!("/proc/{}/fdinfo", program.pid());
    let mut files = std::fs::read_dir(folder).unwrap();
    files.any(|file| {
        // It may be closed by now.
        let info = std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        // CLOCK_BOOTTIME.
        info.lines().any(|line| line == "clockid: 7")
    })
}

/// What comes in the name of an address of this host, by the agent, which knows nothing of
/// it, past the filter at the border that would have dropped it.
#[test]
fn nobody_speaks_in_the_name_of_the_host() {
    networked(|| {
        let site = Site::simple(&[]);
        let inner = "2001:db8:0:4::99";
        for host in ["c", "s1"] {
            let words = format!("-6 address add {inner}/128 dev lo nodad");
            site.lab.ip(host, &words).unwrap();
        }
        let refused = || count(&site.status("s1", "aarp-binding")[0], "/refused/address");
        let forge = || {
            let ping = site.host("c").command("ping");
            let ping = ping.args(["-nc1", "-W1", "-I", inner, &A.to_string()]);
            ping.output().unwrap();
        };
        // Also one that the host has got while the sidecar runs, when it has seen it.
        wait_until("it is refused", LIMIT, || {
            forge();
            Ok(refused() > 0)
        })
        .unwrap();
        // What the sidecar gives to its host.
        let s1 = site.host("s1");
        let mut rules = "table inet given { chain in {\n\
             type filter hook prerouting priority raw\n"
            .to_owned();
        for source in [inner, &CLIENT.to_string()] {
            writeln!(
                rules,
                "iifname aarp-binding ip6 saddr {source} icmpv6 type echo-request counter"
            )
            .unwrap();
        }
        s1.nft(&(rules + "}\n}\n")).unwrap();
        let given = |source: &str| {
            let listed = s1.command("nft").args(["list", "table", "inet", "given"]);
            let listed = String::from_utf8(listed.run().unwrap().stdout).unwrap();
            let rule = listed.lines().find(|line| line.contains(source)).unwrap();
            let (_, packets) = rule.split_once("packets ").unwrap();
            packets.split_once(' ').unwrap().0.parse::<u64>().unwrap()
        };
        let before = refused();
        forge();
        assert!(refused() > before);
        // Control.
        let ping = site.host("c").command("ping");
        ping.args(["-nc1", "-W30", &A.to_string()]).run().unwrap();
        assert_eq!((given(inner), given(&CLIENT.to_string())), (0, 1));
    });
}

/// A host that is an agent of one address and a responder of another, with one address of
/// its own: each program gets its messages.
#[test]
fn agent_and_sidecar_share_a_host() {
    networked(|| {
        let site = Site::new();
        let other = "2001:db8:0:4::a";
        site.host("s1")
            .sysctl("net.ipv6.conf.all.forwarding", "1")
            .unwrap();
        let here = site.program("s1", "aarp-agent").arg("run");
        let here = here.args(["--address", &U1.to_string(), "--home", other]);
        let here = here.args(["--insecure-unauthenticated", "--keys", "/nonexistent"]);
        let here = here.spawn().unwrap();
        here.wait_stderr("serves ", LIMIT).unwrap();
        let _agent = site.open_agent();
        let there = || {
            let binding = site.program("s2", "aarp-binding").arg("run");
            let binding = binding.args(["--anycast", other, "--agent", &U1.to_string()]);
            let state = site.lab.work().join("state-s2");
            let binding = binding.arg("--state-dir").arg(state).spawn().unwrap();
            binding.wait_stderr("registered with", LIMIT).unwrap();
            binding
        };
        // Whichever is there first.
        let first = site.binding("s1", &[]);
        let second = there();
        for address in [&A.to_string(), other] {
            let ping = site.host("c").command("ping");
            let ping = ping.args(["-nc1", "-i0.2", "-w20", address]);
            ping.run().unwrap();
        }
        for binding in [&first, &second] {
            let status = binding.terminate(LIMIT).unwrap();
            let told = binding.stderr().unwrap();
            assert!(status.success() && !told.contains("not answered"), "{told}");
        }
        let _second = there();
        let _first = site.binding("s1", &[]);
    });
}

/// The only unicast address goes, and the same comes back.
#[test]
fn a_unicast_address_that_comes_back_is_used_again() {
    networked(|| {
        let site = Site::new();
        let agent = site.keyed_agent();
        let nginx = site.nginx("s1");
        let binding = site.binding("s1", &["--lifetime", "4s", "--spi", "256"]);
        let ip = |words: &str| drop(site.lab.ip("s1", words).unwrap());
        ip(&format!("-6 address del {U1}/64 dev eth0"));
        let gone = format!("the unicast address {U1} is gone");
        binding.wait_stderr(&gone, LIMIT).unwrap();
        // The agent gets no deregistration from it, and has it no longer than promised.
        wait_owner(&site, None, &[&agent, &binding]);
        ip(&format!("-6 address add {U1}/64 dev eth0 nodad"));
        ip("-6 route replace default via 2001:db8:0:4::1");
        wait_owner(&site, Some(U1), &[&agent, &binding]);
        assert_eq!(site.who(), "s1");
        drop((binding, nginx));
    });
}

/// A download goes on when the path under it becomes narrower.
#[test]
fn a_path_that_shrinks_under_way() {
    networked(|| {
        let mut site = Site::simple(&[]);
        let nginx = site.nginx("s1");
        site.keep(nginx);
        let file = site.host("s1").dir().join("www/large");
        let octets: Vec<u8> = (0..2_u32 << 20).flat_map(u32::to_le_bytes).collect();
        std::fs::write(file, &octets).unwrap();
        let fetched = site.host("c").dir().join("fetched");
        let curl = site.curl(50, "/large").args(["--limit-rate", "4M", "-o"]);
        let curl = curl.arg(&fetched).spawn().unwrap();
        for (share, mtu) in [(8, 1400), (3, 1300)] {
            wait_until("the download goes on", LIMIT, || {
                let so_far = std::fs::metadata(&fetched).map_or(0, |data| data.len());
                Ok(so_far >= octets.len() as u64 / share)
            })
            .unwrap();
            assert!(curl.try_wait().unwrap().is_none(), "it is under way");
            site.narrow("r1", mtu);
        }
        let status = curl.wait(LIMIT).unwrap();
        assert!(status.success(), "{}", curl.stderr().unwrap());
        assert!(std::fs::read(&fetched).unwrap() == octets, "other octets");
    });
}

/// What `kill -9` leaves is undone by the next start and its end, and nothing of what was
/// there before.
#[test]
fn what_a_killed_sidecar_leaves_is_undone() {
    networked(|| {
        let site = Site::new();
        // Somebody else's, much like the sidecar's own.
        let other = "-6 rule add from 2001:db8:0:1::b lookup main priority 5270";
        site.lab.ip("s1", other).unwrap();
        let before = traces(&site, "s1");
        let agent = site.keyed_agent();
        let killed = site.binding("s1", &["--spi", "256"]);
        killed.kill();
        killed.wait(LIMIT).unwrap();
        assert!(is_led(&site), "what this is about");
        let next = site.binding("s1", &["--spi", "256"]);
        assert_eq!(site.owner(), Some(U1));
        assert!(next.terminate(LIMIT).unwrap().success());
        let after = traces(&site, "s1");
        assert_eq!(lasting(&after), lasting(&before));
        drop(agent);
    });
}

/// One sidecar for many addresses, while the host has other things going on.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn many_addresses() {
    // Three updates a second to an agent by one key (RFC 6275 §12), refreshes among them.
    const COUNT: usize = 30;
    networked(|| {
        let site = Site::new();
        let before = traces(&site, "s1");
        // A network of them that is routed to the agent.
        let home = "2001:db8:0:6::/64";
        let route = format!("-6 route add {home} via {AGENT}");
        site.lab.ip("rt", &route).unwrap();
        let agent = site.program("haa", "aarp-agent").arg("run");
        let agent = agent.args(["--address", &AGENT.to_string(), "--home", home]);
        let agent = agent.arg("--insecure-unauthenticated").spawn().unwrap();
        agent.wait_stderr("serves ", LIMIT).unwrap();
        let mut config = String::new();
        for number in 1..=COUNT {
            writeln!(
                config,
                "[[binding]]\nanycast = \"2001:db8:0:6::{number:x}\"\nagents = [\"{AGENT}\"]\n\
                 lifetime = \"32s\""
            )
            .unwrap();
        }
        let file = site.lab.work().join("many.toml");
        std::fs::write(&file, config).unwrap();
        let binding = site.program("s1", "aarp-binding").args(["run", "--config"]);
        let binding = binding.arg(&file).arg("--state-dir").arg(site.lab.work());
        let binding = binding.spawn().unwrap();
        let bindings = || site.status("haa", "aarp-agent").len() - 1;
        wait_until("all are registered", LIMIT, || Ok(bindings() == COUNT)).unwrap();
        // Each has its rule, and is refreshed in time although others change addresses.
        for number in [1, 15, COUNT] {
            let ping = site.host("c").command("ping");
            let ping = ping.args([
                "-nc1",
                "-i0.2",
                "-w20",
                &format!("2001:db8:0:6::{number:x}"),
            ]);
            ping.run().unwrap();
        }
        let refreshed = |record: &serde_json::Value| record["updates"].as_u64() >= Some(2);
        wait_until("all are refreshed", 2 * LIMIT, || {
            site.lab
                .ip("s1", &format!("-6 address replace {U2}/128 dev lo nodad"))?;
            site.lab
                .ip("s1", &format!("-6 address del {U2}/128 dev lo"))?;
            let records = site.status("haa", "aarp-agent");
            assert_eq!(records.len() - 1, COUNT, "none is lost");
            Ok(records[1..].iter().all(refreshed))
        })
        .unwrap();
        let status = binding.terminate(LIMIT).unwrap();
        assert!(status.success(), "{}", binding.stderr().unwrap());
        assert_eq!(bindings(), 0);
        let after = traces(&site, "s1");
        assert_eq!(lasting(&after), lasting(&before));
    });
}
