//! `tcp`, `http` and `udp` against real servers.
#![allow(missing_docs)]

mod servers;

use std::sync::mpsc;
use std::time::Duration;

use aarp_health::{Check, Kind, Udp as UdpCheck, UdpAnswer};
use rustix::net::{AddressFamily, SocketType};
use servers::*;

const SHORT: Duration = Duration::from_secs(1);

fn failure(check: &Check) -> String {
    once(check).expect_err("it fails")
}

fn http_with(port: u16, settings: &str) -> Check {
    let text =
        format!("check = {{ kind = \"http\", port = {port}, timeout = \"60s\", {settings} }}");
    let mut table: std::collections::BTreeMap<String, Check> =
        toml::from_str(&text).expect("a check");
    table.remove("check").expect("there it is")
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn tcp_that_is_accepted_or_refused() {
    let server = Tcp::start(hold);
    let outcome = check(&format!("tcp:{}", server.port)).run(HERE);
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.reason(), "it answers");
    assert!(outcome.latency > Duration::ZERO);
    let (_unused, port) = unused_tcp_port();
    assert_eq!(
        failure(&check(&format!("tcp:{port}"))),
        "connection refused"
    );
}

#[test]
fn a_service_on_all_addresses_is_found() {
    let listener = std::net::TcpListener::bind("[::]:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    assert_eq!(once(&check(&format!("tcp:{port}"))), Ok(()));
}

#[test]
fn tcp_that_is_not_accepted_in_time() {
    // A queue of one that is full: the kernel drops further SYNs, in silence.
    let listener =
        rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).expect("socket");
    let any = std::net::SocketAddrV6::new(HERE, 0, 0, 0);
    rustix::net::bind(&listener, &any).expect("bind");
    rustix::net::listen(&listener, 0).expect("listen");
    let listener = std::net::TcpListener::from(listener);
    let address = listener.local_addr().expect("bound");
    let full = std::net::TcpStream::connect(address).expect("the first is taken in");
    let check = impatient(&format!("tcp:{}", address.port()), SHORT);
    let outcome = check.run(HERE);
    assert_eq!(outcome.result, Err("no connection within 1 s".into()));
    assert!(outcome.latency >= SHORT, "{outcome:?}");
    drop(full);
}

#[test]
fn a_socket_connected_to_itself_is_no_service() {
    in_network(&[], || {
        let only_port = |port: u16| {
            let range = "/proc/sys/net/ipv4/ip_local_port_range";
            std::fs::write(range, format!("{port} {port}")).expect("it is ours");
        };
        only_port(40000);
        assert_eq!(failure(&check("tcp:40000")), "connection refused");
        assert_eq!(
            failure(&impatient("udp:40000", SHORT)),
            "connection refused"
        );
        // The kernel does connect a socket to itself here.
        only_port(40001);
        let own = std::net::TcpStream::connect((HERE, 40001)).expect("to itself");
        assert_eq!(own.local_addr().ok(), own.peer_addr().ok());
    });
}

#[test]
fn the_request_names_the_path_and_the_host() {
    let (send, requests) = mpsc::channel();
    let server = Tcp::start(move |mut stream| {
        send.send(read_request(&mut stream))
            .expect("the test reads");
        write_or_be_left(&mut stream, ok("").as_bytes());
    });
    let port = server.port;
    assert_eq!(once(&check(&format!("http:{port}/health?deep"))), Ok(()));
    let request = requests.recv_timeout(PATIENCE).expect("a request");
    let start = format!("GET /health?deep HTTP/1.1\r\nHost: [::1]:{port}\r\n");
    assert!(request.starts_with(&start), "{request}");
    assert_eq!(once(&http_with(port, "host = \"www.test\"")), Ok(()));
    let request = requests.recv_timeout(PATIENCE).expect("a request");
    assert!(
        request.starts_with("GET / HTTP/1.1\r\nHost: www.test\r\n"),
        "{request}"
    );
}

#[test]
fn statuses_that_are_expected_and_others() {
    for (status, settings, expected) in [
        ("200 OK", "", Ok(())),
        ("302 Found", "", Ok(())),
        ("399 x", "", Ok(())),
        ("400 Bad", "", Err("HTTP 400, expected 200-399")),
        ("503 No", "", Err("HTTP 503, expected 200-399")),
        ("503 No", "status = [200, \"500-599\"]", Ok(())),
        (
            "401 No",
            "status = [200, \"500-599\"]",
            Err("HTTP 401, expected 200, 500-599"),
        ),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let server = Tcp::answering(vec![answer]);
        let expected = expected.map_err(str::to_owned);
        assert_eq!(
            once(&http_with(server.port, settings)),
            expected,
            "{status}"
        );
    }
}

#[test]
fn text_in_the_body() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n well\r\n0\r\n\r\n";
    let missing = "HTTP 200, but not \"all well\" in the body";
    let huge = format!("{}all well", "x".repeat(aarp_health::http::BODY_MAX));
    for (answer, expected) in [
        (ok("it is all well here"), Ok(())),
        (chunked.to_owned(), Ok(())),
        // It ends with the connection.
        ("HTTP/1.0 200 OK\r\n\r\nall well".to_owned(), Ok(())),
        ("HTTP/1.0 200 OK\r\n\r\nall wel".to_owned(), Err(missing)),
        (ok("all wel"), Err(missing)),
        (ok(""), Err(missing)),
        (chunked.replace("well", "bell"), Err(missing)),
        (
            ok(&huge),
            Err("HTTP 200, but not \"all well\" in the first 64 KiB of the body"),
        ),
        // Less than it says.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nall wel".to_owned(),
            Err("connection closed within the response"),
        ),
    ] {
        let server = Tcp::answering(vec![answer.clone()]);
        let expected = expected.map_err(str::to_owned);
        let check = http_with(server.port, "body = \"all well\"");
        let shown: String = answer.chars().take(80).collect();
        assert_eq!(once(&check), expected, "{shown:?}");
    }
}

#[test]
fn a_body_without_end_is_not_read_to_its_end() {
    let endless = || {
        Tcp::start(|mut stream| {
            read_request(&mut stream);
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut more = write_or_be_left(&mut stream, head.as_bytes());
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            while more {
                more = write_or_be_left(&mut stream, chunk.as_bytes());
            }
        })
    };
    let server = endless();
    assert_eq!(once(&check(&format!("http:{}", server.port))), Ok(()));
    let server = endless();
    let reason = failure(&http_with(server.port, "body = \"y\""));
    assert_eq!(
        reason,
        "HTTP 200, but not \"y\" in the first 64 KiB of the body"
    );
}

#[test]
fn what_is_no_http() {
    for (answer, expected) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "no HTTP: no HTTP status line"),
        ("\u{0}\u{1}\u{2}", "no HTTP: no HTTP status line"),
        (
            "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
            "no HTTP: a malformed header field",
        ),
        ("", "connection closed before the response"),
        (
            "HTTP/1.1 200 OK\r\nServer",
            "connection closed within the response",
        ),
    ] {
        let server = Tcp::answering(vec![answer.to_owned()]);
        assert_eq!(
            failure(&check(&format!("http:{}", server.port))),
            expected,
            "{answer:?}"
        );
    }
    let endless = Tcp::start(|mut stream| {
        read_request(&mut stream);
        let mut more = write_or_be_left(&mut stream, b"HTTP/1.1 200 OK\r\n");
        while more {
            more = write_or_be_left(&mut stream, b"A: b\r\n");
        }
    });
    let reason = failure(&check(&format!("http:{}", endless.port)));
    assert_eq!(reason, "no HTTP: a head longer than 16 KiB");
}

#[test]
fn accepted_and_silent() {
    let server = Tcp::start(hold);
    assert_eq!(once(&check(&format!("tcp:{}", server.port))), Ok(()));
    let outcome = impatient(&format!("http:{}", server.port), SHORT).run(HERE);
    assert_eq!(outcome.result, Err("no response within 1 s".into()));
    assert!(outcome.latency >= SHORT, "{outcome:?}");
}

#[test]
fn a_head_that_drips_for_ever() {
    let server = Tcp::start(|mut stream| {
        read_request(&mut stream);
        let mut more = write_or_be_left(&mut stream, b"HTTP/1.1 200 OK\r\nX: ");
        while more {
            std::thread::sleep(Duration::from_millis(10));
            more = write_or_be_left(&mut stream, b"a");
        }
    });
    let outcome = impatient(&format!("http:{}", server.port), SHORT).run(HERE);
    assert_eq!(
        outcome.result,
        Err("no complete HTTP head within 1 s".into())
    );
    assert!(outcome.latency >= SHORT, "{outcome:?}");
}

#[test]
fn a_body_that_stops() {
    let server = Tcp::start(|mut stream| {
        read_request(&mut stream);
        let part = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall";
        write_or_be_left(&mut stream, part);
        hold(stream);
    });
    let check = Check {
        timeout: SHORT,
        ..http_with(server.port, "body = \"all well\"")
    };
    assert_eq!(failure(&check), "no complete body within 1 s");
    // Nobody waits for what is not needed.
    assert_eq!(once(&http_with(server.port, "body = \"al\"")), Ok(()));
    assert_eq!(once(&http_with(server.port, "")), Ok(()));
}

fn udp(port: u16, send: &[u8], expect: UdpAnswer) -> Check {
    let kind = Kind::Udp(UdpCheck {
        port: port.try_into().expect("a port"),
        send: send.to_vec(),
        expect,
    });
    Check {
        timeout: PATIENCE,
        ..Check::new(kind)
    }
}

#[test]
fn a_datagram_is_answered() {
    let server = Udp::start(|datagram| vec![[b"echo ", datagram].concat()]);
    let wrong = Err("another answer (7 octets)".to_owned());
    for (expect, expected) in [
        (UdpAnswer::Any, Ok(())),
        (UdpAnswer::Equal(b"echo hi".into()), Ok(())),
        (UdpAnswer::Equal(b"echo h".into()), wrong.clone()),
        (UdpAnswer::Prefix(b"echo".into()), Ok(())),
        (UdpAnswer::Prefix(b"Echo".into()), wrong.clone()),
        (UdpAnswer::Prefix(b"echo hi and more".into()), wrong.clone()),
    ] {
        assert_eq!(
            once(&udp(server.port, b"hi", expect.clone())),
            expected,
            "{expect:?}"
        );
    }
    // One without content is sent, and is an answer.
    let server = Udp::start(|datagram| vec![datagram.to_vec()]);
    assert_eq!(once(&check(&format!("udp:{}", server.port))), Ok(()));
}

#[test]
fn a_datagram_that_nobody_takes() {
    let (_unused, port) = unused_udp_port();
    let check = check(&format!("udp:{port}"));
    assert_eq!(failure(&check), "port unreachable");
}

#[test]
fn a_datagram_that_is_not_answered() {
    let silent = Udp::start(|_| Vec::new());
    let outcome = impatient(&format!("udp:{}", silent.port), SHORT).run(HERE);
    assert_eq!(outcome.result, Err("no answer within 1 s".into()));
    assert!(outcome.latency >= SHORT, "{outcome:?}");
}

#[test]
fn a_datagram_that_another_answers() {
    let other = std::net::UdpSocket::bind((HERE, 0)).expect("a socket");
    let server = Udp::sending(move |datagram, _, asker| {
        // The kernel may refuse it on behalf of the asker, who hears one peer alone.
        let _ = other.send_to(datagram, asker);
    });
    let check = impatient(&format!("udp:{}", server.port), SHORT);
    assert_eq!(failure(&check), "no answer within 1 s");
}

#[test]
fn there_is_no_way_there() {
    in_network(&[], || {
        let check = check("tcp:80");
        let outcome = check.run("2001:db8::1".parse().expect("an address"));
        assert_eq!(outcome.result, Err("network unreachable".into()));
    });
}
