//! Floods of Binding Updates from real sockets.
use std::net::Ipv6Addr;

use aarp_lab::wait_until;

use crate::forged::{Update, send};
use crate::site::{A, AGENT, LIMIT, Site, U1, U2, count, networked};

/// What the agent of a site with keys has counted of updates, all together.
pub(crate) fn judged(site: &Site) -> u64 {
    let record = site.agent_record();
    let updates = &record["updates"];
    let sum = |name: &str| {
        let counts = updates[name].as_object().unwrap();
        counts
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>()
    };
    sum("refused") + sum("unanswered") + count(updates, "/lost")
}

/// A flood from one source, and one from as many as there are packets: all of it is
/// counted, few are answered, little is logged, and the responder that has a key goes on.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn floods_change_nothing() {
    const FLOOD: u64 = 20_000;
    networked(|| {
        let site = Site::new();
        let agent = site.keyed_agent();
        let binding = site.binding("s1", &["--spi", "256", "--lifetime", "4s"]);
        let nginx = site.nginx("s1");
        let capture = site.lab.capture("r2", "in").unwrap();
        let began = crate::site::now();
        for spoofed in [false, true] {
            let before = judged(&site);
            let mut packets = Vec::new();
            for number in 0..FLOOD {
                let source = match spoofed {
                    false => U2,
                    true => {
                        Ipv6Addr::from_bits(U2.to_bits() & !0xffff_ffff | u128::from(number) << 8)
                    }
                };
                packets.push(Update::new(source, number as u16).packet());
            }
            let sent = send(&site, "s2", packets) as u64;
            assert_eq!(sent, FLOOD);
            wait_until("all of them are counted", LIMIT, || {
                Ok(judged(&site) >= before + FLOOD)
            })
            .unwrap_or_else(|error| panic!("{error}: {:#}", site.agent_record()));
        }
        let record = site.agent_record();
        // An unsuccessful authentication is answered, but not without end.
        let answers = capture.packets().unwrap();
        let answers = answers.iter().filter(|p| p.src == AGENT).count();
        let seconds = (crate::site::now() - began).as_secs() as usize + 1;
        assert!(answers <= 50 + 100 * seconds, "{answers} in {seconds} s");
        assert!((answers as u64) < FLOOD, "{record:#}");
        assert_eq!(site.owner(), Some(U1));
        assert_eq!(site.who(), "s1");
        // It is refreshed as ever.
        let refreshed = count(&record, "/updates/refreshed");
        wait_until("the binding is refreshed", LIMIT, || {
            Ok(count(&site.agent_record(), "/updates/refreshed") > refreshed)
        })
        .unwrap();
        assert_eq!(count(&site.agent_record(), "/updates/moved"), 0);
        let lines = agent.stderr().unwrap().lines().count();
        assert!(lines < 60, "{lines} lines: {}", agent.stderr().unwrap());
        drop((binding, nginx));
    });
}

/// Where anybody may register the table is bounded, and who is in it stays.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_full_table_stays_as_it_is() {
    networked(|| {
        let site = Site::new();
        let config = format!(
            "[agent]\naddress = \"{AGENT}\"\nhome = [\"{A}\", \"2001:db8:0:a::/64\"]\n\
             keys = \"/nonexistent\"\ninsecure_unauthenticated = true\nbindings_max = 1000\n"
        );
        let file = site.lab.work().join("agent.toml");
        std::fs::write(&file, config).unwrap();
        let agent = site.program("haa", "aarp-agent").args(["run", "--config"]);
        let agent = agent.arg(&file).spawn().unwrap();
        agent.wait_stderr("serves ", LIMIT).unwrap();
        let binding = site.binding("s1", &[]);
        let packets = (0..5000_u16).map(|number| {
            let mut update = Update::new(U2, number);
            update.home = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0xa, 0, 0, 0, number));
            update.packet()
        });
        send(&site, "s2", packets.collect());
        wait_until("all of them are judged", LIMIT, || {
            Ok(judged(&site) + count(&site.agent_record(), "/updates/created") >= 5001)
        })
        .unwrap();
        let record = site.agent_record();
        assert_eq!(count(&record, "/bindings"), 1000, "{record:#}");
        assert!(count(&record, "/updates/refused/130") > 0, "{record:#}");
        assert_eq!(site.owner(), Some(U1));
        drop(binding);
    });
}
