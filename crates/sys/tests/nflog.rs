//! NFLOG groups: what comes, in what form, and what is lost.
mod network;

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use aarp_lab::{Lab, rootless};
use aarp_sys::nflog::{Nflog, NflogError, Options};
use aarp_sys::packet::interface_index;
use aarp_sys::raw6::RawSender;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use network::*;

const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
const RULES: &str = "table ip6 control {
    chain input {
        type filter hook input priority filter; policy accept;
        ip6 daddr 2001:db8:2::2 meta l4proto 135 log prefix \"bu \" group 42
        meta l4proto 135 drop
    }
}";

/// Two hosts, and a group at `other` that gets all Mobility Headers.
fn logged(options: Options) -> (Lab, Nflog, RawSender) {
    let lab = joined();
    let other = lab.host("other").unwrap();
    other.nft(RULES).unwrap();
    let nflog = other.enter(move || Nflog::open(42, &options)).unwrap();
    let one = lab.host("one").unwrap();
    let sender = one.enter(|| RawSender::open(135)).unwrap();
    (lab, nflog, sender)
}

fn update(sequence: u16) -> Vec<u8> {
    let header = binding_update(HOME, OTHER, sequence);
    ipv6(ONE, OTHER, 60, &with_home_address(HOME, &header))
}

/// A link is free to deliver packets in another order.
fn assert_same(mut found: Vec<Vec<u8>>, mut sent: Vec<Vec<u8>>) {
    found.sort();
    sent.sort();
    assert_eq!(found.len(), sent.len());
    let differing = found
        .iter()
        .zip(&sent)
        .position(|(one, other)| one != other);
    assert_eq!(differing, None);
}

#[test]
fn binding_updates_come_whole_and_the_kernel_answers_none() {
    rootless::test(|| {
        let (lab, mut nflog, sender) = logged(Options::default());
        let mut at_one = ring(lab.host("one").unwrap());
        let sent: Vec<_> = (1..=20).map(update).collect();
        send(&sender, &sent);
        let other = lab.host("other").unwrap();
        let eth0 = other.enter(|| interface_index("eth0")).unwrap();
        let mut batch = Nflog::batch(4);
        let mut found = Vec::new();
        eventually("the updates in the group", || {
            let received = nflog.receive(&mut batch, |packet| {
                assert_eq!((packet.protocol, packet.hook), (0x86dd, 1));
                assert_eq!((packet.prefix, packet.interface), (&b"bu "[..], eth0));
                found.push(packet.packet.to_vec());
            });
            assert!(received.unwrap() <= batch.capacity());
            found.len() >= sent.len()
        });
        assert_same(found, sent);
        let counters = nflog.counters();
        assert_eq!((counters.received, counters.lost), (20, 0));
        assert_eq!((counters.overflows, counters.malformed), (0, 0));
        // Without the rules the kernel does answer: so much for the order on the
        // link, what it has said about the first twenty came before that.
        other.nft("flush ruleset").unwrap();
        send(&sender, &[update(99)]);
        let mut seen = Vec::new();
        let problem = |packet: &[u8]| packet[6] == 58 && packet[40] == 4;
        eventually("a Parameter Problem", || {
            seen.extend(packets(&mut at_one));
            seen.iter().any(|packet| problem(packet))
        });
        let problems: Vec<_> = seen.iter().filter(|packet| problem(packet)).collect();
        assert_eq!(problems.len(), 1);
        // The packet it is about is behind the ICMPv6 header.
        assert_eq!(problems[0][48..], update(99));
    });
}

#[test]
fn the_kernel_collects_up_to_the_threshold() {
    rootless::test(|| {
        let options = Options {
            threshold: 8,
            delay: Duration::from_secs(60),
            ..Options::default()
        };
        let (_lab, mut nflog, sender) = logged(options);
        let sent: Vec<_> = (1..=17).map(update).collect();
        send(&sender, &sent);
        let mut batch = Nflog::batch(1);
        let mut found = Vec::new();
        for expected in [8, 16] {
            eventually("eight updates in one message", || {
                let count = nflog.receive(&mut batch, |p| found.push(p.packet.to_vec()));
                count.unwrap() > 0
            });
            assert_eq!(found.len(), expected);
        }
        // The seventeenth waits for its fellows.
        assert_eq!(nflog.receive(&mut batch, |_| ()).unwrap(), 0);
        let rest: Vec<_> = (18..=24).map(update).collect();
        send(&sender, &rest);
        eventually("the last eight", || {
            nflog
                .receive(&mut batch, |p| found.push(p.packet.to_vec()))
                .unwrap()
                == 8
        });
        assert_same(found, [sent, rest].concat());
    });
}

#[test]
fn a_full_buffer_is_counted() {
    rootless::test(|| {
        let options = Options {
            receive_buffer: Some(8192),
            ..Options::default()
        };
        let (lab, mut nflog, sender) = logged(options);
        let mut at_other = ring(lab.host("other").unwrap());
        let sent: Vec<_> = (1..=500).map(update).collect();
        send(&sender, &sent);
        let mut arrived = 0;
        eventually("the updates on the link", || {
            arrived += packets(&mut at_other)
                .iter()
                .filter(|packet| packet[6] == 60)
                .count();
            arrived == sent.len()
        });
        let mut batch = Nflog::batch(8);
        // Numbers tell what was lost once a later one has come; an earlier one may
        // still be under way from the link to the group.
        let mut probes = 0;
        eventually("every update received or counted as lost", || {
            while nflog.receive(&mut batch, |_| ()).unwrap() > 0 {}
            let counters = nflog.counters();
            let total = 500 + probes;
            if counters.received + counters.lost == total && counters.lost > 0 {
                return true;
            }
            probes += 1;
            send(&sender, &[update(1000)]);
            false
        });
        let counters = nflog.counters();
        assert!(
            counters.overflows > 0 && counters.received > 0,
            "{counters:?}"
        );
        assert_eq!(counters.malformed, 0);
    });
}

#[test]
fn refusals_say_why() {
    rootless::test(|| {
        let (lab, nflog, _sender) = logged(Options::default());
        let other = lab.host("other").unwrap();
        let open = || Nflog::open(42, &Options::default());
        let error = other.enter(open).unwrap_err();
        assert!(
            matches!(error, NflogError::Busy { group: 42, .. }),
            "{error}"
        );
        // The same group of another network namespace is another.
        lab.host("one").unwrap().enter(open).unwrap();
        drop(nflog);
        let denied = other.enter(move || {
            let own = capabilities(None).unwrap();
            let mut fewer = own;
            fewer.effective -= CapabilitySet::NET_ADMIN;
            set_capabilities(None, fewer).unwrap();
            let result = open();
            set_capabilities(None, own).unwrap();
            result.unwrap_err()
        });
        assert!(matches!(denied, NflogError::NotPermitted(42)), "{denied}");
        // A program that another test is just starting has the first one's socket until it
        // begins.
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match other.enter(open) {
                Err(NflogError::Busy { .. }) if Instant::now() < until => {
                    std::thread::yield_now();
                }
                opened => break drop(opened.unwrap()),
            }
        }
    });
}
