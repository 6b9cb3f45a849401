//! Transfers that take a while, whatever the machine: the route of A moves in the
//! middle.
use std::path::Path;
use std::time::Duration;

use aarp_lab::{Direction, Filter, Process, Proto, wait_until};

use crate::base::{A, LIMIT, Node, Site, now};
use crate::flow::Flows;
use crate::record::Record;
use crate::service::{self, IPERF, Mode, PINNED, QUIC, on_client};

/// A transfer that is tested.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transfer {
    IperfTcp,
    IperfUdp,
    /// The server sends.
    IperfReverse,
    Quic,
}

/// How many packets are in the middle of a transfer.
const MIDDLE: usize = 20;

/// What comes by QUIC. Of that no more than `WINDOW` is under way at a time, and so
/// it takes at least LENGTH / WINDOW round trips.
const LENGTH: usize = 1 << 20;
const WINDOW: &str = "16K";

impl Transfer {
    fn name(self) -> &'static str {
        match self {
            Self::IperfTcp => "iperf3",
            Self::IperfUdp => "iperf3 -u",
            Self::IperfReverse => "iperf3 -u -R",
            Self::Quic => "ngtcp2 gtlsclient (QUIC, HTTP/3)",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::IperfTcp | Self::IperfUdp | Self::IperfReverse => IPERF,
            Self::Quic => QUIC,
        }
    }

    fn protocols(self) -> &'static [Proto] {
        match self {
            Self::IperfTcp => &[Proto::Tcp],
            // It talks about the test over a connection.
            Self::IperfUdp | Self::IperfReverse => &[Proto::Udp, Proto::Tcp],
            Self::Quic => &[Proto::Udp],
        }
    }

    /// What goes on all the while, seen at c.
    fn carrier(self) -> Filter {
        let sent = match self {
            Self::IperfTcp => Filter::tcp().direction(Direction::Out),
            Self::IperfUdp | Self::Quic => Filter::udp().direction(Direction::Out),
            Self::IperfReverse => Filter::udp().direction(Direction::In),
        };
        sent.port(self.port())
    }

    /// The round trip is what paces QUIC; iperf3 has a rate.
    fn round_trip(self) -> Duration {
        match self {
            Self::IperfTcp | Self::IperfUdp | Self::IperfReverse => Duration::ZERO,
            Self::Quic => Duration::from_millis(40),
        }
    }

    fn site(self) -> Site {
        let mut site = Site::new(self.round_trip(), &[A]);
        match self {
            Self::IperfTcp | Self::IperfUdp | Self::IperfReverse => service::serve_iperf(&mut site),
            Self::Quic => service::serve_quic(&mut site, &content()),
        }
        site
    }

    fn start(self, site: &Site, folder: &Path, mode: Mode) -> Process {
        let address = A.to_string();
        let command = match self {
            // 25 writes of 1000 octets a second, 150 of them.
            Self::IperfTcp | Self::IperfUdp | Self::IperfReverse => {
                let command = on_client(site, "iperf3", mode).args(["-c", &address]);
                let command = command.args(["-b", "200k", "-l", "1000", "-k", "150"]);
                match self {
                    Self::IperfUdp => command.arg("-u"),
                    Self::IperfReverse => command.args(["-u", "-R"]),
                    _ => command,
                }
            }
            Self::Quic => {
                let command = on_client(site, "gtlsclient", mode);
                let command = command
                    .args(["-q", "--exit-on-all-streams-close", "--download"])
                    .arg(folder);
                for_windows(command).args([&address, &QUIC.to_string(), "https://any.test/plain"])
            }
        };
        command.cwd(folder).spawn().unwrap()
    }

    /// Asserts that everything came, and that the program was shown A.
    fn assert_complete(self, what: &str, client: &Process, folder: &Path) {
        let status = client.wait(LIMIT).unwrap();
        let (said, log) = (client.stdout().unwrap(), client.stderr().unwrap());
        assert!(status.success(), "{what}: {status}: {said}{log}");
        match self {
            Self::IperfTcp | Self::IperfUdp | Self::IperfReverse => {
                let shown = format!("connected to {A} port {IPERF}");
                assert!(said.contains(&shown), "{what}: {said}");
            }
            // It takes nothing from another address than it has sent to.
            Self::Quic => {
                let came = std::fs::read(folder.join("plain")).unwrap();
                assert!(came == content(), "{what}: {} octets came", came.len());
            }
        }
    }
}

fn for_windows(command: aarp_lab::Command<'_>) -> aarp_lab::Command<'_> {
    command.args([
        format!("--max-data={WINDOW}"),
        format!("--max-window={WINDOW}"),
        format!("--max-stream-data-bidi-local={WINDOW}"),
        format!("--max-stream-window={WINDOW}"),
    ])
}

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at % 251) as u8).collect()
}

/// Waits until a transfer that was started then is in its middle, or has come so much
/// farther.
fn await_packets(site: &Site, transfer: Transfer, client: &Process, since: Duration) {
    let carrier = transfer.carrier();
    wait_until("packets of the transfer", LIMIT, || {
        if let Some(status) = client.try_wait()? {
            panic!("{transfer:?}: {status}: {}", client.stderr()?);
        }
        let mut packets = site.seen_at("c");
        packets.retain(|packet| packet.time > since);
        Ok(carrier.count(&packets) >= MIDDLE)
    })
    .unwrap();
}

/// Without us it goes to A, and does not outlive a move of its route.
pub(crate) fn breaks_without_us(transfer: Transfer) {
    let mut site = transfer.site();
    let folder = site.folder("native");
    let started = now();
    let client = transfer.start(&site, &folder, Mode::Native);
    await_packets(&site, transfer, &client, started);
    let flows = Flows::begun(&site, transfer.port(), started, now());
    flows.assert_unpinned(&site, transfer.name(), transfer.protocols(), Node::S1);
    site.route_to(Node::S2);
    // QUIC ends with the idle timeout of the server: some seconds.
    let status = client.wait(LIMIT).unwrap();
    match transfer {
        Transfer::IperfTcp | Transfer::IperfUdp | Transfer::IperfReverse => {
            assert!(!status.success(), "{}", client.stdout().unwrap());
        }
        Transfer::Quic => {
            let came = std::fs::read(folder.join("plain")).unwrap();
            assert!(came.len() < LENGTH, "all has come");
        }
    }
}

/// Under the ARL it goes to U of who answered at first, and comes to its end there.
pub(crate) fn stays_pinned(transfer: Transfer) {
    let mut site = transfer.site();
    let folder = site.folder("pinned");
    let started = now();
    let client = transfer.start(&site, &folder, PINNED);
    await_packets(&site, transfer, &client, started);
    let moved = site.route_to(Node::S2);
    await_packets(&site, transfer, &client, moved);
    let what = transfer.name();
    transfer.assert_complete(what, &client, &folder);
    let flows = Flows::begun(&site, transfer.port(), started, now());
    flows.assert_pinned(&site, what, transfer.protocols(), Node::S1);
    flows.assert_alive_after(&site, what, Node::S1, moved);

    let folder = site.folder("late");
    let started = now();
    let client = transfer.start(&site, &folder, PINNED);
    transfer.assert_complete(what, &client, &folder);
    let flows = Flows::begun(&site, transfer.port(), started, now());
    flows.assert_pinned(&site, what, transfer.protocols(), Node::S2);
    let (executable, calls) = match transfer {
        Transfer::IperfTcp => ("iperf3", "TCP, blocks; `write`"),
        Transfer::IperfUdp => ("iperf3", "connected; `write`, `recv`"),
        Transfer::IperfReverse => ("iperf3", "connected; `write` once, then `read`"),
        Transfer::Quic => (
            "gtlsclient",
            "unconnected, bound to its source address, does not block; `sendmsg`, `recvmsg`",
        ),
    };
    Record {
        program: what,
        executable,
        calls,
        tried: "a transfer; the route of A moves in its middle",
        result: "pinned",
        reason: "",
    }
    .write();
}
