//! A browser: many processes, the network in one of them.
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use aarp_lab::{Direction, Filter, rootless, wait_until};

use crate::common;
use crate::flow::{Outcome, assert_alive_after, assert_pinned, opened, outcomes};
use crate::record::Record;
use crate::site::{A, LIMIT, Node, Site, now, system};

/// A page that loads the gated file before it is whole, and says what has come: so many
/// octets, and a checksum of them (FNV-1a of 32 bits).
const PAGE: &str = r#"<!DOCTYPE html>
<title>A page</title>
<p id="told">nothing</p>
<script>
const request = new XMLHttpRequest();
request.open("GET", "/gated/GATE", false);
request.overrideMimeType("text/plain; charset=x-user-defined");
request.send();
const text = request.responseText;
let sum = 0x811c9dc5;
for (let at = 0; at < text.length; at++)
    sum = Math.imul(sum ^ (text.charCodeAt(at) & 255), 0x01000193) >>> 0;
document.getElementById("told").textContent = `${request.status} ${text.length} ${sum}`;
</script>
"#;

fn checksum(octets: &[u8]) -> u32 {
    octets.iter().fold(0x811c_9dc5, |sum, octet| {
        (sum ^ u32::from(*octet)).wrapping_mul(0x0100_0193)
    })
}

#[test]
#[ignore = "long: a browser is large"]
fn chromium_loads_a_page_while_the_route_moves() {
    // /usr/bin/chromium is a script.
    if fs::metadata(system("chromium")).is_err() {
        return common::skipped("chromium is not installed");
    }
    rootless::test(|| {
        let mut site = Site::new(Duration::ZERO, 1 << 20);
        site.serve_http();
        let page = PAGE.replace("GATE", "browser");
        fs::write(site.lab.work().join("www/page.html"), page).unwrap();
        let folder = site.folder("browser");
        let started = now();
        let browser = site
            .under_arl(&system("chromium"))
            .env("AARP_PREFIXES", format!("{A}/128"))
            // However slow the machine is.
            .env("AARP_BUDGET_NONBLOCKING", "20s")
            .env("HOME", &folder)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", folder.display()))
            .args(["--dump-dom", &format!("http://[{A}]/page.html")])
            .cwd(&folder)
            .spawn()
            .unwrap();

        let half = site.content.len() / 2;
        let from_u = Filter::tcp()
            .src(Node::S1.unicast())
            .direction(Direction::In);
        wait_until("half of the file has come", LIMIT, || {
            let packets = site.seen_at("c");
            let data = packets.iter().filter(|packet| from_u.matches(packet));
            Ok(data.map(|packet| packet.payload_len).sum::<usize>() > half)
        })
        .unwrap_or_else(|error| panic!("{error}: {}", browser.stderr().unwrap()));
        let ports: BTreeSet<_> = opened(&site, started, now()).into_keys().collect();

        let moved = site.route_to(Node::S2);
        site.upstream.open("browser");
        let status = browser.wait(LIMIT).unwrap();
        let log = browser.stderr().unwrap();
        assert!(status.success(), "{status}: {log}");
        let told = format!(">200 {} {}<", site.content.len(), checksum(&site.content));
        let dom = browser.stdout().unwrap();
        assert!(dom.contains(&told), "{told}: {dom}: {log}");

        let all: BTreeSet<_> = opened(&site, started, now()).into_keys().collect();
        assert_pinned(&site, "chromium", &all, Node::S1);
        assert_alive_after(&site, "chromium", &ports, Node::S1, moved);
        let pinned = Outcome::Pinned(Node::S1.unicast());
        let outcomes = outcomes(&log);
        assert!(
            !outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == pinned),
            "{log}"
        );
        Record {
            program: "chromium, headless",
            executable: "chromium",
            calls: "TCP, does not block while it connects",
            tried: "a page; the route of A moves in its middle",
            result: "pinned",
            reason: "",
        }
        .write();
    });
}
