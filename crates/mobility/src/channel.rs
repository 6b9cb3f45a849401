//! The channel for Mobility Headers: Binding Updates with a Home Address option come
//! to the agent, Binding Acknowledgements with a type 2 routing header to the
//! responder.
//!
//! A raw socket of protocol 135 sees neither where the kernel has no Mobile IPv6: the
//! kernel refuses the option and the routing header before it looks for a socket, and
//! sends a Parameter Problem. A rule at nftables' input hook comes before that: it
//! logs the packet to a group that this program reads (NFLOG), and drops it, so that
//! the kernel says nothing, with Mobile IPv6 or without. It runs after the host's own
//! filter, whose rules hold, and after IPsec. AF_PACKET would see the packets too,
//! but those that a filter drops as well, and of IPsec the outside.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};

use aarp_sys::batch::ReceiveBatch;
use aarp_sys::failed::Failed;
use aarp_sys::nflog::{Counters, Nflog, NflogError, Options};
use aarp_sys::raw6::{PacketBatch, RawSender};
use thiserror::Error;

/// Protocol number of the Mobility Header.
const MOBILITY: u8 = 135;
/// The first group that is tried; a group that is in use is passed over.
const GROUP: u16 = 0xaa70;
/// How many are tried.
const GROUPS: u16 = 64;
/// Messages that are received together.
const BATCH: usize = 64;
/// Room for packets that wait, in octets.
const BUFFER: usize = 4 << 20;
/// Room for an answer.
const ANSWER: usize = crate::sealed::ROOM;

/// Whose channel it is: on a host that is both, each gets what is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An agent's: everything but what agents send.
    Agent,
    /// A responder's: Binding Acknowledgements and Binding Errors.
    Responder,
}

impl Role {
    /// What becomes of its packets, by the type of the message (RFC 6275 §6.1): a
    /// header that is cut off before its type is the agent's, who counts it.
    const fn verdicts(self) -> [&'static str; 2] {
        match self {
            Self::Agent => ["mh type { 6, 7 } return", "log"],
            Self::Responder => ["mh type != { 6, 7 } return", "mh type { 6, 7 } log"],
        }
    }
}

/// A channel that cannot be opened.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The group of the log.
    #[error(transparent)]
    Log(#[from] NflogError),
    /// The raw socket.
    #[error(transparent)]
    Socket(#[from] Failed),
    /// The rules.
    #[error("nftables: {0}")]
    Rules(String),
}

/// An open channel. While it is, the kernel sees no Mobility Header to its address.
#[derive(Debug)]
pub struct Channel {
    nflog: Nflog,
    sender: RawSender,
    group: u16,
    role: Role,
    own: Vec<Ipv6Addr>,
    table: String,
}

/// Buffers of a channel.
pub struct Buffers {
    incoming: ReceiveBatch,
    outgoing: PacketBatch,
}

impl Buffers {
    /// Empty ones.
    #[must_use]
    pub fn new() -> Self {
        Self {
            incoming: Nflog::batch(BATCH),
            outgoing: PacketBatch::new(BATCH, ANSWER),
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

impl Channel {
    /// Opens the channel for packets to the addresses `own`; `table` is the name of
    /// the nft table that is to be applied: see [`Channel::rules`].
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(role: Role, own: &[Ipv6Addr], table: &str) -> Result<Self, ChannelError> {
        let options = Options {
            receive_buffer: Some(BUFFER),
            ..Options::default()
        };
        let mut group = GROUP;
        let nflog = loop {
            match Nflog::open(group, &options) {
                Err(NflogError::Busy { .. }) if group < GROUP + GROUPS => group += 1,
                opened => break opened?,
            }
        };
        Ok(Self {
            nflog,
            sender: RawSender::open(MOBILITY)?,
            group,
            role,
            own: own.to_vec(),
            table: table.to_owned(),
        })
    }

    /// Is for these addresses from now on, once the rules are applied again.
    pub fn set_own(&mut self, own: &[Ipv6Addr]) {
        self.own = own.to_vec();
    }

    /// The rules, as for `nft -f`; they replace those of an instance before.
    #[must_use]
    pub fn rules(&self) -> String {
        let (table, group) = (&self.table, self.group);
        let own: Vec<String> = self.own.iter().map(ToString::to_string).collect();
        // Without an address nothing is for us; the kernel knows no empty set.
        let (mut log, mut drop) = (String::new(), String::new());
        if !own.is_empty() {
            let packets = format!("ip6 daddr {{ {} }} meta l4proto {MOBILITY}", own.join(", "));
            let [others, ours] = self.role.verdicts();
            log = format!("\t\t{packets} {others}\n\t\t{packets} {ours} group {group}\n");
            drop = format!("\t\t{packets} drop\n");
        }
        // Priorities behind that of filters (0), so that what they drop is not logged;
        // and two, so that on a host that is agent and responder both log before
        // either drops.
        format!(
            "add table ip6 {table}\n\
             delete table ip6 {table}\n\
             table ip6 {table} {{\n\
             \tchain control {{\n\
             \t\ttype filter hook input priority filter + 10; policy accept;\n\
             {log}\
             \t}}\n\
             \tchain silence {{\n\
             \t\ttype filter hook input priority filter + 11; policy accept;\n\
             {drop}\
             \t}}\n\
             }}\n"
        )
    }

    /// Whether its rule is in what `nft list chain` has printed.
    #[must_use]
    pub fn is_in(&self, listed: &str) -> bool {
        self.own.is_empty() || listed.contains(&format!("log group {}", self.group))
    }

    /// What removes the rules.
    #[must_use]
    pub fn removal(&self) -> String {
        let table = &self.table;
        format!("add table ip6 {table}\ndelete table ip6 {table}\n")
    }

    /// The name of the table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Hands the packets that have come to `answer`, which may write one into the room
    /// it gets and return its octets; sends these. Returns how many came; when it is
    /// many there may be more.
    ///
    /// # Errors
    /// What the kernel says about receiving. An answer that the kernel does not take
    /// is told to `failed`.
    pub fn exchange(
        &mut self,
        buffers: &mut Buffers,
        mut answer: impl for<'r> FnMut(&[u8], &'r mut [u8; ANSWER]) -> Option<&'r [u8]>,
        mut failed: impl FnMut(&dyn std::error::Error),
    ) -> io::Result<usize> {
        let mut room = [0; ANSWER];
        let (sender, outgoing) = (&self.sender, &mut buffers.outgoing);
        let count = self.nflog.receive(&mut buffers.incoming, |logged| {
            let Some(octets) = answer(logged.packet, &mut room) else {
                return;
            };
            if outgoing.is_full() {
                sender.send(outgoing, |error| failed(&error));
            }
            if let Err(error) = outgoing.push(octets) {
                failed(&error);
            }
        })?;
        self.sender.send(outgoing, |error| failed(&error));
        Ok(count)
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, buffers: &mut Buffers, packet: &[u8]) -> Result<(), io::Error> {
        let pushed = buffers.outgoing.push(packet);
        pushed.map_err(io::Error::other)?;
        let mut result = Ok(());
        self.sender
            .send(&mut buffers.outgoing, |error| result = Err(error.source));
        result
    }

    /// What the log has counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.nflog.counters()
    }
}

impl AsFd for Channel {
    /// Readable when packets have come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.nflog.as_fd()
    }
}
