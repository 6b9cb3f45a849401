//! The packets of an NFLOG group (nfnetlink_log of Linux): those that a rule
//! `log group N` of nftables has met. They are copies; what becomes of the packet is
//! for the rules that follow.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::batch::ReceiveBatch;
use crate::descriptor::receive_buffer;
use crate::failed::Failed;
use crate::netlink::{Netlink, Request};

mod message;

pub use message::{Logged, Malformed, parse};

/// What the kernel copies of a packet at the most (`NFULNL_COPY_RANGE_MAX`).
const COPY_MAX: u32 = 0xffff - 4;
/// One message of the kernel: a whole packet and what is said about it, or several
/// packets; the kernel is told to collect no more than 64 KiB.
const DATAGRAM_MAX: usize = 68 << 10;

/// Why a group cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum NflogError {
    /// Another socket receives it.
    #[error("NFLOG group {group}: another program receives it{}", named(*.port))]
    Busy {
        /// The group.
        group: u16,
        /// The other's netlink port, which is most often its process ID; `None` where
        /// /proc does not tell.
        port: Option<u32>,
    },
    /// CAP_NET_ADMIN over the network namespace is missing.
    #[error("NFLOG group {0}: not permitted, needs CAP_NET_ADMIN")]
    NotPermitted(u16),
    /// The kernel has no nfnetlink_log.
    #[error("NFLOG group {0}: the kernel has no nfnetlink_log")]
    NoSupport(u16),
    /// Something else.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// How packets are received.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many packets the kernel collects before it hands them out; with 1 each
    /// comes at once.
    pub threshold: u32,
    /// How long it collects at the most, in steps of 10 ms; not with a threshold of 1.
    pub delay: Duration,
    /// Room for what waits for the reader, in octets; the kernel counts its own
    /// overhead too. `None`: what the system gives.
    pub receive_buffer: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold: 1,
            delay: Duration::from_millis(10),
            receive_buffer: None,
        }
    }
}

/// What has been received, and what has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets handed to the caller.
    pub received: u64,
    /// Packets that the kernel has numbered and that did not come.
    pub lost: u64,
    /// How often the kernel has said that the receive buffer was full.
    pub overflows: u64,
    /// Messages that could not be read.
    pub malformed: u64,
}

/// A socket that receives one NFLOG group.
#[derive(Debug)]
pub struct Nflog {
    netlink: Netlink,
    counters: Counters,
    next: Option<u32>,
}

impl Nflog {
    /// Receives `group` of the calling thread's network namespace from now on.
    ///
    /// # Errors
    /// [`NflogError`].
    pub fn open(group: u16, options: &Options) -> Result<Self, NflogError> {
        let doing = |what: &str| format!("NFLOG group {group}: {what}");
        let mut netlink = match Netlink::open(libc::NETLINK_NETFILTER) {
            Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
                return Err(NflogError::NoSupport(group));
            }
            opened => opened.map_err(|e| Failed::new(doing("open a netlink socket"), e))?,
        };
        if let Some(octets) = options.receive_buffer {
            receive_buffer(netlink.as_fd(), octets)
                .map_err(|e| Failed::new(doing("set the receive buffer"), e))?;
        }
        let mut counters = Counters::default();
        match netlink.call(bind(group, options), || counters.lost += 1) {
            Ok(()) => Ok(Self {
                netlink,
                counters,
                next: None,
            }),
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::EPERM | libc::EBUSY) if is_permitted(&mut netlink) => {
                    let port = receiver(group);
                    NflogError::Busy { group, port }
                }
                Some(libc::EPERM) => NflogError::NotPermitted(group),
                Some(libc::EINVAL | libc::EOPNOTSUPP) => NflogError::NoSupport(group),
                _ => Failed::new(doing("bind"), error).into(),
            }),
        }
    }

    /// Room for up to `messages` messages of the kernel's.
    #[must_use]
    pub fn batch(messages: usize) -> ReceiveBatch {
        ReceiveBatch::new(messages, DATAGRAM_MAX)
    }

    /// Hands the packets that are there to `take`, oldest first, without waiting;
    /// returns their number. When it is the whole batch there may be more. A full
    /// receive buffer is counted, and is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(
        &mut self,
        batch: &mut ReceiveBatch,
        mut take: impl FnMut(Logged<'_>),
    ) -> io::Result<usize> {
        let before = self.counters.received;
        // Twice: after the kernel has reported an overflow, what was kept is there.
        for _ in 0..2 {
            match batch.receive(self.netlink.as_fd(), 0) {
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.counters.overflows += 1;
                }
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        for message in batch.received() {
            // The kernel is port 0; the port stands where an IPv6 address has its
            // flow label.
            let from_kernel = i32::from(message.name.sin6_family) == libc::AF_NETLINK
                && message.name.sin6_flowinfo == 0;
            if !from_kernel || message.truncated {
                self.counters.malformed += 1;
                continue;
            }
            for packet in parse(message.octets) {
                match packet {
                    Ok(packet) => {
                        self.count(packet.sequence);
                        take(packet);
                    }
                    Err(Malformed) => self.counters.malformed += 1,
                }
            }
        }
        Ok((self.counters.received - before) as usize)
    }

    fn count(&mut self, sequence: Option<u32>) {
        self.counters.received += 1;
        let Some(sequence) = sequence else { return };
        // The numbers begin anew when the group is bound: with 0, or with 1 if an
        // ancient kernel says so.
        let expected = self.next.unwrap_or(sequence);
        let missing = sequence.wrapping_sub(expected);
        // Backwards is no loss: two processors log at the same time.
        if missing < 1 << 31 {
            self.counters.lost += u64::from(missing);
        }
        self.next = Some(sequence.wrapping_add(1));
    }

    /// What has been received so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

impl AsFd for Nflog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

fn bind(group: u16, options: &Options) -> Request {
    let kind = (libc::NFNL_SUBSYS_ULOG << 8 | libc::NFULNL_MSG_CONFIG) as u16;
    let [high, low] = group.to_be_bytes();
    // struct nfulnl_msg_config_mode: copy range, copy mode, padding.
    let [a, b, c, d] = COPY_MAX.to_be_bytes();
    let mode = [a, b, c, d, libc::NFULNL_COPY_PACKET as u8, 0];
    let threshold = options.threshold.max(1);
    let hundredths = options.delay.as_millis().div_ceil(10).clamp(1, 6000) as u32;
    // A message has room for so many packets of a few hundred octets; one that does
    // not fit is sent in a message of its own. The room is taken anew for each
    // message, so that a threshold of 1 asks for little.
    let room = threshold.saturating_mul(512).clamp(4096, 64 << 10);
    // struct nfgenmsg: family, version, and the group.
    Request::new(kind, &[libc::AF_UNSPEC as u8, 0, high, low])
        .attribute(
            libc::NFULA_CFG_CMD as u16,
            &[libc::NFULNL_CFG_CMD_BIND as u8],
        )
        .attribute(libc::NFULA_CFG_MODE as u16, &mode)
        .attribute(libc::NFULA_CFG_TIMEOUT as u16, &hundredths.to_be_bytes())
        .attribute(libc::NFULA_CFG_NLBUFSIZ as u16, &room.to_be_bytes())
        .attribute(libc::NFULA_CFG_QTHRESH as u16, &threshold.to_be_bytes())
        .attribute(
            libc::NFULA_CFG_FLAGS as u16,
            &(libc::NFULNL_CFG_F_SEQ as u16).to_be_bytes(),
        )
}

/// Whether the kernel listens to this process at all. For a group that is another
/// socket's it says EPERM, as it does to whoever lacks CAP_NET_ADMIN; but to those it
/// says so before it looks at the type of the message, which here is none of its own.
fn is_permitted(netlink: &mut Netlink) -> bool {
    let none = (libc::NFNL_SUBSYS_ULOG << 8 | 0xff) as u16;
    let answer = netlink.call(Request::new(none, &[0; 4]), || ());
    answer.is_err_and(|error| error.raw_os_error() != Some(libc::EPERM))
}

fn named(port: Option<u32>) -> String {
    port.map_or_else(String::new, |port| format!(" (netlink port {port})"))
}

/// The netlink port of the socket that receives a group.
fn receiver(group: u16) -> Option<u32> {
    // The thread's, whose network namespace need not be that of the process.
    let list = std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_log").ok()?;
    list.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let number: u16 = words.next()?.parse().ok()?;
        let port = words.next()?.parse().ok()?;
        (number == group).then_some(port)
    })
}
