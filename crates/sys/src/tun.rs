//! TUN devices: an interface whose packets go to a program and come from it
//! (Documentation/networking/tuntap.rst of Linux).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use crate::descriptor::{check, open};
use crate::failed::Failed;
use crate::netlink::{Netlink, Request, attribute};

const DEVICE: &str = "/dev/net/tun";

/// Why there is no TUN device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The kernel has no TUN driver, or the container no device node.
    #[error("{DEVICE} is not there: load the module `tun`, or give the container that device: {0}")]
    NoDriver(io::Error),
    /// CAP_NET_ADMIN is missing, or the right to open the device node.
    #[error("TUN device {name}: not permitted, needs CAP_NET_ADMIN and {DEVICE}: {source}")]
    NotPermitted {
        /// The name asked for.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Another program has the device open.
    #[error("TUN device {name}: another program uses it: {source}")]
    Busy {
        /// The name asked for.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Something else.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// One queue of a TUN device. The device is gone when its last queue is closed.
#[derive(Debug)]
pub struct Tun {
    queue: OwnedFd,
    /// Asks about the interface; lives in the namespace in which it was opened.
    control: OwnedFd,
}

/// An ifreq for the interface of this name, or of this pattern.
fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zero is a valid ifreq.
    let mut ifreq: libc::ifreq = unsafe { core::mem::zeroed() };
    if name.len() >= ifreq.ifr_name.len() || name.bytes().any(|octet| octet == 0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(ifreq)
}

fn attach(queue: &OwnedFd, name: &str, multi_queue: bool) -> io::Result<()> {
    let mut ifreq = request(name)?;
    let queues = if multi_queue {
        libc::IFF_MULTI_QUEUE
    } else {
        0
    };
    ifreq.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | queues) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes an ifreq, which is alive.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETIFF, &raw mut ifreq) }).map(drop)
}

impl Tun {
    /// Makes a TUN device in the calling thread's network namespace, or takes over a
    /// persistent one that nobody uses. In `name` the kernel replaces `%d` by the
    /// first free number. The device is down. It gets no link-local address, so that
    /// the kernel does not send router solicitations into it.
    ///
    /// # Errors
    /// [`TunError`].
    pub fn open(name: &str) -> Result<Self, TunError> {
        let tun = Self::queue(name, false)?;
        tun.refuse_link_local()?;
        Ok(tun)
    }

    /// The same, and waits so long for one that another program uses to become free.
    /// What a killed program had started may hold its descriptors a moment longer than
    /// itself, until it has come to its own execve(2).
    ///
    /// # Errors
    /// [`TunError`]; `Busy` when that time is over.
    pub fn open_within(name: &str, within: Duration) -> Result<Self, TunError> {
        let deadline = Instant::now() + within;
        loop {
            match Self::open(name) {
                Err(TunError::Busy { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => return opened,
            }
        }
    }

    /// The same as [`Self::open`] with several queues (`IFF_MULTI_QUEUE`), over which the kernel spreads
    /// the flows; a packet may be given to the host by any of them. There is
    /// always one.
    ///
    /// # Errors
    /// [`TunError`].
    pub fn open_queues(name: &str, count: usize) -> Result<Vec<Self>, TunError> {
        let first = Self::queue(name, true)?;
        first.refuse_link_local()?;
        let name = first
            .name()
            .map_err(Failed::to("read the name of a TUN device"))?;
        let mut queues = vec![first];
        // Here and now, for a queue is looked for in the namespace of the thread
        // that opens it, and where there is none the kernel makes another device.
        for _ in 1..count {
            queues.push(Self::queue(&name, true)?);
        }
        Ok(queues)
    }

    fn refuse_link_local(&self) -> Result<(), Failed> {
        let told = || refuse_link_local(self.index()?);
        match told() {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(()),
            result => result.map_err(Failed::to(
                "switch link-local addresses off on a TUN device",
            )),
        }
    }

    fn queue(name: &str, multi_queue: bool) -> Result<Self, TunError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(DEVICE);
        let queue: OwnedFd = match file {
            Ok(file) => file.into(),
            Err(source) => {
                return Err(match source.raw_os_error() {
                    Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDriver(source),
                    _ => refused(name, source),
                });
            }
        };
        attach(&queue, name, multi_queue).map_err(|source| refused(name, source))?;
        let control = open(libc::AF_INET6, libc::SOCK_DGRAM, 0)
            .or_else(|_| open(libc::AF_UNIX, libc::SOCK_DGRAM, 0))
            .map_err(Failed::to("open a socket for a TUN device"))?;
        Ok(Self { queue, control })
    }

    /// The name that the interface has now.
    ///
    /// # Errors
    /// EBADFD when the device was deleted.
    pub fn name(&self) -> io::Result<String> {
        let mut ifreq = request("")?;
        // SAFETY: TUNGETIFF writes an ifreq, which is alive.
        check(unsafe { libc::ioctl(self.queue.as_raw_fd(), libc::TUNGETIFF, &raw mut ifreq) })?;
        let octets: Vec<u8> = ifreq
            .ifr_name
            .iter()
            .map(|&character| character as u8)
            .take_while(|&octet| octet != 0)
            .collect();
        String::from_utf8(octets).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// One ioctl about the interface.
    ///
    /// # Safety
    /// `number` takes an ifreq, and what `fill` puts there is valid for it.
    unsafe fn ioctl(
        &self,
        number: libc::c_ulong,
        fill: impl FnOnce(&mut libc::ifreq),
    ) -> io::Result<libc::ifreq> {
        let mut ifreq = request(&self.name()?)?;
        fill(&mut ifreq);
        // SAFETY: a live ifreq, filled as the caller promises.
        check(unsafe { libc::ioctl(self.control.as_raw_fd(), number as _, &raw mut ifreq) })?;
        Ok(ifreq)
    }

    /// The index of the interface.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn index(&self) -> io::Result<u32> {
        // SAFETY: SIOCGIFINDEX reads nothing but the name.
        let ifreq = unsafe { self.ioctl(libc::SIOCGIFINDEX as _, |_| {}) }?;
        // SAFETY: SIOCGIFINDEX has filled in this member.
        Ok(unsafe { ifreq.ifr_ifru.ifru_ifindex }.unsigned_abs())
    }

    /// The largest packet that the kernel hands out, in octets.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mtu(&self) -> io::Result<u32> {
        // SAFETY: SIOCGIFMTU reads nothing but the name.
        let ifreq = unsafe { self.ioctl(libc::SIOCGIFMTU as _, |_| {}) }?;
        // SAFETY: SIOCGIFMTU has filled in this member.
        Ok(unsafe { ifreq.ifr_ifru.ifru_mtu }.unsigned_abs())
    }

    /// Sets that, to 68..=65535; below 1280 the kernel takes IPv6 off the interface
    /// (RFC 8200, section 5).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_mtu(&self, octets: u32) -> io::Result<()> {
        let octets = libc::c_int::try_from(octets).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: SIOCSIFMTU reads the name and this member.
        unsafe {
            self.ioctl(libc::SIOCSIFMTU as _, |ifreq| {
                ifreq.ifr_ifru.ifru_mtu = octets
            })
        }
        .map(drop)
    }

    /// Brings the interface up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn up(&self) -> io::Result<()> {
        // SAFETY: SIOCGIFFLAGS reads nothing but the name.
        let ifreq = unsafe { self.ioctl(libc::SIOCGIFFLAGS as _, |_| {}) }?;
        // SAFETY: SIOCGIFFLAGS has filled in this member.
        let flags = unsafe { ifreq.ifr_ifru.ifru_flags } | libc::IFF_UP as libc::c_short;
        // SAFETY: SIOCSIFFLAGS reads the name and this member.
        unsafe {
            self.ioctl(libc::SIOCSIFFLAGS as _, |ifreq| {
                ifreq.ifr_ifru.ifru_flags = flags
            })
        }
        .map(drop)
    }

    /// Takes the next packet that the host sends through the device, without waiting;
    /// `None` when there is none. What does not fit `room` is cut off: room for the
    /// MTU is enough. The packet is IPv6 unless somebody gave the device IPv4 routes.
    ///
    /// # Errors
    /// What the kernel says: EBADFD when the device was deleted.
    pub fn receive<'b>(&self, room: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        loop {
            // SAFETY: octets of a live slice, with their number.
            let n =
                unsafe { libc::read(self.queue.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
            if n >= 0 {
                return Ok(Some(&room[..n.unsigned_abs()]));
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(None),
                _ => return Err(error),
            }
        }
    }

    /// Gives the host a packet as one that came in by the device.
    ///
    /// # Errors
    /// What the kernel says: EIO when the device is down, EINVAL for octets whose
    /// version is neither 4 nor 6.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        loop {
            // SAFETY: octets of a live slice, with their number.
            let n = unsafe {
                libc::write(self.queue.as_raw_fd(), packet.as_ptr().cast(), packet.len())
            };
            if n >= 0 {
                // It takes a packet whole or not at all.
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

fn refused(name: &str, source: io::Error) -> TunError {
    let name = name.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TunError::NotPermitted { name, source },
        Some(libc::EBUSY) => TunError::Busy { name, source },
        _ => TunError::Failed(Failed::new(format!("open the TUN device {name}"), source)),
    }
}

/// IN6_ADDR_GEN_MODE_NONE for the interface of this index.
fn refuse_link_local(index: u32) -> io::Result<()> {
    const IFLA_AF_SPEC: u16 = 26;
    const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
    const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
    let mode = attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    let family = attribute(libc::AF_INET6 as u16, &mode);
    // struct ifinfomsg: family, padding, type, index, flags, change.
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let request = Request::new(libc::RTM_SETLINK, &fixed).attribute(IFLA_AF_SPEC, &family);
    Netlink::open(libc::NETLINK_ROUTE)?.call(request, || ())
}
