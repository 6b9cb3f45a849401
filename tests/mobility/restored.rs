//! What others remove or switch off while the agent runs is put back, whether the kernel
//! tells of it or not; and at the end the host is as they have left it.
use aarp_lab::wait_until;

use crate::site::{A, LIMIT, Site, U1, networked};

fn switch(site: &Site, name: &str) -> String {
    let file = format!("/proc/sys/{}", name.replace('.', "/"));
    let text = site
        .host("haa")
        .enter(move || std::fs::read_to_string(file));
    text.unwrap().trim().to_owned()
}

/// How the switches have to stand that the agent needs.
const SWITCHES: [(&str, &str, &str); 5] = [
    ("net.ipv6.conf.aarp-agent.forwarding", "1", "0"),
    ("net.ipv6.conf.eth0.forwarding", "1", "0"),
    ("net.ipv6.conf.eth0.proxy_ndp", "1", "0"),
    ("net.ipv6.neigh.eth0.proxy_delay", "0", "80"),
    // The last: it switches all others of its name.
    ("net.ipv6.conf.all.forwarding", "1", "0"),
];

#[test]
fn what_others_remove_from_the_agent_s_host_is_put_back() {
    networked(|| {
        let site = Site::new();
        let agent = site.keyed_agent();
        let _binding = site.binding("s1", &["--spi", "256"]);
        let haa = site.host("haa");
        let ping = |count: &str| {
            let ping = site.host("c").command("ping");
            ping.args(["-nc", count, "-W30", &A.to_string()]).output()
        };
        assert!(ping("1").unwrap().status.success());
        // No event tells of this one.
        site.lab
            .ip("haa", &format!("-6 neigh del proxy {A} dev eth0"))
            .unwrap();
        for (name, _, off) in SWITCHES {
            haa.sysctl(name, off).unwrap();
        }
        haa.nft("delete table ip6 aarp_agent").unwrap();
        // The routes into the device go with its being up.
        site.lab.ip("haa", "link set dev aarp-agent down").unwrap();
        wait_until("all of it is back", LIMIT, || {
            let stands = SWITCHES
                .iter()
                .all(|(name, on, _)| switch(&site, name) == *on);
            let proxies = site.lab.ip("haa", "-6 neigh show proxy")?;
            let route = site.lab.ip("haa", &format!("-6 route show {A}"))?;
            let rules = haa.command("nft").args(["list", "tables"]).run()?;
            let rules = String::from_utf8_lossy(&rules.stdout).contains("aarp_agent");
            let there = proxies.contains(&A.to_string()) && route.contains("aarp-agent");
            Ok(stands && there && rules)
        })
        .unwrap_or_else(|error| panic!("{error}: {}", agent.stderr().unwrap()));
        // It is said when it is done, a moment later.
        for part in [
            "net.ipv6.conf.all.forwarding",
            "the proxy neighbour",
            "nft rules",
        ] {
            agent.wait_stderr(part, LIMIT).unwrap();
        }
        let said = agent.stderr().unwrap();
        site.lab.ip("rt", "-6 neigh flush dev haa").unwrap();
        assert!(ping("2").unwrap().status.success(), "{said}");
        assert!(agent.terminate(LIMIT).unwrap().success());
        // What they have switched off is off again.
        for (name, _, off) in SWITCHES.iter().filter(|(name, ..)| !name.contains("aarp")) {
            assert_eq!(switch(&site, name), *off, "{name}");
        }
    });
}

/// What `kill -9` leaves is undone by the next start, and given back at its end.
#[test]
fn what_a_killed_agent_leaves_is_undone_by_the_next() {
    networked(|| {
        let site = Site::new();
        let traces = || {
            let haa = site.host("haa");
            let nft = haa.command("nft").args(["list", "tables"]).run().unwrap();
            let mut text = String::from_utf8(nft.stdout).unwrap();
            text += &site.lab.ip("haa", "-6 neigh show proxy").unwrap();
            text += &site.lab.ip("haa", &format!("-6 route show {A}")).unwrap();
            for (name, ..) in SWITCHES.iter().filter(|(name, ..)| !name.contains("aarp")) {
                text += &format!("{name} {}\n", switch(&site, name));
            }
            text
        };
        let before = traces();
        let agent = site.keyed_agent();
        let held = || {
            Ok(site
                .lab
                .ip("haa", "-6 neigh show proxy")?
                .contains(&A.to_string()))
        };
        wait_until("A is held", LIMIT, held).unwrap();
        agent.kill();
        assert_ne!(traces(), before, "the kernel keeps some of it");
        let agent = site.keyed_agent();
        let _binding = site.binding("s1", &["--spi", "256"]);
        wait_until("A is held", LIMIT, held).unwrap();
        let ping = site.host("c").command("ping");
        ping.args(["-nc1", "-W30", &A.to_string()]).run().unwrap();
        assert!(agent.terminate(LIMIT).unwrap().success());
        assert_eq!(traces(), before);
    });
}

/// An agent that ends, in whatever way, goes on with its bindings when it is started
/// again; with those whose keys it still has.
#[test]
fn an_agent_goes_on_with_its_bindings() {
    networked(|| {
        let site = Site::new();
        let agent = site.keyed_agent();
        let _binding = site.binding("s1", &["--spi", "256", "--lifetime", "600s"]);
        let bound = || {
            let records = site.status("haa", "aarp-agent");
            records
                .into_iter()
                .find(|record| record["type"] == "binding")
        };
        let of = |binding: &serde_json::Value| {
            ["care_of", "sequence", "since", "responder"].map(|key| binding[key].clone())
        };
        let before = of(&bound().unwrap());
        let file: &'static str = "/run/aarp/agent.bindings";
        let text = || {
            site.host("haa")
                .enter(move || std::fs::read_to_string(file))
        };
        let kept = || Ok(text().is_ok_and(|text| text.contains(&U1.to_string())));
        wait_until("the binding is kept", LIMIT, kept).unwrap();
        agent.kill();
        let ping = || {
            let ping = site.host("c").command("ping");
            ping.args(["-nc1", "-W30", &A.to_string()]).run().unwrap();
        };
        let agent = site.keyed_agent();
        assert!(agent.stderr().unwrap().contains("bindings of before: 1"));
        // No update can have come: the next one is due in minutes.
        let after = of(&bound().unwrap());
        // The wall clock may have been put right by milliseconds; that is not its matter.
        assert_eq!(after[..2], before[..2]);
        assert_eq!(after[3], before[3]);
        ping();
        assert!(agent.terminate(LIMIT).unwrap().success());
        // Without the key there is no binding.
        let text = std::fs::read_to_string(site.lab.work().join("keys.toml")).unwrap();
        let other = site.private("other.toml", &text.replace("ar1@", "ar3@"));
        let agent = site.agent(&["--keys", &other.to_string_lossy()]);
        assert_eq!(bound(), None);
        assert!(agent.terminate(LIMIT).unwrap().success());
        // What is none of ours is told, and passed over.
        let spoil = move || std::fs::write(file, "{");
        site.host("haa").enter(spoil).unwrap();
        let agent = site.keyed_agent();
        assert!(
            agent
                .stderr()
                .unwrap()
                .contains("begins without the bindings")
        );
        assert_eq!(bound(), None);
    });
}
