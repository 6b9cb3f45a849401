//! What a daemon waits for besides its packets: signals, and changes of the host's
//! addresses, links and nft rules.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// RTMGRP_LINK | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE (linux/rtnetlink.h).
const ROUTE_GROUPS: u32 = 0x1 | 0x100 | 0x400;
/// NFNLGRP_NFTABLES is group 7 (linux/netfilter/nfnetlink.h).
const NFT_GROUPS: u32 = 1 << (7 - 1);
/// Messages that are read before something else has its turn.
const MESSAGES: usize = 256;

/// The signals that end a daemon.
#[derive(Debug)]
pub struct Signals {
    stream: UnixStream,
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP and SIGQUIT from now on.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        let (stream, sender) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let last = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            let number = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&last), number)?;
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self { stream, last })
    }

    /// The signal that has come, if one has.
    pub fn pending(&mut self) -> Option<usize> {
        match self.stream.read(&mut [0; 16]) {
            Ok(n) if n > 0 => Some(self.last.load(Ordering::Relaxed)),
            _ => None,
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Changes of one kind.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Of links, addresses and routes, from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of_routes() -> io::Result<Self> {
        Self::listen(None, ROUTE_GROUPS)
    }

    /// Of nft rules, from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of_rules() -> io::Result<Self> {
        Self::listen(Some(NETFILTER), NFT_GROUPS)
    }

    fn listen(protocol: Option<rustix::net::Protocol>, groups: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self(socket))
    }

    /// Whether there were any since the last call. What it was does not matter, the
    /// host is looked at anew: so an overrun (ENOBUFS) is just another change.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn any(&self) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        let mut any = false;
        // Bounded: a flood must not keep us from everything else.
        for _ in 0..MESSAGES {
            match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                Ok(_) | Err(Errno::NOBUFS) => any = true,
                Err(Errno::INTR) => {}
                Err(error) if io::Error::from(error).kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(any)
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
