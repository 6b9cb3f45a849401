//! Packets per second of the ways that Mobile IPv6 packets take through this crate:
//! `cargo run --release -p aarp-sys --example throughput`. Sender, kernel and receiver
//! share one processor; what is sent goes over a veth pair between two namespaces.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_lab::{HostSpec, Lab, LinkSpec, Network, Result, rootless};
use aarp_sys::batch::ReceiveBatch;
use aarp_sys::nflog::{Nflog, Options};
use aarp_sys::raw6::{PacketBatch, RawSender};
use aarp_sys::tun::Tun;
use aarp_sys::tunnel::{Outer, Tunnel, TunnelBatch};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

const ONE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
/// Routed into the TUN device.
const BEHIND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
/// Not routed anywhere.
const NOWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 1);

const ROUNDS: usize = 2000;
const BURST: usize = 256;

/// A packet of 104 octets, as long as a Binding Update with authentication.
fn packet(destination: Ipv6Addr, next_header: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 64, next_header, 64];
    packet.extend(ONE.octets());
    packet.extend(destination.octets());
    packet.resize(104, 0);
    packet
}

/// What is left of a rate, in thousands a second, without the part that has another.
fn without(whole: f64, part: f64) -> f64 {
    1.0 / (1.0 / whole - 1.0 / part)
}

/// Time that this thread has had a processor, with what the kernel does in its name:
/// other programs of the machine do not change it much.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Time spent on one side, and the packets of that time.
#[derive(Default)]
struct Side {
    time: Duration,
    packets: usize,
}

impl Side {
    fn run(&mut self, job: impl FnOnce() -> usize) {
        let start = busy();
        self.packets += job();
        self.time += busy().saturating_sub(start);
    }

    fn rate(&self) -> f64 {
        self.packets as f64 / self.time.as_secs_f64() / 1000.0
    }
}

/// `in` is what it costs to send, and the kernel to take in, log or encapsulate; `out`
/// what it costs to receive; missing is also what the kernel still collects at the end.
fn print(name: &str, send: &Side, receive: &Side) -> f64 {
    let both = receive.packets as f64 / (send.time + receive.time).as_secs_f64() / 1000.0;
    println!(
        "{name:<34} in {:>5.0}  out {:>5.0}  both {both:>5.0} kpps  {:.2} % missing",
        send.rate(),
        receive.rate(),
        100.0 * (1.0 - receive.packets as f64 / send.packets as f64),
    );
    both
}

fn fill(batch: &mut PacketBatch, packet: &[u8]) {
    for _ in 0..BURST {
        batch.push(packet).expect("a batch has room for a burst");
    }
}

fn raw(lab: &Lab) -> Result<()> {
    let sender = lab
        .host("one")?
        .enter(|| RawSender::open(255))
        .expect("CAP_NET_RAW");
    let mut batch = PacketBatch::new(BURST, 128);
    // The neighbour drops it before it is looked at.
    lab.host("other")?.nft(
        "table ip6 early { chain early { type filter hook prerouting priority raw; \
         meta l4proto 59 drop; }; }",
    )?;
    let mut send = Side::default();
    for _ in 0..ROUNDS {
        fill(&mut batch, &packet(OTHER, 59));
        send.run(|| sender.send(&mut batch, |failed| panic!("{failed}")));
    }
    println!("{:<34} {:>5.0} kpps", "raw6, sendmmsg of 256", send.rate());
    Ok(())
}

/// Packets that the same hook drops, but for the logging: what sending them and taking
/// them in costs.
fn dropped(lab: &Lab) -> Result<f64> {
    lab.host("other")?.nft(
        "flush ruleset; table ip6 control { chain input { type filter hook input \
         priority filter; meta l4proto 135 drop; }; }",
    )?;
    let sender = lab
        .host("one")?
        .enter(|| RawSender::open(255))
        .expect("CAP_NET_RAW");
    let mut batch = PacketBatch::new(BURST, 128);
    let mut send = Side::default();
    for _ in 0..ROUNDS {
        fill(&mut batch, &packet(OTHER, 135));
        send.run(|| sender.send(&mut batch, |failed| panic!("{failed}")));
    }
    println!(
        "{:<34} {:>5.0} kpps",
        "sent and dropped at input",
        send.rate()
    );
    Ok(send.rate())
}

fn nflog(lab: &Lab, threshold: u32, messages: usize) -> Result<()> {
    let dropped = dropped(lab)?;
    let other = lab.host("other")?;
    other.nft(
        "flush ruleset; table ip6 control { chain input { type filter hook input \
         priority filter; meta l4proto 135 log group 42; meta l4proto 135 drop; }; }",
    )?;
    let options = Options {
        threshold,
        receive_buffer: Some(16 << 20),
        ..Options::default()
    };
    let mut nflog = other
        .enter(move || Nflog::open(42, &options))
        .expect("a group");
    let sender = lab
        .host("one")?
        .enter(|| RawSender::open(255))
        .expect("CAP_NET_RAW");
    let mut batch = PacketBatch::new(BURST, 128);
    let mut room = Nflog::batch(messages);
    let (mut send, mut receive) = (Side::default(), Side::default());
    let mut octets = 0;
    for _ in 0..ROUNDS {
        fill(&mut batch, &packet(OTHER, 135));
        send.run(|| sender.send(&mut batch, |failed| panic!("{failed}")));
        receive.run(|| {
            let mut count = 0;
            loop {
                match nflog.receive(&mut room, |logged| octets += logged.packet.len()) {
                    Ok(0) => return count,
                    Ok(n) => count += n,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    assert_eq!(octets, 104 * receive.packets);
    let name = format!("NFLOG, threshold {threshold}, batches of {messages}");
    let both = print(&name, &send, &receive);
    let alone = without(both, dropped);
    println!(
        "{:<34} {alone:>5.0} kpps",
        "  the logging and receiving of that"
    );
    Ok(())
}

fn tunnel(lab: &Lab) -> Result<()> {
    let one = lab
        .host("one")?
        .enter(|| Tunnel::open(ONE))
        .expect("CAP_NET_RAW");
    let other = lab
        .host("other")?
        .enter(|| Tunnel::open(OTHER))
        .expect("CAP_NET_RAW");
    other.set_receive_buffer(16 << 20).expect("a buffer");
    let outer = Outer {
        destination: OTHER,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
    };
    let mut batch = TunnelBatch::new(BURST, 2048);
    let mut room = ReceiveBatch::new(BURST, 2048);
    let (mut send, mut receive) = (Side::default(), Side::default());
    let inner = packet(BEHIND, 59);
    for _ in 0..ROUNDS {
        for _ in 0..BURST {
            assert!(batch.push(&inner, outer));
        }
        send.run(|| one.send(&mut batch, |_, _, failed| panic!("{failed}")));
        receive.run(|| {
            let mut count = 0;
            loop {
                match other.receive(&mut room, |p| assert_eq!(p.inner.len(), 104)) {
                    Ok(0) => return count,
                    Ok(n) => count += n,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    print("tunnel, batches of 256", &send, &receive);
    Ok(())
}

fn tun(lab: &Lab) -> Result<()> {
    let one = lab.host("one")?;
    let tun = one.enter(|| Tun::open("aarp0")).expect("a TUN device");
    tun.up().expect("CAP_NET_ADMIN");
    one.ip("-6 route add 2001:db8:f::/64 dev aarp0")?;
    let sender = one.enter(|| RawSender::open(255)).expect("CAP_NET_RAW");
    let mut batch = PacketBatch::new(BURST, 128);
    let mut room = [0; 2048];
    let (mut send, mut receive) = (Side::default(), Side::default());
    for _ in 0..ROUNDS {
        fill(&mut batch, &packet(BEHIND, 59));
        send.run(|| sender.send(&mut batch, |failed| panic!("{failed}")));
        receive.run(|| {
            let mut count = 0;
            while tun.receive(&mut room).expect("a device").is_some() {
                count += 1;
            }
            count
        });
    }
    print("TUN, read", &send, &receive);
    // The host does not forward: it takes the packet in and drops it.
    let packet = packet(NOWHERE, 59);
    let mut write = Side::default();
    for _ in 0..ROUNDS {
        write.run(|| {
            for _ in 0..BURST {
                tun.send(&packet).expect("it is up");
            }
            BURST
        });
    }
    println!("{:<34} {:>5.0} kpps", "TUN, write", write.rate());
    Ok(())
}

fn main() -> Result<()> {
    rootless::enter()?;
    let mut first = CpuSet::new();
    first.set(0);
    // Threads of the namespaces inherit it.
    if let Err(error) = sched_setaffinity(None, &first) {
        eprintln!("not bound to one processor: {error}");
    }
    let network = Network::new()
        .host("one", HostSpec::new().route("2001:db8:2::/64 dev eth0"))
        .host("other", HostSpec::new().route("2001:db8:1::/64 dev eth0"))
        .add_link(LinkSpec::new(
            "one:eth0 2001:db8:1::2/64",
            "other:eth0 2001:db8:2::2/64",
        ));
    let lab = Lab::new(&network)?;
    raw(&lab)?;
    for (threshold, messages) in [(1, 1), (1, 64), (16, 16), (64, 16)] {
        nflog(&lab, threshold, messages)?;
    }
    tunnel(&lab)?;
    tun(&lab)
}
