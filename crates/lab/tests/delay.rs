//! A delay is as long as asked for, and loses nothing.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use aarp_lab::{Filter, HostSpec, Lab, LinkSpec, Network, Packet, rootless};

const LIMIT: Duration = Duration::from_secs(60);

fn pair(link: impl FnOnce(LinkSpec) -> LinkSpec) -> Lab {
    let spec = LinkSpec::new("a:eth0 2001:db8::1/64", "b:eth0 2001:db8::2/64");
    let network = Network::new()
        .host("a", HostSpec::new())
        .host("b", HostSpec::new())
        .add_link(link(spec));
    Lab::new(&network).unwrap()
}

/// Round-trip times as the capture at `a` saw them.
fn round_trips(packets: &[Packet]) -> Vec<Duration> {
    // Identifier and sequence are not in the payload; ping's own is a time stamp.
    let requests = packets.iter().filter(|p| Filter::icmp6(128).matches(p));
    requests
        .filter_map(|request| {
            let reply = packets.iter().find(|reply| {
                Filter::icmp6(129).matches(reply) && reply.payload == request.payload
            })?;
            Some(reply.time - request.time)
        })
        .collect()
}

fn delays_by(one_way: Duration) {
    rootless::test(move || {
        let lab = pair(|link| link.delay(one_way));
        let capture = lab.capture("a", "eth0").unwrap();
        let ping = |count: &str| {
            let a = lab.host("a").unwrap();
            let ping =
                a.command("ping")
                    .args(["-nq", "-i0.005", "-W10", "2001:db8::2", "-c", count]);
            String::from_utf8(ping.run().unwrap().stdout).unwrap()
        };
        // Neighbour discovery costs the first one another round trip.
        ping("1");
        let said = ping("200");
        assert!(said.contains("200 received"), "{said}");
        let mut times = round_trips(&capture.packets().unwrap());
        assert_eq!(times.len(), 201);
        times.sort();
        let (least, median, worst) = (times[0], times[100], times[200]);
        println!(
            "{one_way:?} one way by {}: least {least:?}, median {median:?}, worst {worst:?}",
            lab.delayed_by().unwrap()
        );
        assert_eq!(lab.lost(), 0);
        // netem counts in ticks of 64 ns, and in microseconds by what it is told.
        let tick = Duration::from_micros(2);
        assert!(
            least + tick >= 2 * one_way,
            "sooner than it can be: {least:?}"
        );
        // Against an error of a whole scheduling round, not against a busy machine.
        assert!(
            median < 2 * one_way + Duration::from_millis(50),
            "{median:?}"
        );
    });
}

#[test]
fn one_millisecond() {
    delays_by(Duration::from_millis(1));
}

#[test]
fn ten_milliseconds() {
    delays_by(Duration::from_millis(10));
}

#[test]
fn forty_milliseconds() {
    delays_by(Duration::from_millis(40));
}

/// Sends `octets` from b to a over TCP; returns how long it took.
fn transfer(lab: &Lab, octets: usize) -> Duration {
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let listener = b.enter(|| TcpListener::bind("[::]:7000")).unwrap();
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        let block = vec![0x5a; 1 << 20];
        let mut left = octets;
        while left > 0 {
            let length = left.min(block.len());
            stream.write_all(&block[..length]).unwrap();
            left -= length;
        }
    });
    let address: SocketAddr = "[2001:db8::2]:7000".parse().unwrap();
    let mut stream = a
        .enter(move || TcpStream::connect_timeout(&address, LIMIT))
        .unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let start = Instant::now();
    let mut block = vec![0; 1 << 20];
    let mut got = 0;
    loop {
        let n = stream.read(&mut block).unwrap();
        if n == 0 {
            break;
        }
        assert!(block[..n].iter().all(|octet| *octet == 0x5a));
        got += n;
    }
    sender.join().unwrap();
    assert_eq!(got, octets);
    start.elapsed()
}

#[test]
fn a_fast_transfer_loses_nothing_at_any_delay() {
    const OCTETS: usize = 64 << 20;
    rootless::test(|| {
        for milliseconds in [0, 1, 50] {
            let lab = pair(|link| {
                // Without a delay the relay stands there for the sake of the rate.
                link.delay(Duration::from_millis(milliseconds))
                    .rate(10_000_000_000)
            });
            let at = [
                lab.capture("a", "eth0").unwrap(),
                lab.capture("b", "eth0").unwrap(),
            ];
            let took = transfer(&lab, OCTETS);
            println!(
                "{milliseconds} ms: {:.0} Mbit/s",
                OCTETS as f64 * 8.0 / took.as_secs_f64() / 1e6
            );
            assert_eq!(lab.lost(), 0);
            // What the sender has sent once more may still be on its way: the relay
            // keeps the order, and after the first echo nothing is left to be sent.
            let b = lab.host("b").unwrap();
            b.command("ping")
                .args(["-nc2", "-i0.01", "2001:db8::1"])
                .run()
                .unwrap();
            let [arrived, sent] = at.map(|capture| {
                let packets = capture.finish().unwrap();
                assert!(packets.iter().all(|packet| packet.payload_len <= 1500));
                Filter {
                    sport: Some(7000),
                    // The last acknowledgements are still on their way.
                    data: Some(true),
                    ..Filter::tcp()
                }
                .count(&packets)
            });
            assert_eq!(arrived, sent);
        }
    });
}

#[test]
fn a_rate_is_not_exceeded() {
    rootless::test(|| {
        let lab = pair(|link| link.rate(100_000_000));
        let took = transfer(&lab, 10 << 20);
        let least = Duration::from_secs_f64((10u64 << 20) as f64 * 8.0 / 100e6);
        println!("10 MiB at 100 Mbit/s in {took:?}, at least {least:?}");
        // What was on its way before the clock was started: one window at most.
        assert!(took > least.mul_f64(0.8), "{took:?}");
        assert_eq!(lab.lost(), 0);
    });
}
