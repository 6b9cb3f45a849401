//! Replays after a restart, an agent without descriptors to spare, addresses of the
//! agent's own host: what a review has found and what must stay mended.
use std::net::Ipv6Addr;

use aarp_lab::{Snap, wait_until};

use crate::errors::assert_unreachable;
use crate::floods::judged;
use crate::forged::{Update, send, updates};
use crate::site::{A, AGENT, LIMIT, Site, U1, U2, count, networked};

/// An agent that was restarted knows nothing of what was accepted before, and takes
/// nothing that was sent before.
#[test]
fn a_replay_to_an_agent_that_was_restarted_changes_nothing() {
    networked(|| {
        let site = Site::new();
        let agent = site.keyed_agent();
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let binding = site.binding("s1", &["--spi", "256"]);
        capture.packets().unwrap();
        let recorded = updates(&std::fs::read(capture.path()).unwrap());
        assert!(!recorded.is_empty());
        assert!(binding.terminate(LIMIT).unwrap().success());
        assert!(agent.terminate(LIMIT).unwrap().success());
        let _agent = site.keyed_agent();
        let number = recorded.len() as u64;
        assert_eq!(send(&site, "s2", recorded) as u64, number);
        wait_until("they are judged", LIMIT, || Ok(judged(&site) >= number)).unwrap();
        assert_eq!(site.owner(), None);
        let record = site.agent_record();
        assert_eq!(count(&record, "/updates/refused/144"), number, "{record:#}");
        // Who sends now is believed at once.
        let _binding = site.binding("s1", &["--spi", "256"]);
        assert_eq!(site.owner(), Some(U1));
    });
}

/// Other addresses of the agent's host are no care-of addresses; the host itself reaches
/// A; and when there is no descriptor for who asks for the status, the relay goes on.
#[test]
fn the_agent_s_own_host() {
    networked(|| {
        let site = Site::new();
        let own: Ipv6Addr = "2001:db8:0:1::77".parse().unwrap();
        site.lab
            .ip("haa", &format!("-6 addr add {own}/64 dev eth0 nodad"))
            .unwrap();
        // And a link that has the prefix, but no neighbours that could be told anything.
        for words in [
            "tuntap add dev other mode tun",
            "link set dev other up",
            "-6 addr add 2001:db8:0:1::99/64 dev other nodad noprefixroute",
        ] {
            site.lab.ip("haa", words).unwrap();
        }
        let agent = site.open_agent();
        agent
            .wait_stderr("other is no Ethernet link", LIMIT)
            .unwrap();
        let mut packets = Vec::new();
        for (sequence, care_of) in [(10, AGENT), (20, own)] {
            let mut update = Update::new(U2, sequence);
            update.alternate = Some(care_of);
            packets.push(update.packet());
        }
        assert_eq!(send(&site, "s2", packets), 2);
        let refused = || count(&site.agent_record(), "/updates/refused/174");
        wait_until("both are refused", LIMIT, || Ok(refused() == 2))
            .unwrap_or_else(|error| panic!("{error}: {:#}", site.agent_record()));
        assert_eq!(site.owner(), None);
        let _binding = site.binding("s1", &["--lifetime", "600s"]);
        let ping = |host: &str| {
            let ping = site.host(host).command("ping");
            ping.args(["-nc1", "-W30", &A.to_string()]).run().unwrap();
        };
        ping("haa");
        // An end of a binding is waited for by the clock that goes on while the host is
        // suspended (CLOCK_BOOTTIME is 7).
        let of_process = format!("/proc/{}", agent.pid());
        let timers: Vec<String> = std::fs::read_dir(format!("{of_process}/fdinfo"))
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
            .filter(|text| text.contains("clockid:"))
            .collect();
        assert_eq!(timers.len(), 1, "{timers:?}");
        assert!(timers[0].contains("clockid: 7"), "{timers:?}");
        // No descriptor is left for who comes.
        let limit = |descriptors: usize| {
            let (process, limit) = (agent.pid().to_string(), format!("--nofile={descriptors}:"));
            crate::common::run("prlimit", ["--pid", &process, &limit]);
        };
        let is_free =
            |number: &usize| !std::path::Path::new(&format!("{of_process}/fd/{number}")).exists();
        // What looks after the host has some for a moment, now and then.
        let mut asked = Vec::new();
        wait_until("no descriptor is left", LIMIT, || {
            limit((0..).find(is_free).unwrap());
            asked.push(site.program("haa", "aarp-agent").arg("status").spawn()?);
            let moment = std::time::Duration::from_millis(500);
            Ok(agent.wait_stderr("serve the status", moment).is_ok())
        })
        .unwrap();
        ping("c");
        assert_eq!(agent.try_wait().unwrap(), None, "it goes on");
        limit(1024);
        for status in asked {
            status.wait(LIMIT).unwrap();
        }
        assert_eq!(site.owner(), Some(U1));
        // Without a route to the responder initiators hear of it at once, too.
        let none = "-6 route add unreachable 2001:db8:0:4::/64";
        site.lab.ip("haa", none).unwrap();
        assert_unreachable(&site);
    });
}
