//! Packets through the agent, beside plain forwarding and DNAT on the same host.

use std::net::Ipv6Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use aarp_lab::Lab;
use aarp_sys::raw6::{PacketBatch, RawSender};
use anyhow::{Context, Result};

use crate::site::{self, ANYCAST, RESPONDER, TRANSLATED};

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_millis(1500);
const BATCH: usize = 64;
const LIMIT: Duration = Duration::from_secs(30);
const PORT: u16 = 5201;

#[derive(Clone, Copy, PartialEq)]
enum Variant {
    Plain,
    Translated,
    /// Into the tunnel; the responder drops it there.
    AgentAlone,
    Relayed,
}

impl Variant {
    const ALL: [Self; 4] = [
        Self::Plain,
        Self::Translated,
        Self::AgentAlone,
        Self::Relayed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain forwarding",
            Self::Translated => "nft DNAT, connection tracking",
            Self::AgentAlone => "aarp-agent, dropped behind it",
            Self::Relayed => "aarp-agent and aarp-binding, to the service",
        }
    }

    fn destination(self) -> Ipv6Addr {
        match self {
            Self::Plain => RESPONDER,
            Self::Translated => TRANSLATED,
            Self::AgentAlone | Self::Relayed => ANYCAST,
        }
    }

    /// What is counted at the responder, and where.
    fn counted(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain | Self::Translated => ("prerouting priority raw", "udp dport 9"),
            Self::AgentAlone => ("prerouting priority raw", "meta l4proto 41"),
            Self::Relayed => (
                "input priority filter",
                "iifname \"aarp-binding\" udp dport 9",
            ),
        }
    }
}

/// Makes the way of this variant, does something on it, and removes it.
fn on<R>(lab: &Lab, variant: Variant, act: impl FnOnce() -> Result<R>) -> Result<R> {
    let agent = lab.host("agent")?;
    // Connection tracking costs as soon as there is a rule that needs it.
    if variant == Variant::Translated {
        agent.nft(&format!(
            "table ip6 bench {{\n chain pre {{\n type nat hook prerouting priority dstnat;\n \
             ip6 daddr {TRANSLATED} dnat to {RESPONDER}\n }}\n}}"
        ))?;
    }
    let result = act();
    if variant == Variant::Translated {
        agent.nft("delete table ip6 bench")?;
    }
    result
}

/// Datagrams of 64 octets a second that arrive, as many as can be sent.
fn datagrams(lab: &Lab, variant: Variant) -> Result<(f64, f64)> {
    let responder = lab.host("responder")?;
    let (hook, rule) = variant.counted();
    responder.nft(&format!(
        "table inet bench {{\n counter arrived {{ }}\n chain in {{\n type filter hook {hook};\n \
         {rule} counter name arrived drop\n }}\n}}"
    ))?;
    let sender = lab.host("client")?.enter(|| RawSender::open(255))?;
    let packet = site::datagram(variant.destination())?;
    let mut batch = PacketBatch::new(BATCH, 64);
    let mut sent = 0;
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        while !batch.is_full() {
            batch.push(&packet).context("a batch")?;
        }
        // What the client's own queue does not take was not offered.
        sent += sender.send(&mut batch, |_| {});
    }
    let time = begin.elapsed().as_secs_f64();
    // What still waits in queues is little, and on its way.
    let arrived = || -> Result<u64> {
        let list = ["list", "counter", "inet", "bench", "arrived"];
        let output = responder.command("nft").args(list).run()?;
        let text = String::from_utf8(output.stdout)?;
        let mut words = text
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        let count = words.nth(1).context("a counter")?;
        Ok(count.parse()?)
    };
    let mut before = arrived()?;
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = arrived()?;
        if now == before {
            break;
        }
        before = now;
    }
    responder.nft("delete table inet bench")?;
    Ok((before as f64 / time, sent as f64 / time))
}

/// Bits a second of one TCP connection.
fn stream(lab: &Lab, variant: Variant) -> Result<f64> {
    let client = lab.host("client")?.command("iperf3");
    let (to, port) = (variant.destination().to_string(), PORT.to_string());
    let client = client.args(["-J", "-t", "2", "-c", &to, "-p", &port]);
    let output = client.limit(LIMIT).run()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let rate = &report["end"]["sum_received"]["bits_per_second"];
    rate.as_f64().context("iperf3's rate")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn table(stage: &Path) -> Result<String> {
    let lab = site::network()?;
    let _agent = site::agent(&lab, stage, &ANYCAST.to_string(), None)?;
    let _binding = site::binding(&lab, stage)?;
    let server = lab.host("responder")?.command("iperf3");
    let _server = server.args(["-s", "-p", &PORT.to_string()]).spawn()?;
    lab.host("responder")?.wait_tcp(PORT, LIMIT)?;
    let mut arrived = vec![Vec::new(); Variant::ALL.len()];
    let mut sent = arrived.clone();
    let mut bits = arrived.clone();
    for round in 0..ROUNDS {
        for number in 0..Variant::ALL.len() {
            let which = (number + round) % Variant::ALL.len();
            let variant = Variant::ALL[which];
            on(&lab, variant, || {
                let (rate, offered) = datagrams(&lab, variant)?;
                arrived[which].push(rate);
                sent[which].push(offered);
                if variant != Variant::AgentAlone {
                    bits[which].push(stream(&lab, variant)?);
                }
                Ok(())
            })?;
        }
    }
    let plain = median(arrived[0].clone());
    let mut rows = String::new();
    for (which, variant) in Variant::ALL.into_iter().enumerate() {
        let rate = median(arrived[which].clone());
        let offered = median(sent[which].clone());
        let stream = match variant {
            Variant::AgentAlone => "–".to_owned(),
            _ => format!("{:.1}", median(bits[which].clone()) / 1e9),
        };
        rows += &format!(
            "| {} | {:.0} | {:.0} | {:.2} | {stream} |\n",
            variant.name(),
            offered / 1e3,
            rate / 1e3,
            rate / plain
        );
    }
    Ok(format!(
        "| | sent, thousand a second | arrived | of plain forwarding | TCP, Gbit/s |\n|---|--:|--:|--:|--:|\n{rows}"
    ))
}
