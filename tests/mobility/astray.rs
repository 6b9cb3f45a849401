//! What others have on the responder that leads packets past the tunnel, or drops them: the
//! sidecar finds it and says what to do, and with that done it works.
use aarp_lab::Process;

use crate::site::{A, Site, networked, said};

/// Whether A answers a ping now.
fn is_answered(site: &Site) -> bool {
    let ping = site.host("c").command("ping");
    let ping = ping.args(["-nc1", "-W1", &A.to_string()]).output().unwrap();
    ping.status.success()
}

/// Whether a page of A is had now.
fn is_served(site: &Site) -> bool {
    site.curl(2, "/who").output().unwrap().status.success()
}

fn nft(site: &Site, rules: &str) {
    site.host("s1").nft(rules).unwrap();
}

/// No packet with the source A leaves the responder's network but in the tunnel.
fn only_the_tunnel(site: &Site) {
    site.forwarding(&format!("iifname r1 ip6 saddr {A} drop"));
}

#[test]
fn routes_and_rules_of_others_are_told() {
    networked(|| {
        let site = Site::new();
        let ip = |words: &str| drop(site.lab.ip("s1", words).unwrap());
        only_the_tunnel(&site);
        // A rule that is there before, as of a VPN.
        ip("-6 rule add priority 1000 lookup main");
        let _agent = site.open_agent();
        let binding = site.binding("s1", &[]);
        let astray = "does not take the tunnel, but eth0: a routing rule before 5270";
        said(&binding, astray, 1);
        assert!(!is_answered(&site));
        ip("-6 rule del priority 1000");
        let again = "takes the tunnel again";
        said(&binding, again, 1);
        assert!(is_answered(&site));
        // A route that comes later, with a lower metric; and one that goes nowhere.
        for (turn, route) in [
            "default via 2001:db8:0:4::1 dev eth0 metric 10",
            "unreachable 2001:db8:0:2::/64 metric 5",
        ]
        .into_iter()
        .enumerate()
        {
            ip(&format!("-6 route add {route} table 43632"));
            let name = route.split(" metric").next().unwrap();
            said(
                &binding,
                &format!("a route of somebody else\'s, \"{name}"),
                1,
            );
            assert!(!is_answered(&site), "{route}");
            ip(&format!("-6 route del {route} table 43632"));
            said(&binding, again, 2 + turn);
            assert!(is_answered(&site), "{route}");
        }
        once(&binding, astray);
    });
}

/// It was told, and not again and again.
fn once(program: &Process, text: &str) {
    let told = program.stderr().unwrap();
    assert_eq!(told.matches(text).count(), 1, "{told}");
}

/// `reverse = "direct"` on a host that drops what comes by another way than it would be
/// answered, as firewalld's `IPv6_rpfilter` does.
#[test]
fn a_check_of_reverse_paths_is_told() {
    networked(|| {
        let site = Site::new();
        let strict = "fib saddr . mark . iif oif missing counter drop";
        let chain = |rule: &str| {
            format!(
                "table inet fw\ndelete table inet fw\ntable inet fw {{ chain pre {{\n\
                 type filter hook prerouting priority raw + 10\n{rule}\n}}\n}}\n"
            )
        };
        let _agent = site.open_agent();
        let _nginx = site.nginx("s1");
        let binding = site.binding("s1", &["--reverse", "direct"]);
        assert!(is_served(&site));
        nft(&site, &chain(strict));
        let told = "a filter of this host drops what comes by the tunnel";
        said(&binding, told, 1);
        assert!(!is_served(&site));
        // As it is told.
        nft(
            &site,
            &chain(&format!("iifname \"aarp-binding\" accept\n{strict}")),
        );
        said(
            &binding,
            "no filter drops what comes by the tunnel any more",
            1,
        );
        assert!(is_served(&site));
        once(&binding, told);
        drop(binding);
        // By the tunnel nothing is dropped, and nothing told.
        nft(&site, &chain(strict));
        let binding = site.binding("s1", &[]);
        assert!(is_served(&site));
        assert!(!binding.stderr().unwrap().contains(told));
    });
}
