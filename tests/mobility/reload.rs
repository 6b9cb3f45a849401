//! SIGHUP: the keys are read again, and what was used once stays used.
use aarp_lab::{Process, Signal, Snap, wait_until};

use crate::floods::judged;
use crate::forged::{send, updates};
use crate::site::{LIMIT, Site, U1, U2, count, networked};

fn key(spi: u32, digit: char, peer: u32) -> String {
    let octets = digit.to_string().repeat(32);
    let peer = format!("peer = \"ar{peer}@example.org\"");
    format!(
        "[[key]]\nspi = {spi}\nkey = \"{octets}\"\n{peer}\nmay_register = [\"2001:db8:0:1::a\"]\n"
    )
}

/// Sends SIGHUP and waits until a line says what came of it, once more than before.
fn hang_up(program: &Process, line: &str) {
    let said = || program.stderr().unwrap().matches(line).count();
    let before = said();
    program.signal(Signal::HUP).unwrap();
    wait_until(line, LIMIT, || Ok(said() > before))
        .unwrap_or_else(|error| panic!("{error}: {}", program.stderr().unwrap()));
}

const READ: &str = "has read the keys again";

/// A terminal that is closed, or an administrator, ends nobody; a responder whose key was
/// added registers.
#[test]
fn sighup_ends_nobody_and_adds_a_key() {
    networked(|| {
        let site = Site::new();
        let both = format!("{}{}", key(256, 'a', 1), key(257, 'b', 2));
        site.private("keys.toml", &both);
        let at_agent = site.private("agent.toml", &key(256, 'a', 1));
        let agent = site.agent(&["--keys", &at_agent.to_string_lossy()]);
        let first = site.binding("s1", &["--spi", "256"]);
        hang_up(&first, READ);
        // A file that cannot be used changes nothing.
        site.private("agent.toml", "[[key]]\nspi = 256\n");
        hang_up(&agent, "the keys are those before");
        assert_eq!(site.owner(), Some(U1));
        site.private("agent.toml", &both);
        hang_up(&agent, READ);
        let second = site.binding("s2", &["--spi", "257"]);
        assert_eq!(site.owner(), Some(U2));
        for program in [second, first, agent] {
            assert!(program.terminate(LIMIT).unwrap().success());
        }
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn sighup_reads_the_keys_again() {
    networked(|| {
        let site = Site::new();
        let both = format!("{}{}", key(256, 'a', 1), key(257, 'b', 2));
        let at_agent = site.private("agent.toml", &both);
        // The sidecars read keys.toml.
        site.private("keys.toml", &both);
        let agent = site.agent(&["--keys", &at_agent.to_string_lossy()]);
        let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
        let sidecar = |host, spi| site.binding(host, &["--spi", spi, "--lifetime", "4s"]);
        let first = sidecar("s1", "256");
        capture.packets().unwrap();
        let recorded = updates(&std::fs::read(capture.path()).unwrap());
        assert!(!recorded.is_empty());
        // A file that cannot be used changes nothing.
        site.private("agent.toml", "[[key]]\nspi = 256\n");
        hang_up(&agent, "the keys are those before");
        let refreshed = || count(&site.agent_record(), "/updates/refreshed");
        let before = refreshed();
        wait_until("it is refreshed", LIMIT, || Ok(refreshed() > before)).unwrap();
        // Another secret, on both sides.
        site.private(
            "agent.toml",
            &format!("{}{}", key(256, 'c', 1), key(257, 'b', 2)),
        );
        site.private(
            "keys.toml",
            &format!("{}{}", key(256, 'c', 1), key(257, 'b', 2)),
        );
        hang_up(&first, READ);
        hang_up(&agent, READ);
        let before = refreshed();
        wait_until("it is refreshed by the new key", LIMIT, || {
            Ok(refreshed() > before)
        })
        .unwrap();
        assert_eq!(site.owner(), Some(U1));
        // The first has no key any more: what it has ends.
        site.private("agent.toml", &key(257, 'b', 2));
        hang_up(&agent, "ar1@example.org has no key any more");
        wait_until("its binding has ended", LIMIT, || {
            Ok(site.owner().is_none())
        })
        .unwrap();
        let second = sidecar("s2", "257");
        assert_eq!(site.owner(), Some(U2));
        assert!(second.terminate(LIMIT).unwrap().success());
        first.kill();
        // It has one again, the very first: what was sent by it is as old as it was.
        site.private("agent.toml", &both);
        hang_up(&agent, READ);
        let before = judged(&site);
        let number = recorded.len();
        assert_eq!(send(&site, "s2", recorded), number);
        wait_until("they are judged", LIMIT, || {
            Ok(judged(&site) >= before + number as u64)
        })
        .unwrap();
        assert_eq!(site.owner(), None);
        let record = site.agent_record();
        assert!(
            count(&record, "/updates/refused/144") >= number as u64,
            "{record:#}"
        );
        assert!(agent.terminate(LIMIT).unwrap().success());
    });
}
