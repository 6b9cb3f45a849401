//! A Binding Update as octets: written, read, with and without its authenticator.

use std::hint::black_box;
use std::net::Ipv6Addr;
use std::time::Instant;

use aarp_core::binding::authentication::Association;
use aarp_core::binding::timestamp::Timestamp;
use aarp_mobility::sealed::{self, Seal};
use aarp_wire::ipv6::{Datagram, Extension, Ipv6Packet, walk};
use aarp_wire::mobility::{BindingOptions, Message, MobilityOption, MobilityPacket, UpdateFlags};

const CALLS: u32 = 100_000;
const ROUNDS: usize = 21;

/// The least and the median of the rounds, in nanoseconds a call.
fn measure(mut call: impl FnMut()) -> (f64, f64) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            begin.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[ROUNDS / 2])
}

pub(crate) fn table() -> String {
    let home = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
    let care_of = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
    let agent = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    let datagram = Datagram {
        extension: Some(Extension::HomeAddress(home)),
        ..Datagram::new(care_of, agent)
    };
    let message = Message::BindingUpdate {
        sequence: 200,
        flags: UpdateFlags(0xc000),
        lifetime: 15,
    };
    let options = [MobilityOption::AlternateCareOf(care_of)];
    let association = Association::new(256, &[7; 20], b"ar1@example.org").expect("valid");
    let seal = Seal {
        association: &association,
        identify: true,
        timestamp: Some(Timestamp(1 << 62)),
        care_of,
        home,
    };
    let mut room = [0; sealed::ROOM];
    let mut rows = Vec::new();
    for (what, seal) in [
        ("", None),
        (" with identity, timestamp and MAC", Some(&seal)),
    ] {
        let emit = |room: &mut [u8]| {
            let packet = sealed::emit(
                black_box(&datagram),
                black_box(message),
                &options,
                seal,
                room,
            );
            packet.expect("there is room").len()
        };
        let len = emit(&mut room);
        rows.push((
            format!("write a Binding Update{what}: {len} octets with IPv6 header, checksum"),
            measure(|| {
                black_box(emit(&mut room));
            }),
        ));
        let octets = room[..len].to_vec();
        let read = || {
            let packet = Ipv6Packet::new(black_box(&octets)).expect("a packet");
            let chain = walk(&packet).expect("headers");
            let header = MobilityPacket::receive(&chain).expect("a message");
            let options = BindingOptions::parse(&header).expect("options");
            (
                header.message().expect("a message"),
                options.alternate_care_of,
            )
        };
        rows.push((
            format!("read it: headers, checksum, message, options{what}"),
            measure(|| {
                black_box(read());
            }),
        ));
    }
    let lines = rows
        .iter()
        .map(|(what, (least, median))| format!("| {what} | {least:.0} | {median:.0} |\n"));
    format!(
        "| | ns, least of {ROUNDS} rounds | median |\n|---|--:|--:|\n{}",
        lines.collect::<String>()
    )
}
