//! Our packets, read by tshark.

use std::process::Command;

use serde_json::Value;

use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr};
use aarp_wire::ipv6::{Datagram, Ipv6Packet, encapsulating};

use crate::capture;
use crate::expected;
use crate::samples::{AGENT, CARE_OF, HOME, samples};

/// What tshark reads in each packet; `None` where it is not installed.
fn decoded(packets: &[Vec<u8>]) -> Option<Vec<Value>> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("packets.pcap");
    capture::write(&file, packets);
    let mut command = Command::new("tshark");
    command
        .args(["-n", "-T", "json", "--no-duplicate-keys", "-r"])
        .arg(&file)
        // Nobody's own settings.
        .env("HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: tshark is not installed");
            return None;
        }
        Err(error) => panic!("tshark: {error}"),
    };
    assert!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let decoded: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(decoded.len(), packets.len());
    Some(decoded)
}

/// The values of a field, wherever it is, by the names that it is within.
fn values(found: &Value, field: &str, into: &mut Vec<String>) {
    let Value::Object(map) = found else {
        if let Value::Array(list) = found {
            for item in list {
                values(item, field, into);
            }
        }
        return;
    };
    for (name, value) in map {
        if name == field {
            match value {
                Value::Array(list) => {
                    into.extend(list.iter().filter_map(Value::as_str).map(String::from));
                }
                other => into.extend(other.as_str().map(String::from)),
            }
        } else {
            values(value, field, into);
        }
    }
}

#[track_caller]
fn assert_field(found: &Value, field: &str, expected: &[String], about: &dyn std::fmt::Debug) {
    let mut read = Vec::new();
    values(found, field, &mut read);
    assert_eq!(read, expected, "{field} of {about:?}: {found:#}");
}

/// Nothing that tshark complains about.
#[track_caller]
fn assert_no_complaint(found: &Value) {
    let text = found.to_string();
    for complaint in ["_ws.malformed", "_ws.expert", "_ws.short"] {
        assert!(!text.contains(complaint), "{found:#}");
    }
}

#[test]
fn every_message_and_option() {
    let samples = samples();
    let packets: Vec<_> = samples.iter().map(|sample| sample.octets()).collect();
    let Some(decoded) = decoded(&packets) else {
        return;
    };
    for ((sample, octets), found) in samples.iter().zip(&packets).zip(&decoded) {
        assert_no_complaint(found);
        let headers = sample.datagram.headers_len();
        let len = octets.len() - headers;
        assert_field(found, "mip6.hlen", &[(len / 8 - 1).to_string()], sample);
        for (field, expected) in expected::tshark(sample) {
            assert_field(found, field, &expected, sample);
        }
    }
}

#[test]
fn tunnels_and_errors() {
    let sample = &samples()[0];
    let inner = sample.octets();
    let packet = Ipv6Packet::new(&inner).expect("a packet");
    let mut tunnel = vec![0xa5; 40];
    let outer = encapsulating(AGENT, CARE_OF, 33, &packet).expect("it fits");
    outer.emit(&mut tunnel).expect("it fits");
    tunnel.extend(&inner);
    let kinds = [
        (
            ErrorKind::DestinationUnreachable { code: 3 },
            "1",
            "3",
            None,
        ),
        (
            ErrorKind::PacketTooBig { mtu: 1400 },
            "2",
            "0",
            Some(("icmpv6.mtu", "1400")),
        ),
        (ErrorKind::TimeExceeded { code: 0 }, "3", "0", None),
        (
            ErrorKind::ParameterProblem {
                code: 2,
                pointer: 46,
            },
            "4",
            "2",
            Some(("icmpv6.pointer", "46")),
        ),
    ];
    let mut long = inner.clone();
    long.resize(1500, 7);
    long[4..6].copy_from_slice(&1460u16.to_be_bytes());
    let mut packets = vec![tunnel];
    for (kind, ..) in kinds {
        for invoking in [&inner, &long] {
            let mut buffer = [0xa5; 1280];
            let written = ErrorRepr { kind, invoking }
                .emit_packet(&Datagram::new(HOME, CARE_OF), &mut buffer);
            packets.push(written.expect("it fits").to_vec());
        }
    }
    let Some(decoded) = decoded(&packets) else {
        return;
    };
    assert_no_complaint(&decoded[0]);
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_field(&decoded[0], "ipv6.nxt", &texts(&["41", "135"]), &"tunnel");
    assert_field(&decoded[0], "ipv6.hlim", &texts(&["33", "64"]), &"tunnel");
    let addresses = [AGENT.to_string(), sample.datagram.source.to_string()];
    assert_field(&decoded[0], "ipv6.src", &addresses, &"tunnel");
    for (number, found) in decoded[1..].iter().enumerate() {
        let (kind, message_type, code, parameter) = kinds[number / 2];
        assert_field(found, "icmpv6.type", &texts(&[message_type]), &kind);
        assert_field(found, "icmpv6.code", &texts(&[code]), &kind);
        // Good: tshark computes this one.
        assert_field(found, "icmpv6.checksum.status", &texts(&["1"]), &kind);
        if let Some((field, value)) = parameter {
            assert_field(found, field, &texts(&[value]), &kind);
        }
        // The packet that is quoted comes first: `icmpv6` before `ipv6`.
        assert_field(found, "ipv6.nxt", &texts(&["135", "58"]), &kind);
        let len = if number % 2 == 0 {
            48 + inner.len()
        } else {
            1280
        };
        assert_field(found, "frame.len", &[len.to_string()], &kind);
    }
}

/// The test of this file itself: a message that is not as expected is noticed.
#[test]
fn a_wrong_field_is_noticed() {
    let sample = samples().swap_remove(5);
    let mut octets = sample.octets();
    let at = sample.datagram.headers_len() + 7;
    octets[at] ^= 1;
    let Some(decoded) = decoded(&[octets]) else {
        return;
    };
    let wrong: Vec<_> = expected::tshark(&sample)
        .into_iter()
        .filter(|(field, expected)| {
            let mut read = Vec::new();
            values(&decoded[0], field, &mut read);
            read != *expected
        })
        .map(|(field, _)| field)
        .collect();
    assert_eq!(wrong, ["mip6.bu.seqnr"]);
}
