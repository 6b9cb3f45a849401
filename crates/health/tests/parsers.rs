//! The parsers with any octets, and with such as come near to what they read.
#![allow(missing_docs)]

mod bodies;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Octets that often get somewhere: a few of these in a row.
fn soup(parts: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let any_octets = vec(any::<u8>(), 0..4);
    let part = prop_oneof![
        9 => select(parts).prop_map(<[u8]>::to_vec),
        1 => any_octets,
    ];
    vec(part, 0..24).prop_map(|parts| parts.concat())
}

const HTTP: &[&[u8]] = &[
    b"\x00",
    b"\x05",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
    b"HTTP/1.0 404\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.1 204 x\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"A: b\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"5\r\nhello\r\n",
    b"0\r\n",
    b"ffffffffffffffff\r\n",
    b"body",
];

const DNS: &[&[u8]] = &[
    b"\x00\x01\x1c\x00\x01\x81\x80\0\x01\0\0\0\0\0\0",
    b"\x00\x01\x1c\x00\x01\x80\x03\0\x01\0\0\0\0\0\0",
    b"\x07example\x04test\0\0\x1c\0\x01",
    b"\x07EXAMPLE\x04test\0\0\x1c\0\x01",
    b"\x01a\x01b\0\0\x1c\0\x01",
    b"\0\0\x1c\0\x01",
    b"\xc0\x0c",
    b"\0",
];

const SETTINGS: &[&[u8]] = &[
    b"tcp:",
    b"http:",
    b"udp:",
    b"dns:",
    b"command:",
    b"80",
    b"0",
    b"65536",
    b"/",
    b"/health",
    b"/usr/bin/x",
    b" ",
    b"\n",
    b".",
    b"example.test",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\"",
    b"kind = ",
    b"\"tcp\"",
    b"\"http\"",
    b"\"dns\"",
    b"port = 80",
    b"interval = ",
    b"\"1ms\"",
    b"\"99999h\"",
    b"rise = ",
    b"-1",
    b"[\"tcp:80\"]",
    b"[{ kind = \"udp\", port = 7, send = \"hex:",
    b"ff",
    b"\" }]",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_octets(octets in vec(any::<u8>(), 0..600)) {
        bodies::http(&octets);
        bodies::dns(&octets);
        bodies::dns_name(&octets);
        bodies::settings(&octets);
    }

    #[test]
    fn responses_nearly(octets in soup(HTTP)) {
        bodies::http(&octets);
    }

    #[test]
    fn answers_nearly(octets in soup(DNS)) {
        bodies::dns(&octets);
    }

    #[test]
    fn names(text in "[a-c.]{0,12}|([a-z]{0,65}[.]){0,6}|.{0,20}") {
        bodies::dns_name(text.as_bytes());
    }

    #[test]
    fn settings_nearly(octets in soup(SETTINGS)) {
        bodies::settings(&octets);
    }

    /// A body survives any chunks, any pieces, and what stands between chunks.
    #[test]
    fn a_body_in_chunks_is_the_body(
        chunks in vec(vec(any::<u8>(), 1..300), 0..20),
        extension in select(vec!["", ";a", "; a=\"b\"", " "]),
        zeros in 0_usize..8,
        size in 1_usize..80,
    ) {
        let mut octets = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            let line = format!("{}{:x}{extension}\r\n", "0".repeat(zeros), chunk.len());
            octets.extend_from_slice(line.as_bytes());
            octets.extend_from_slice(chunk);
            octets.extend_from_slice(b"\r\n");
        }
        octets.extend_from_slice(b"0\r\n\r\n");
        let mut response = aarp_health::http::Response::new();
        for piece in octets.chunks(size) {
            prop_assert!(!response.is_complete());
            prop_assert_eq!(response.push(piece), Ok(()));
        }
        prop_assert!(response.is_complete() && response.may_end() && !response.is_cut());
        prop_assert_eq!(response.body(), chunks.concat());
    }
}
