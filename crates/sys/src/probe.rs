//! Sockets that probe: a ping socket or a raw one for echo requests, a UDP socket
//! for `unreach`.
//!
//! None is ever connected: a raw socket that is would not see a reply from another
//! address, and that reply is what is asked for; and one socket asks many addresses.
//! All report ICMPv6 errors (`IPV6_RECVERR`), with what they quote.

use core::mem::{MaybeUninit, size_of};
use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::probing::IcmpError;
use aarp_core::resolution::METHODS;
use aarp_wire::errqueue::{self, QueuedError};

use crate::clock::boottime;
use crate::fd::Fd;
use crate::interrupt::HeldSignals;
use crate::route::Origin;
use crate::socket::local_address;
use crate::syscall::{Errno, syscall};

const ICMP6_FILTER: i32 = 1;
const ECHO_REPLY: usize = 129;
const SO_BINDTOIFINDEX: i32 = 62;
/// As in <linux/in6.h>: `sin6_flowinfo` of a destination is heeded.
const IPV6_FLOWINFO_SEND: i32 = 33;
/// Room for the error of the kernel's, and for other control messages, of which
/// none was asked for.
const CONTROL: usize = 2 * errqueue::LEN;

/// Which socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A ping socket: the kernel chooses the identifier, and delivers only what
    /// has it.
    Ping,
    /// A raw socket: the identifier is ours.
    Raw,
    /// A UDP socket.
    Udp,
}

impl Kind {
    /// The name in diagnostics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping socket",
            Kind::Raw => "raw socket",
            Kind::Udp => "udp socket",
        }
    }
}

/// A socket that probes.
#[derive(Debug)]
pub struct ProbeSocket {
    fd: Fd,
    kind: Kind,
}

/// Something that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received<'b> {
    /// A message of the socket's protocol, and its source.
    Message(&'b [u8], Ipv6Addr),
    /// An ICMPv6 error, and who sent it.
    Error(IcmpError<'b>, Ipv6Addr),
    /// Something that says nothing about a probe.
    Other,
    /// Nothing more.
    Nothing,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// Something came in.
    Ready,
    /// The time is over.
    TimedOut,
    /// A signal is being held back.
    Signal,
}

impl ProbeSocket {
    /// Opens a ping socket, or a raw socket where that is not permitted, with what
    /// `origin` fixes.
    ///
    /// # Errors
    /// What the kernel says about the last attempt: `EPERM` or `EACCES` where
    /// neither is permitted.
    pub fn for_echo(origin: &Origin) -> Result<Self, Errno> {
        match Self::open(Kind::Ping, origin, 0) {
            Err(_) => Self::open(Kind::Raw, origin, 0),
            opened => opened,
        }
    }

    /// Opens a socket of one kind; with the port (of a ping socket: the identifier)
    /// that it is to have, where that is not 0 and is free.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(kind: Kind, origin: &Origin, port: u16) -> Result<Self, Errno> {
        let (kind_flag, protocol) = match kind {
            Kind::Ping => (libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
            Kind::Raw => (libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
            Kind::Udp => (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        };
        let flags = (kind_flag | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as usize;
        let arguments = [libc::AF_INET6 as usize, flags, protocol as usize, 0, 0, 0];
        // SAFETY: no pointers.
        let open = || unsafe { syscall(libc::SYS_socket, arguments) };
        let socket = Self {
            fd: Fd::open_high(open)?,
            kind,
        };
        match kind {
            Kind::Ping => {}
            Kind::Raw => {
                let mut filter = [u32::MAX; 8];
                filter[ECHO_REPLY >> 5] &= !(1 << (ECHO_REPLY & 31));
                socket.set(libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter)?;
            }
            // Its port is none of IPv4's.
            Kind::Udp => socket.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1i32)?,
        }
        socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &1i32)?;
        if origin.flow_label != 0 {
            socket.set(libc::IPPROTO_IPV6, IPV6_FLOWINFO_SEND, &1i32)?;
        }
        if origin.mark != 0 {
            socket.set(libc::SOL_SOCKET, libc::SO_MARK, &origin.mark)?;
        }
        if origin.interface != 0 {
            socket.set(libc::SOL_SOCKET, SO_BINDTOIFINDEX, &origin.interface)?;
        }
        let port = if kind == Kind::Raw { 0 } else { port };
        let source = origin.source.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let bound = port != 0 && socket.bind(source, port).is_ok();
        if !bound && origin.source.is_some() {
            socket.bind(source, 0)?;
        }
        Ok(socket)
    }

    /// The port, or identifier, of a socket that has sent; 0 where there is none.
    #[must_use]
    pub fn port(&self) -> u16 {
        match (self.kind, self.fd.using(local_address)) {
            (Kind::Ping | Kind::Udp, Ok(name)) => u16::from_be(name.sin6_port),
            _ => 0,
        }
    }

    /// Whether its number is still ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.fd.is_ours()
    }

    /// Which socket it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn set<T>(&self, level: i32, name: i32, value: &T) -> Result<(), Errno> {
        let from = core::ptr::from_ref(value) as usize;
        let (level, name) = (level as usize, name as usize);
        self.fd.using(|fd| {
            let arguments = [fd as usize, level, name, from, size_of::<T>(), 0];
            // SAFETY: the pointer and the length are those of a value.
            unsafe { syscall(libc::SYS_setsockopt, arguments) }.map(drop)
        })
    }

    fn bind(&self, source: Ipv6Addr, port: u16) -> Result<(), Errno> {
        let name = socket_name(source, port, 0, 0);
        let (from, len) = ((&raw const name) as usize, size_of::<libc::sockaddr_in6>());
        self.fd.using(|fd| {
            // SAFETY: the pointer and the length are those of an address.
            unsafe { syscall(libc::SYS_bind, [fd as usize, from, len, 0, 0, 0]) }.map(drop)
        })
    }

    /// Sends a message to a port (0 but for UDP) of `to`, in its scope, with the
    /// flow label that `origin` fixes.
    ///
    /// # Errors
    /// What sendto(2) says; that may also be an error about something sent earlier,
    /// which this call then has cleared.
    pub fn send(
        &self,
        (to, port, scope): (Ipv6Addr, u16, u32),
        origin: &Origin,
        message: &[u8],
    ) -> Result<(), Errno> {
        let name = socket_name(to, port, scope, origin.flow_label);
        let (from, len) = ((&raw const name) as usize, size_of::<libc::sockaddr_in6>());
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
        let octets = message.as_ptr() as usize;
        self.fd.using(|fd| {
            let arguments = [fd as usize, octets, message.len(), flags, from, len];
            // SAFETY: the pointers and lengths are those of a slice and of an address.
            unsafe { syscall(libc::SYS_sendto, arguments) }.map(drop)
        })
    }

    /// Takes the next that has come in: messages first, then errors. What does not
    /// fit `buffer` is cut off.
    ///
    /// # Errors
    /// What recvmsg(2) says, but for what [`Received`] has a case for.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<Received<'b>, Errno> {
        match self.receive_with(0, buffer, &mut []) {
            Ok((count, name, _)) => {
                let source = Ipv6Addr::from(name.sin6_addr.s6_addr);
                return Ok(Received::Message(&buffer[..count], source));
            }
            Err(Errno(libc::EAGAIN)) => {}
            Err(Errno(libc::EINTR)) => return Ok(Received::Other),
            // What an error of the queue has left behind: it is told once, here or
            // when something is sent.
            Err(errno) if is_from_icmp(errno) => {}
            Err(errno) => return Err(errno),
        }
        let mut control = [0u64; CONTROL.div_ceil(8)];
        let (count, name, control) =
            match self.receive_with(libc::MSG_ERRQUEUE, buffer, &mut control) {
                Ok(received) => received,
                Err(Errno(libc::EAGAIN)) => return Ok(Received::Nothing),
                Err(Errno(libc::EINTR)) => return Ok(Received::Other),
                Err(errno) => return Err(errno),
            };
        Ok(match QueuedError::parse(control) {
            Ok(QueuedError {
                origin: errqueue::ORIGIN_ICMP6,
                message_type,
                code,
                offender: Some(offender),
                ..
            }) => {
                let error = IcmpError {
                    message_type,
                    code,
                    destination: Ipv6Addr::from(name.sin6_addr.s6_addr),
                    port: u16::from_be(name.sin6_port),
                    quote: &buffer[..count],
                };
                Received::Error(error, offender)
            }
            _ => Received::Other,
        })
    }

    /// recvmsg(2): octets received, the address, and the control messages.
    fn receive_with<'c>(
        &self,
        flags: i32,
        buffer: &mut [u8],
        control: &'c mut [u64],
    ) -> Result<(usize, libc::sockaddr_in6, &'c [u8]), Errno> {
        let mut name = MaybeUninit::<libc::sockaddr_in6>::zeroed();
        let mut vector = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: zeros are an empty message header.
        let mut header: libc::msghdr = unsafe { core::mem::zeroed() };
        header.msg_name = name.as_mut_ptr().cast();
        header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        let room = size_of_val(control);
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = room as _;
        let flags = (flags | libc::MSG_DONTWAIT) as usize;
        let to = (&raw mut header) as usize;
        let count = self.fd.using(|fd| {
            // SAFETY: the header describes room that is there.
            unsafe { syscall(libc::SYS_recvmsg, [fd as usize, to, flags, 0, 0, 0]) }
        })?;
        // SAFETY: what the kernel does not write of the address stays zero.
        let name = unsafe { name.assume_init() };
        let told = room.min(header.msg_controllen as usize);
        // SAFETY: within the control messages' room, whose octets are all written.
        let control = unsafe { core::slice::from_raw_parts(control.as_ptr().cast(), told) };
        Ok((count.min(buffer.len()), name, control))
    }
}

/// For a program that waits for more than this.
#[cfg(feature = "std")]
impl std::os::fd::AsFd for ProbeSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the kernel makes this of an ICMPv6 error.
#[must_use]
pub fn is_from_icmp(errno: Errno) -> bool {
    matches!(
        errno.0,
        libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::EACCES
            | libc::ECONNREFUSED
            | libc::EPROTO
            | libc::EMSGSIZE
    )
}

/// Waits until something comes in on one of the sockets or a signal does, but not
/// beyond `until`.
///
/// # Errors
/// What ppoll(2) says, but for `EINTR`.
pub fn wait(
    sockets: &[Option<ProbeSocket>; METHODS],
    until: Duration,
    signals: &HeldSignals,
) -> Result<Waited, Errno> {
    let entry = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // A negative descriptor is passed over.
    let number = |socket: &Option<ProbeSocket>| socket.as_ref().map_or(-1, |s| s.fd.number());
    let mut fds = [entry(signals.watch()); METHODS + 1];
    for (entry_of, socket) in fds.iter_mut().zip(sockets) {
        *entry_of = entry(number(socket));
    }
    loop {
        let left = until.saturating_sub(boottime());
        if left.is_zero() {
            return Ok(Waited::TimedOut);
        }
        let left = libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: left.subsec_nanos().into(),
        };
        let (polled, time) = (fds.as_mut_ptr() as usize, (&raw const left) as usize);
        // SAFETY: the pointers are those of an array and of a time.
        match unsafe { syscall(libc::SYS_ppoll, [polled, fds.len(), time, 0, 0, 0]) } {
            Ok(0) => {}
            // An answer that is there is taken, whatever else has come.
            Ok(_) if fds[..METHODS].iter().any(|entry| entry.revents != 0) => {
                return Ok(Waited::Ready);
            }
            Ok(_) => return Ok(Waited::Signal),
            // A signal whose handler was installed a moment ago.
            Err(Errno(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
}

fn socket_name(address: Ipv6Addr, port: u16, scope: u32, flow_label: u32) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: port.to_be(),
        sin6_flowinfo: (flow_label & 0xf_ffff).to_be(),
        sin6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        sin6_scope_id: scope,
    }
}
