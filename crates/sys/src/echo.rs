//! Sockets that send ICMPv6 echo requests: a ping socket where the kernel permits
//! one, a raw socket otherwise.
//!
//! The socket is never connected: a raw socket that is would not see a reply from
//! another address, and that reply is what is asked for.

use core::mem::{MaybeUninit, size_of};
use core::net::Ipv6Addr;
use core::time::Duration;

use crate::clock::boottime;
use crate::fd::Fd;
use crate::interrupt::HeldSignals;
use crate::route::Origin;
use crate::socket::local_address;
use crate::syscall::{Errno, syscall};

const ICMP6_FILTER: i32 = 1;
const ECHO_REPLY: usize = 129;
const SO_BINDTOIFINDEX: i32 = 62;

/// Which socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A ping socket: the kernel chooses the identifier, and delivers only what
    /// has it.
    Ping,
    /// A raw socket: the identifier is ours.
    Raw,
}

impl Kind {
    /// The name in diagnostics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping socket",
            Kind::Raw => "raw socket",
        }
    }
}

/// A socket for echo requests and replies.
#[derive(Debug)]
pub struct EchoSocket {
    fd: Fd,
    kind: Kind,
}

/// Something that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// So many octets of an ICMPv6 message from there.
    Message(usize, Ipv6Addr),
    /// The kernel has been told, or knows, that the destination is unreachable.
    Unreachable,
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

impl EchoSocket {
    /// Opens a ping socket, or a raw socket where that is not permitted, with what
    /// `origin` fixes.
    ///
    /// # Errors
    /// What the kernel says about the last attempt: `EPERM` or `EACCES` where
    /// neither is permitted.
    pub fn open(origin: &Origin) -> Result<Self, Errno> {
        match Self::open_kind(Kind::Ping, origin, 0) {
            Err(_) => Self::open_kind(Kind::Raw, origin, 0),
            opened => opened,
        }
    }

    /// Opens a socket of one kind; a ping socket with the identifier that it is to
    /// have, where that is not 0 and is free.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open_kind(kind: Kind, origin: &Origin, ident: u16) -> Result<Self, Errno> {
        let kind_flag = match kind {
            Kind::Ping => libc::SOCK_DGRAM,
            Kind::Raw => libc::SOCK_RAW,
        };
        let flags = (kind_flag | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as usize;
        let protocol = libc::IPPROTO_ICMPV6 as usize;
        // SAFETY: no pointers.
        let number = unsafe {
            syscall(
                libc::SYS_socket,
                [libc::AF_INET6 as usize, flags, protocol, 0, 0, 0],
            )
        }?;
        let socket = Self {
            fd: Fd::adopt(number)?,
            kind,
        };
        if kind == Kind::Raw {
            let mut filter = [u32::MAX; 8];
            filter[ECHO_REPLY >> 5] &= !(1 << (ECHO_REPLY & 31));
            socket.set(libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter)?;
        }
        socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &1i32)?;
        if origin.mark != 0 {
            socket.set(libc::SOL_SOCKET, libc::SO_MARK, &origin.mark)?;
        }
        if origin.interface != 0 {
            socket.set(libc::SOL_SOCKET, SO_BINDTOIFINDEX, &origin.interface)?;
        }
        let ident = if kind == Kind::Ping { ident } else { 0 };
        let source = origin.source.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let bound = ident != 0 && socket.bind(source, ident).is_ok();
        if !bound && origin.source.is_some() {
            socket.bind(source, 0)?;
        }
        Ok(socket)
    }

    /// The identifier of a ping socket that has sent; 0 where there is none.
    #[must_use]
    pub fn ident(&self) -> u16 {
        match (self.kind, local_address(self.fd.number())) {
            (Kind::Ping, Ok(name)) => u16::from_be(name.sin6_port),
            _ => 0,
        }
    }

    /// Which socket it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn set<T>(&self, level: i32, name: i32, value: &T) -> Result<(), Errno> {
        let from = core::ptr::from_ref(value) as usize;
        let fd = self.fd.number() as usize;
        let arguments = [fd, level as usize, name as usize, from, size_of::<T>(), 0];
        // SAFETY: the pointer and the length are those of a value.
        unsafe { syscall(libc::SYS_setsockopt, arguments) }.map(drop)
    }

    fn bind(&self, source: Ipv6Addr, ident: u16) -> Result<(), Errno> {
        let mut name = socket_name(source, 0);
        name.sin6_port = ident.to_be();
        let from = (&raw const name) as usize;
        let len = size_of::<libc::sockaddr_in6>();
        // SAFETY: the pointer and the length are those of an address.
        unsafe {
            syscall(
                libc::SYS_bind,
                [self.fd.number() as usize, from, len, 0, 0, 0],
            )
        }
        .map(drop)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// What sendto(2) says.
    pub fn send(&self, to: Ipv6Addr, scope: u32, message: &[u8]) -> Result<(), Errno> {
        let name = socket_name(to, scope);
        let fd = self.fd.number() as usize;
        let (from, len) = ((&raw const name) as usize, size_of::<libc::sockaddr_in6>());
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
        let arguments = [
            fd,
            message.as_ptr() as usize,
            message.len(),
            flags,
            from,
            len,
        ];
        // SAFETY: the pointers and lengths are those of a slice and of an address.
        unsafe { syscall(libc::SYS_sendto, arguments) }.map(drop)
    }

    /// Takes what has come in.
    ///
    /// # Errors
    /// What recvfrom(2) says, but for what [`Incoming`] has a case for.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Incoming, Errno> {
        let mut name = MaybeUninit::<libc::sockaddr_in6>::zeroed();
        let mut len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        let fd = self.fd.number() as usize;
        let (to, len) = (name.as_mut_ptr() as usize, (&raw mut len) as usize);
        let flags = libc::MSG_DONTWAIT as usize;
        let arguments = [
            fd,
            buffer.as_mut_ptr() as usize,
            buffer.len(),
            flags,
            to,
            len,
        ];
        // SAFETY: the pointers and lengths are those of a slice and of room for an
        // address; what the kernel does not write stays zero.
        let (count, name) = unsafe {
            let count = syscall(libc::SYS_recvfrom, arguments);
            (count, name.assume_init())
        };
        match count {
            Ok(count) => Ok(Incoming::Message(
                count,
                Ipv6Addr::from(name.sin6_addr.s6_addr),
            )),
            Err(Errno(libc::EAGAIN)) => Ok(self.take_error()),
            Err(Errno(libc::EINTR)) => Ok(Incoming::Nothing),
            Err(Errno(
                libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ECONNREFUSED | libc::EACCES,
            )) => {
                self.take_error();
                Ok(Incoming::Unreachable)
            }
            Err(error) => Err(error),
        }
    }

    /// Empties the error queue.
    fn take_error(&self) -> Incoming {
        let mut octets = [0u8; 64];
        let mut control = [0u64; 16];
        let mut vector = libc::iovec {
            iov_base: octets.as_mut_ptr().cast(),
            iov_len: octets.len(),
        };
        let mut found = Incoming::Nothing;
        for _ in 0..8 {
            // SAFETY: zeros are an empty message header.
            let mut header: libc::msghdr = unsafe { core::mem::zeroed() };
            header.msg_iov = &raw mut vector;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; 16]>();
            let flags = (libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) as usize;
            let to = (&raw mut header) as usize;
            let arguments = [self.fd.number() as usize, to, flags, 0, 0, 0];
            // SAFETY: the header describes room that is there.
            if unsafe { syscall(libc::SYS_recvmsg, arguments) }.is_err() {
                break;
            }
            found = Incoming::Unreachable;
        }
        found
    }

    /// Waits until something comes in or a signal does, but not beyond `until`.
    ///
    /// # Errors
    /// What ppoll(2) says, but for `EINTR`.
    pub fn wait(&self, until: Duration, signals: &HeldSignals) -> Result<Waited, Errno> {
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // A negative descriptor is passed over.
        let mut fds = [entry(self.fd.number()), entry(signals.watch())];
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
                Ok(_) if fds[0].revents != 0 => return Ok(Waited::Ready),
                Ok(_) => return Ok(Waited::Signal),
                // A signal whose handler was installed a moment ago.
                Err(Errno(libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn socket_name(address: Ipv6Addr, scope: u32) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        sin6_scope_id: scope,
    }
}
