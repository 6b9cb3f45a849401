//! What others remove of the programs' changes at run time is put back.
use aarp_lab::Process;

use crate::following::{lasting, traces};
use crate::site::{A, LIMIT, Site, U1, networked, said};

/// A is answered for: the kernel enters the route of an address a little later.
fn answers(site: &Site, programs: [&Process; 2]) {
    let ping = site.host("c").command("ping");
    let ping = ping
        .args(["-nc1", "-i0.2", "-w20", &A.to_string()])
        .output()
        .unwrap();
    assert!(
        ping.status.success(),
        "{}{:#?}",
        String::from_utf8_lossy(&ping.stdout),
        programs.map(|program| program.stderr().unwrap())
    );
}

/// Routes, the rule, the tables of nft, the device's state, and the address: also one that
/// was another's at the start and is given up by its owner.
#[test]
fn what_others_remove_is_put_back() {
    networked(|| {
        let site = Site::new();
        let ip = |host: &str, words: &str| site.lab.ip(host, words).unwrap();
        let before = ["haa", "s1"].map(|host| traces(&site, host));
        ip("s1", &format!("-6 address add {A}/128 dev lo nodad"));
        let agent = site.keyed_agent();
        let binding = site.binding("s1", &["--spi", "256"]);
        // Nothing but the tunnel passes.
        site.forwarding(&format!(
            "iifname r1 ip6 saddr != {U1} ip6 saddr != fe80::/10 drop"
        ));
        let programs = [&agent, &binding];
        answers(&site, programs);
        let flush = |host: &str| {
            let nft = site.host(host).command("nft").args(["flush", "ruleset"]);
            nft.run().unwrap();
        };
        let back = |program, what: &str, times| {
            said(
                program,
                &format!("put back what was removed: {what}"),
                times,
            );
        };
        // All of it at the same time, and the address by its owner.
        ip("s1", "-6 rule del priority 5270");
        ip("s1", "-6 route flush table 43632");
        ip("s1", &format!("-6 address del {A}/128 dev lo"));
        ip("haa", &format!("-6 route del {A}/128"));
        flush("s1");
        flush("haa");
        for what in [
            "the routing rule from",
            "the route into",
            "the address",
            "the nft rules",
        ] {
            back(&binding, what, 1);
        }
        for what in ["the route of", "the nft rules"] {
            back(&agent, what, 1);
        }
        answers(&site, programs);
        // One thing, which is the sidecar's own now.
        ip("s1", &format!("-6 address del {A}/128 dev aarp-binding"));
        back(&binding, "the address", 2);
        answers(&site, programs);
        // With its address and its route.
        let device = "link show dev aarp-binding";
        ip("s1", "link set dev aarp-binding down");
        back(&binding, "the address", 3);
        answers(&site, programs);
        assert!(ip("s1", device).contains(",UP"), "{}", ip("s1", device));
        // The rules for control messages work again: the deregistration is answered.
        let status = binding.terminate(LIMIT).unwrap();
        let told = binding.stderr().unwrap();
        assert!(status.success() && !told.contains("not answered"), "{told}");
        assert_eq!(site.owner(), None);
        assert!(agent.terminate(LIMIT).unwrap().success());
        for (host, before) in ["haa", "s1"].into_iter().zip(before) {
            let after = traces(&site, host);
            assert_eq!(lasting(&after), lasting(&before), "{host}");
        }
    });
}
