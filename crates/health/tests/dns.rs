//! `dns` against a small server.
#![allow(missing_docs)]

mod servers;

use std::time::Duration;

use aarp_health::Check;
use servers::*;

const SHORT: Duration = Duration::from_secs(1);

fn with(port: u16, settings: &str) -> Check {
    let text = format!(
        "check = {{ kind = \"dns\", port = {port}, name = \"example.test\", timeout = \"60s\", {settings} }}"
    );
    let mut table: std::collections::BTreeMap<String, Check> =
        toml::from_str(&text).expect("a check");
    table.remove("check").expect("there it is")
}

/// The response to a query, with this response code and one record.
fn response(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut response = query.to_vec();
    response[2] |= 0x80;
    response[3] = 0x80 | rcode;
    if rcode == 0 {
        response[7] = 1;
        response.extend_from_slice(b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8");
        response.extend_from_slice(&[0; 12]);
    }
    response
}

fn outcome(
    answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    settings: &str,
) -> Result<(), String> {
    let server = Udp::start(move |query| answers(query));
    once(&with(server.port, settings))
}

fn wrong(reason: &str) -> Result<(), String> {
    Err(reason.to_owned())
}

#[test]
fn response_codes_that_are_expected_and_others() {
    let code = |code: u8| move |query: &[u8]| vec![response(query, code)];
    assert_eq!(outcome(code(0), ""), Ok(()));
    assert_eq!(
        outcome(code(2), ""),
        wrong("DNS SERVFAIL, expected NOERROR")
    );
    assert_eq!(
        outcome(code(3), ""),
        wrong("DNS NXDOMAIN, expected NOERROR")
    );
    assert_eq!(
        outcome(code(3), "rcode = [\"NOERROR\", \"NXDOMAIN\"]"),
        Ok(())
    );
    assert_eq!(
        outcome(code(12), "rcode = [0, 3]"),
        wrong("DNS RCODE12, expected NOERROR, NXDOMAIN")
    );
}

#[test]
fn the_question_is_for_that_name_and_type() {
    let server = Udp::start(|query| {
        assert_eq!(
            query[2..],
            *b"\x01\0\0\x01\0\0\0\0\0\0\x07example\x04test\0\0\x06\0\x01"
        );
        vec![response(query, 0)]
    });
    assert_eq!(once(&with(server.port, "type = \"SOA\"")), Ok(()));
}

#[test]
fn a_truncated_answer_is_an_answer() {
    let truncated = |query: &[u8]| {
        let mut octets = query.to_vec();
        octets[2] |= 0x82;
        vec![octets]
    };
    assert_eq!(outcome(truncated, ""), Ok(()));
}

#[test]
fn ids_are_not_always_the_same() {
    let (send, ids) = std::sync::mpsc::channel();
    let server = Udp::start(move |query| {
        send.send([query[0], query[1]]).expect("the test reads");
        vec![response(query, 0)]
    });
    // That all of them were the same has a probability of 2^-112.
    for _ in 0..8 {
        assert_eq!(once(&with(server.port, "")), Ok(()));
    }
    let ids: std::collections::BTreeSet<_> = ids.try_iter().collect();
    assert!(ids.len() > 1, "{ids:?}");
}

fn changed(change: impl Fn(&mut Vec<u8>)) -> impl Fn(&[u8]) -> Vec<u8> {
    move |query| {
        let mut octets = response(query, 0);
        change(&mut octets);
        octets
    }
}

#[test]
fn what_does_not_answer_the_query_is_passed_over() {
    //= https://www.rfc-editor.org/rfc/rfc5452#section-9.1
    //= type=test
    type Answer = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
    let cases: [(Answer, &str); 5] = [
        (Box::new(changed(|o| o[0] ^= 1)), "another id than asked"),
        (
            Box::new(changed(|o| o[13] ^= 1)),
            "another question than asked",
        ),
        (
            Box::new(changed(|o| o.truncate(11))),
            "shorter than a DNS header",
        ),
        (
            Box::new(changed(|o| o[2] &= 0x7f)),
            "a query, or another operation",
        ),
        (
            Box::new(|_| b"garbage, and more of it".to_vec()),
            "another id than asked",
        ),
    ];
    for (answer, why) in cases {
        let answer = std::sync::Arc::new(answer);
        let alone = std::sync::Arc::clone(&answer);
        let server = Udp::start(move |query| vec![alone(query)]);
        let check = Check {
            timeout: SHORT,
            ..with(server.port, "")
        };
        let expected = format!("no answer within 1 s, only a datagram that is no answer: {why}");
        assert_eq!(once(&check), wrong(&expected));
        // And the true answer behind it counts.
        let server = Udp::start(move |query| vec![answer(query), response(query, 0)]);
        assert_eq!(once(&with(server.port, "")), Ok(()), "{why}");
    }
}

#[test]
fn the_right_answer_from_elsewhere_is_none() {
    let other = std::net::UdpSocket::bind((HERE, 0)).expect("a socket");
    let server = Udp::sending(move |query, _, asker| {
        // The kernel may refuse it on behalf of the asker, who hears one peer alone.
        let _ = other.send_to(&response(query, 0), asker);
    });
    let check = Check {
        timeout: SHORT,
        ..with(server.port, "")
    };
    assert_eq!(once(&check), wrong("no answer within 1 s"));
}

#[test]
fn nobody_serves() {
    let (_unused, port) = unused_udp_port();
    assert_eq!(once(&with(port, "")), wrong("port unreachable"));
}
