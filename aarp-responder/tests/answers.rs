//! Who answers what, seen from a client in a network namespace of its own.

mod lab;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use lab::{
    A, ECHO_REPLY, Net, PATIENCE, U, ULA_A, ULA_U, echo, echo_request, eventually, inside, ip,
    plain_payload, probe_payload, raw, receive, root, unreachable,
};

/// What an ordinary `ping` says the answer came from.
fn ping(net: &Net, to: &str) -> String {
    let mut said = String::new();
    eventually("ping is answered", || {
        let output = std::process::Command::new("ip")
            .args([
                "netns",
                "exec",
                &net.client,
                "ping",
                "-6",
                "-n",
                "-c1",
                "-W2",
                to,
            ])
            .output()
            .expect("ping runs");
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.contains("bytes from ")
    });
    let from = said.split("bytes from ").nth(1).unwrap_or_default();
    from.split([' ', '\n'])
        .next()
        .unwrap_or_default()
        .trim_end_matches(':')
        .to_owned()
}

#[test]
fn probes_are_answered_from_u_and_all_else_from_a() {
    if !root() {
        return;
    }
    let net = Net::new();
    let responder = net.run(&["--anycast", A]);
    assert!(
        responder
            .said()
            .contains(&format!("answers probes from {U} on eth0"))
    );
    assert_eq!(echo(&net, A, &probe_payload()), ip(U));
    assert_eq!(echo(&net, A, &plain_payload()), ip(A));
    assert_eq!(ping(&net, A), A);
    assert_eq!(ping(&net, U), U);
    assert_eq!(echo(&net, U, &probe_payload()), ip(U));
    // Fragmented on the way: rewritten before that.
    let mut long = probe_payload();
    long.resize(3000, 0x5a);
    assert_eq!(echo(&net, A, &long), ip(U));
    // "AARP" anywhere but at the start of the payload is nothing of ours.
    let mut later = plain_payload();
    later[4..8].copy_from_slice(b"AARP");
    assert_eq!(echo(&net, A, &later), ip(A));
    assert_eq!(unreachable(&net, A, &probe_payload()), ip(U));
    assert_eq!(unreachable(&net, A, &plain_payload()), ip(A));
    assert_eq!(unreachable(&net, U, &probe_payload()), ip(U));
    responder.stop();
    net.assert_clean();
}

#[test]
fn answer_all_is_the_plain_behaviour_of_the_draft() {
    if !root() {
        return;
    }
    let net = Net::new();
    let responder = net.run(&["--anycast", A, "--answer", "all"]);
    assert_eq!(echo(&net, A, &probe_payload()), ip(U));
    assert_eq!(echo(&net, A, &plain_payload()), ip(U));
    assert_eq!(ping(&net, A), U);
    assert_eq!(unreachable(&net, A, &plain_payload()), ip(U));
    assert_eq!(unreachable(&net, A, &probe_payload()), ip(U));
    responder.stop();
}

#[test]
fn tcp_is_served_on_both_addresses() {
    if !root() {
        return;
    }
    let net = Net::new();
    let _responder = net.run(&["--anycast", A, "--answer", "all"]);
    let listener = inside(&net.responder, || {
        TcpListener::bind("[::]:8080").expect("a listener")
    });
    for to in [A, U] {
        let target = SocketAddr::new(ip(to).into(), 8080);
        let mut client = inside(&net.client, move || {
            TcpStream::connect_timeout(&target, PATIENCE).expect("it is served")
        });
        let (mut server, _) = listener.accept().expect("a connection");
        assert_eq!(server.local_addr().expect("connected").ip(), ip(to));
        server.write_all(b"AARP").expect("written");
        drop(server);
        let mut text = String::new();
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.read_to_string(&mut text).expect("read");
        assert_eq!(text, "AARP");
    }
}

#[test]
fn unique_local_answers_for_unique_local() {
    if !root() {
        return;
    }
    let net = Net::new();
    // Two anycast addresses, one process, each with a U of its kind.
    let responder = net.run(&["--anycast", ULA_A, "--anycast", A]);
    assert_eq!(echo(&net, ULA_A, &probe_payload()), ip(ULA_U));
    assert_eq!(echo(&net, A, &probe_payload()), ip(U));
    assert_eq!(echo(&net, ULA_A, &plain_payload()), ip(ULA_A));
    responder.stop();
    net.assert_clean();
}

#[test]
fn nothing_but_icmpv6_is_rewritten() {
    if !root() {
        return;
    }
    let net = Net::new();
    let _responder = net.run(&["--anycast", A, "--answer", "all"]);
    // What looks like an answer to a probe, were the next header 58.
    let mut packet = vec![ECHO_REPLY, 0, 0, 0, 0, 1, 0, 1];
    packet.extend(probe_payload());
    for next_header in [41, 135] {
        let client = raw(&net.client, next_header);
        let sent = packet.clone();
        let sender = inside(&net.responder, move || {
            let protocol = Some(socket2::Protocol::from(next_header));
            let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::RAW, protocol)
                .expect("a raw socket");
            let source = SocketAddr::new(ip(A).into(), 0);
            socket
                .bind(&source.into())
                .expect("A is an address of this host");
            std::net::UdpSocket::from(socket)
        });
        let mut source = None;
        eventually("the packet arrives", || {
            sender.send_to(&sent, "[2001:db8:1::1]:0").expect("sent");
            while let Some((from, data)) = receive(&client, Duration::from_millis(200)) {
                if data.ends_with(&probe_payload()) {
                    source = Some(from);
                    return true;
                }
            }
            false
        });
        assert_eq!(source, Some(ip(A)), "next header {next_header}");
    }
}

/// A client that probes without pause through start, end and crash must never
/// get an answer from A: it would take A for a plain unicast address.
#[test]
fn no_probe_is_ever_answered_from_a() {
    if !root() {
        return;
    }
    let net = Net::new();
    let socket = raw(&net.client, 58);
    let done = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicU32::new(0));
    let (stop, count) = (Arc::clone(&done), Arc::clone(&answers));
    let prober = thread::spawn(move || {
        let mut sources: BTreeMap<Ipv6Addr, u32> = BTreeMap::new();
        let mut sequence = 0;
        while !stop.load(Ordering::Relaxed) {
            sequence = u16::wrapping_add(sequence, 1);
            let request = echo_request(0x7777, sequence, &probe_payload());
            // No route to A while nobody owns it: the router's error, not an answer.
            drop(socket.send_to(&request, (ip(A), 0)));
            while let Some((source, data)) = receive(&socket, Duration::from_millis(1)) {
                if data[0] == ECHO_REPLY && data[4..6] == [0x77, 0x77] {
                    *sources.entry(source).or_default() += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        sources
    });
    // Every instance is seen by the prober, however slow the machine is.
    let start = || {
        let before = answers.load(Ordering::Relaxed);
        let responder = net.run(&["--anycast", A]);
        eventually("the prober is answered", || {
            answers.load(Ordering::Relaxed) > before
        });
        responder
    };
    for _ in 0..4 {
        start().stop();
        start().kill();
        start().stop();
    }
    done.store(true, Ordering::Relaxed);
    let sources = prober.join().expect("the prober");
    assert_eq!(sources.keys().collect::<Vec<_>>(), [&ip(U)], "{sources:?}");
    net.assert_clean();
}
