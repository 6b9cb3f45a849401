//! Our packets, read by Scapy, which also computes their checksums.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr};
use aarp_wire::ipv6::{Datagram, Extension, Ipv6Packet, walk};

use crate::capture;
use crate::checksum_is_right;
use crate::expected;
use crate::samples::{CARE_OF, HOME, samples};

/// What Scapy reads in each packet; `None` where it is not installed.
fn decoded(packets: &[Vec<u8>]) -> Option<Vec<Value>> {
    let has_scapy = |python: &&str| {
        let found = Command::new(python).args(["-c", "import scapy"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    // Debian's packages belong to Debian's own Python.
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_scapy) else {
        println!("SKIPPED: Scapy is not installed");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("packets.pcap");
    capture::write(&file, packets);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mip6/scapy_fields.py");
    let output = Command::new(python)
        .arg(script)
        .arg(&file)
        .env("HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .output()
        .expect("Python runs");
    assert!(
        output.status.success(),
        "Scapy: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let decoded: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(decoded.len(), packets.len());
    Some(decoded)
}

/// The one checksum in the packet is the one that Scapy computes.
#[track_caller]
fn assert_checksum(found: &Value) {
    let checksums = found["checksums"].as_array().expect("a list");
    assert_eq!(checksums.len(), 1, "{found:#}");
    assert_eq!(checksums[0][0], checksums[0][1], "{found:#}");
}

#[test]
fn every_message_and_option() {
    let samples = samples();
    let packets: Vec<_> = samples.iter().map(|sample| sample.octets()).collect();
    let Some(decoded) = decoded(&packets) else {
        return;
    };
    for (sample, found) in samples.iter().zip(&decoded) {
        assert_checksum(found);
        let layers = found["layers"].as_array().expect("a list");
        let datagram = &sample.datagram;
        let header = &layers[0];
        assert_eq!(header["src"], datagram.source.to_string());
        assert_eq!(header["dst"], datagram.destination.to_string());
        assert_eq!(header["tc"], datagram.traffic_class);
        assert_eq!(header["fl"], datagram.flow_label);
        assert_eq!(header["hlim"], datagram.hop_limit);
        let mut mobility = match datagram.extension {
            None => &layers[1],
            Some(extension) => {
                match extension {
                    // Scapy was made to forget the padding before it.
                    Extension::HomeAddress(home) => {
                        assert_eq!(layers[1]["layer"], "IPv6ExtHdrDestOpt");
                        assert_eq!(layers[1]["options"][1]["hoa"], home.to_string());
                    }
                    Extension::Routing(home) => {
                        assert_eq!(layers[1]["layer"], "IPv6ExtHdrRouting");
                        assert_eq!(layers[1]["type"], 2);
                        assert_eq!(layers[1]["segleft"], 1);
                        assert_eq!(layers[1]["addresses"][0], home.to_string());
                    }
                }
                &layers[2]
            }
        }
        .clone();
        if let Some(options) = mobility["options"].as_array_mut() {
            options.retain(|option| option["otype"].as_u64() > Some(1));
        }
        let expected = expected::scapy(sample);
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&mobility[name], value, "{name} of {sample:?}: {mobility:#}");
        }
    }
}

#[test]
fn checksums_of_errors() {
    let invoking = samples()[0].octets();
    let packets: Vec<_> = [None, Some(Extension::HomeAddress(HOME))]
        .into_iter()
        .flat_map(|extension| (0..5).map(move |cut| (extension, cut)))
        .map(|(extension, cut)| {
            let datagram = Datagram {
                extension,
                ..Datagram::new(CARE_OF, samples()[0].datagram.destination)
            };
            let repr = ErrorRepr {
                kind: ErrorKind::PacketTooBig { mtu: 1280 + cut },
                invoking: &invoking[..invoking.len() - cut as usize],
            };
            let mut buffer = [0xa5; 1280];
            repr.emit_packet(&datagram, &mut buffer)
                .expect("it fits")
                .to_vec()
        })
        .collect();
    let Some(decoded) = decoded(&packets) else {
        return;
    };
    for (number, found) in decoded.iter().enumerate() {
        // The quoted message has one too.
        let checksums = found["checksums"].as_array().expect("a list");
        assert_eq!(checksums[0][0], checksums[0][1], "{number}: {found:#}");
        let upper = found["layers"].as_array().expect("a list").iter();
        let mut upper = upper.filter(|layer| layer["layer"] == "ICMPv6PacketTooBig");
        assert_eq!(upper.next().expect("an error")["mtu"], 1280 + number % 5);
    }
}

/// By the definition, whether Scapy is there or not.
#[test]
fn checksums_by_their_definition() {
    for sample in samples() {
        let octets = sample.octets();
        let packet = Ipv6Packet::new(&octets).expect("a packet");
        let chain = walk(&packet).expect("headers");
        let source = sample.datagram.checksum_source();
        let destination = sample.datagram.checksum_destination();
        let right = checksum_is_right(source, destination, 135, chain.payload());
        assert!(right, "{sample:?}");
        assert!(!checksum_is_right(
            destination,
            CARE_OF,
            134,
            chain.payload()
        ));
    }
}
