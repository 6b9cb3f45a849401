//! What the initiator hears when there is nobody to relay to.
use aarp_lab::Snap;

use crate::decode::decoded;
use crate::site::{A, AGENT, CLIENT, Site, U1, count, networked};

/// curl ends at once, by an error of the network and not by its own patience.
#[track_caller]
pub(crate) fn assert_unreachable(site: &Site) {
    let output = site.curl(50, "/who").arg("-v").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(stderr.contains("No route to host"), "{stderr}");
}

const UNREACHABLE: &str = "icmpv6.type == 1 && icmpv6.code == 3";

#[test]
fn without_a_binding_the_address_is_unreachable() {
    networked(|| {
        let mut site = Site::new();
        let agent = site.open_agent();
        site.keep(agent);
        let capture = site.lab.capture_with("c", "eth0", Snap::Whole).unwrap();
        assert_unreachable(&site);
        let fields = ["ipv6.src", "ipv6.dst", "tcp.dstport"];
        let told = decoded(&capture, UNREACHABLE, &fields);
        assert!(!told.is_empty());
        assert_eq!(told[0].fields[0], format!("{AGENT},{CLIENT}"));
        assert_eq!(told[0].fields[1], format!("{CLIENT},{A}"));
        assert_eq!(told[0].fields[2], "80");
        let record = site.agent_record();
        assert!(count(&record, "/dropped/no-binding") >= 1, "{record:#}");
        // And once somebody has registered, it is reachable.
        let nginx = site.nginx("s1");
        let binding = site.binding("s1", &[]);
        assert_eq!(site.who(), "s1");
        drop((nginx, binding));
    });
}

/// The binding stands, and nobody takes packets out of the tunnel: the responder's
/// kernel refuses protocol 41, and the initiator is told what that means for it.
#[test]
fn a_tunnel_without_an_end_is_an_unreachable_address() {
    networked(|| {
        let site = Site::simple(&[]);
        let outside = site.lab.capture_with("rc", "rt", Snap::Whole).unwrap();
        let inside = site.lab.capture_with("r1", "rt", Snap::Whole).unwrap();
        site.kill_binding();
        assert_unreachable(&site);
        let refused = "icmpv6.type == 4 && icmpv6.code == 1";
        let refused = decoded(&inside, refused, &["ipv6.src"]);
        assert!(
            refused[0].fields[0].starts_with(&format!("{U1},")),
            "{refused:?}"
        );
        let told = decoded(&outside, UNREACHABLE, &["ipv6.src", "ipv6.dst"]);
        assert!(!told.is_empty());
        assert!(
            told.iter()
                .all(|p| p.fields[0] == format!("{AGENT},{CLIENT}"))
        );
        assert!(told.iter().all(|p| p.fields[1] == format!("{CLIENT},{A}")));
        // Nothing of the tunnel itself gets out.
        let foreign = format!("ipv6.addr == {U1} || ipv6.nxt == 41");
        assert!(decoded(&outside, &foreign, &[]).is_empty());
    });
}

/// The responder's host is gone from its link, or a router on the way has no route.
#[test]
fn a_responder_that_is_gone_is_an_unreachable_address() {
    networked(|| {
        let site = Site::simple(&[]);
        site.lab.ip("s1", "link set dev eth0 down").unwrap();
        assert_unreachable(&site);
        site.lab.ip("rt", "-6 route del 2001:db8:0:4::/64").unwrap();
        assert_unreachable(&site);
        let record = site.agent_record();
        assert!(count(&record, "/relayed/path_errors") >= 2, "{record:#}");
        assert!(count(&record, "/relayed/errors_sent") >= 2, "{record:#}");
    });
}

/// The tunnel is one hop (RFC 2473 §3.1), and the inner hop limit ends where it would:
/// traceroute sees the agent, and then A.
#[test]
fn hop_limits_end_where_they_should() {
    networked(|| {
        let site = Site::simple(&[]);
        let capture = site.lab.capture_with("c", "eth0", Snap::Whole).unwrap();
        let mut last = None;
        for hops in 1..=8 {
            let ping = site.host("c").command("ping");
            let ping = ping.args(["-nc1", "-W2", "-t", &hops.to_string(), &A.to_string()]);
            let output = ping.output().unwrap();
            if output.status.success() {
                last = Some(hops);
                break;
            }
        }
        // rc, rt, the agent; the next is the responder.
        assert_eq!(last, Some(4));
        let fields = ["ipv6.src", "ipv6.dst"];
        let exceeded = decoded(&capture, "icmpv6.type == 3 && icmpv6.code == 0", &fields);
        assert_eq!(exceeded.len(), 3, "{exceeded:?}");
        assert!(
            exceeded
                .iter()
                .all(|p| p.fields[1] == format!("{CLIENT},{A}"))
        );
        assert_eq!(exceeded[2].fields[0], format!("{AGENT},{CLIENT}"));
    });
}

/// A hop limit that ends inside the tunnel's path, at a router there, is an address that
/// cannot be reached for the initiator, as a loop would be.
#[test]
fn a_loop_in_the_tunnel_s_path_is_an_unreachable_address() {
    networked(|| {
        let site = Site::simple(&[]);
        site.lab
            .ip(
                "r1",
                "-6 route replace 2001:db8:0:4::2/128 via 2001:db8:0:14::1",
            )
            .unwrap();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        assert_unreachable(&site);
        let exceeded = decoded(
            &capture,
            "icmpv6.type == 3 && icmpv6.code == 0",
            &["ipv6.dst"],
        );
        assert!(!exceeded.is_empty());
        let begins = format!("{AGENT},{U1},");
        assert!(exceeded[0].fields[0].starts_with(&begins), "{exceeded:?}");
        site.lab
            .ip("r1", "-6 route del 2001:db8:0:4::2/128")
            .unwrap();
        let nginx = site.nginx("s1");
        assert_eq!(site.who(), "s1");
        drop(nginx);
    });
}
