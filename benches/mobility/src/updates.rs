//! Authenticated Binding Updates through the agent's real socket, at rising rates.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aarp_core::binding::authentication::Association;
use aarp_core::binding::timestamp::Timestamp;
use aarp_lab::Lab;
use aarp_mobility::sealed::{self, Seal};
use aarp_sys::raw6::{PacketBatch, RawSender};
use aarp_wire::ipv6::{Datagram, Extension};
use aarp_wire::mobility::{Message, MobilityOption, UpdateFlags};
use anyhow::{Context, Result, bail};

use crate::site::{self, AGENT, RESPONDER};

/// Responders, each with a key and an address of its own.
const NODES: u16 = 64;
/// How long each rate is offered.
const TIME: Duration = Duration::from_secs(1);
/// Updates a second.
const RATES: [u32; 5] = [25_000, 50_000, 100_000, 150_000, 200_000];
const BATCH: usize = 32;
/// How long the agent may take for what waits.
const SETTLE: Duration = Duration::from_secs(10);

fn home(node: u16) -> std::net::Ipv6Addr {
    std::net::Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 1, node)
}

fn association(node: u16) -> Result<Association> {
    let spi = 256 + u32::from(node);
    let key: Vec<u8> = spi.to_be_bytes().repeat(5);
    Ok(Association::new(
        spi,
        &key,
        format!("ar{node}@example.org").as_bytes(),
    )?)
}

fn keys() -> String {
    let entry = |node: u16| {
        let spi = 256 + u32::from(node);
        let key: String = spi
            .to_be_bytes()
            .repeat(5)
            .iter()
            .map(|o| format!("{o:02x}"))
            .collect();
        let a = home(node);
        format!(
            "[[key]]\nspi = {spi}\nkey = \"{key}\"\npeer = \"ar{node}@example.org\"\nmay_register = [\"{a}\"]\n"
        )
    };
    (0..NODES).map(entry).collect()
}

/// So many updates, each later than the one before of the same node.
fn packets(count: u32, sequence: &mut u16) -> Result<Vec<Vec<u8>>> {
    let wall = Timestamp::from_unix(SystemTime::now().duration_since(UNIX_EPOCH)?);
    let nodes: Vec<Association> = (0..NODES).map(association).collect::<Result<_>>()?;
    let mut packets = Vec::with_capacity(count as usize);
    for n in 0..count {
        let node = (n % u32::from(NODES)) as u16;
        if node == 0 {
            *sequence = sequence.wrapping_add(1);
        }
        let seal = Seal {
            association: &nodes[usize::from(node)],
            identify: true,
            timestamp: Some(Timestamp(wall.0 + u64::from(n))),
            care_of: RESPONDER,
            home: home(node),
        };
        let datagram = Datagram {
            extension: Some(Extension::HomeAddress(home(node))),
            ..Datagram::new(RESPONDER, AGENT)
        };
        let message = Message::BindingUpdate {
            sequence: *sequence,
            flags: UpdateFlags(0xc000),
            lifetime: 900,
        };
        let options = [MobilityOption::AlternateCareOf(RESPONDER)];
        let mut room = [0; sealed::ROOM];
        let packet = sealed::emit(&datagram, message, &options, Some(&seal), &mut room);
        let packet = packet.map_err(|error| anyhow::anyhow!("an update: {error:?}"))?;
        packets.push(packet.to_vec());
    }
    Ok(packets)
}

/// Those that were accepted.
fn counted(lab: &Lab, stage: &Path) -> Result<u64> {
    let status = site::status(lab, stage)?;
    let updates = &status["updates"];
    let number = |key: &str| {
        updates[key]
            .as_u64()
            .with_context(|| format!("updates.{key}"))
    };
    Ok(number("created")? + number("refreshed")?)
}

pub(crate) fn table(stage: &Path) -> Result<String> {
    let lab = site::network()?;
    let responder = lab.host("responder")?;
    // The answers are counted there, and no kernel complains about them.
    responder.nft(
        "table inet bench {\n counter answers { }\n chain in {\n \
         type filter hook prerouting priority raw; policy accept;\n \
         meta l4proto 135 counter name answers drop\n }\n}",
    )?;
    let agent = site::agent(&lab, stage, "2001:db8:a::/48", Some(&keys()))?;
    let sender = responder.enter(|| RawSender::open(255))?;
    let mut rows = String::new();
    let mut sequence = 1;
    for rate in RATES {
        let packets = packets((f64::from(rate) * TIME.as_secs_f64()) as u32, &mut sequence)?;
        let before = counted(&lab, stage)?;
        let busy = site::processor_time(&agent)?;
        let mut batch = PacketBatch::new(BATCH, sealed::ROOM);
        let begin = Instant::now();
        for (number, some) in packets.chunks(BATCH).enumerate() {
            let due = Duration::from_secs_f64((number * BATCH) as f64 / f64::from(rate));
            while begin.elapsed() < due {
                std::hint::spin_loop();
            }
            for packet in some {
                batch.push(packet).context("a batch")?;
            }
            let mut failed = None;
            sender.send(&mut batch, |what| failed = Some(what.source));
            if let Some(error) = failed {
                bail!("an update could not be sent: {error}");
            }
        }
        let sending = begin.elapsed();
        // Until nothing changes any more.
        let mut seen = counted(&lab, stage)?;
        let settled = Instant::now() + SETTLE;
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = counted(&lab, stage)?;
            if now == seen || Instant::now() > settled {
                break;
            }
            seen = now;
        }
        let accepted = seen - before;
        let busy = site::processor_time(&agent)? - busy;
        let offered = packets.len() as f64 / sending.as_secs_f64();
        rows += &format!(
            "| {offered:.0} | {:.0} | {accepted} of {} | {busy:.2} s | {:.1} µs |\n",
            accepted as f64 / sending.as_secs_f64(),
            packets.len(),
            busy * 1e6 / accepted.max(1) as f64,
        );
    }
    Ok(format!(
        "| offered a second | accepted a second | accepted | agent's CPU | of it, each |\n|--:|--:|--:|--:|--:|\n{rows}"
    ))
}
