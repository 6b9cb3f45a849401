//! What the daemon says, against the schemas in docs/json-schema.

use aarp_lab::{Signal, rootless, wait_until};
use aarp_wire::mapper::{Failure, Message};
use serde_json::Value;

use crate::schema::validate;
use crate::site::{A, PATIENCE, Site, u};
use crate::talk::Told;

/// Nobody is silent because a machine is slow; one prefix is nobody's. One method, or who
/// answers from A itself is known only when the others have had their time.
const CONFIG: &str = "[resolve]\nprefixes = [\"2001:db8:a::/48\", \"2001:db8:51::/48\", \"2001:db8:77::/48\"]\n\
                      methods = [\"echo\"]\n\
                      [times]\nbudget = \"10s\"\nretransmit = []\nunanswered = \"1h\"\n\
                      [[prefix]]\nprefix = \"2001:db8:77::/48\"\nbudget = \"200ms\"\n";

#[test]
fn records_are_as_their_schemas_say() {
    rootless::test(|| {
        let site = Site::new(CONFIG);
        let daemon = site.start();
        let (client, follower) = (site.connect(), site.connect());
        follower.follow();
        let mut seen: Vec<Value> = Vec::new();
        let mut until = |kind: &str| {
            loop {
                let event = follower.event();
                seen.push(event.clone());
                if event["event"] == kind {
                    break;
                }
            }
        };
        // One of each state.
        assert_eq!(client.u(A), u(1));
        until("learned");
        assert_eq!(client.u(&u(1)), u(1));
        assert_eq!(client.u("2001:db8:77::1"), "2001:db8:77::1");
        let failed = |by: &str| Failure {
            a: A.parse().unwrap(),
            u: by.parse().unwrap(),
            port: 53,
            protocol: 17,
            errno: 0,
        };
        site.move_to(2);
        client.send(0, &Message::Failed(failed(&u(1))));
        until("changed");
        // Who is refused may be followed by another, for as long as that is.
        let trusted = format!(
            "{CONFIG}[[prefix]]\nprefix = \"2001:db8:a::/48\"\ntrusted = [\"2001:db8:52::/48\"]\n\
             budget = \"2s\"\n"
        );
        std::fs::write(&site.config, trusted).unwrap();
        daemon.signal(Signal::HUP).unwrap();
        until("reloaded");
        site.move_to(1);
        assert_eq!(client.u("2001:db8:a::9"), u(1));
        until("untrusted");
        let mut records = client.records(&Message::List("::".parse().unwrap()));
        let states: std::collections::BTreeSet<_> = records
            .iter()
            .map(|record| record["state"].as_str().unwrap().to_owned())
            .collect();
        let all = ["direct", "pinned", "unanswered", "untrusted"].map(str::to_owned);
        assert_eq!(states, all.into());
        site.lab.ip("client", "-6 route del default").unwrap();
        until("epoch");
        until("gone");
        client.send(1, &Message::Flush("::".parse().unwrap(), 0));
        assert!(matches!(client.next(), (1, Told::Done(3))));
        until("flushed");
        records.push(client.status());
        daemon.signal(Signal::TERM).unwrap();
        until("stopping");
        wait_until("it ends", PATIENCE, || Ok(daemon.try_wait()?.is_some())).unwrap();
        records.append(&mut seen);
        let kinds: std::collections::BTreeSet<_> = records
            .iter()
            .filter_map(|record| record["event"].as_str())
            .collect();
        assert_eq!(kinds.len(), 9, "{kinds:?}");
        validate(&records);
    });
}
