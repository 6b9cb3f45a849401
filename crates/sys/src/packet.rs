//! Packet sockets (AF_PACKET) of the tools: received through a ring of memory
//! shared with the kernel, whose size needs no privilege beyond the socket's own.
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const BLOCK: usize = 1 << 16;

/// How much of each frame is kept, and how many frames wait for the reader.
#[derive(Clone, Copy, Debug)]
pub struct RingSize {
    /// Octets per slot, the kernel's header of about 66 octets included.
    pub slot: usize,
    /// Number of slots.
    pub slots: usize,
}

impl RingSize {
    /// Headers only: at least 184 octets of 65 536 frames, 16 MiB.
    pub const HEADERS: Self = Self {
        slot: 256,
        slots: 65_536,
    };
    /// Whole Ethernet frames without offloads: 16 384 of them, 32 MiB.
    pub const FRAMES: Self = Self {
        slot: 2048,
        slots: 16_384,
    };
    /// Whole super-segments of up to 64 KiB: 1024 of them, 68 MiB.
    pub const WHOLE: Self = Self {
        slot: 69_632,
        slots: 1024,
    };
}

/// One received frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What was kept of it, from the link-layer header on.
    pub data: &'a [u8],
    /// Its length on the wire.
    pub length: u32,
    /// When it was received, since the Unix epoch.
    pub time: Duration,
}

/// A packet socket on one interface.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    memory: *mut u8,
    length: usize,
    slot: usize,
    per_block: usize,
    block: usize,
    slots: usize,
    next: usize,
}

// SAFETY: the memory belongs to this value alone, and only `drain`, which takes
// it by exclusive reference, reads or writes it.
unsafe impl Send for Ring {}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads size_of::<T>() octets of a live value.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// The index of an interface of the calling thread's network namespace.
pub fn interface_index(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: a NUL-terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

impl Ring {
    /// Opens a ring on `interface` of the calling thread's network namespace; it
    /// receives from now on. `incoming` leaves out what this host itself sends.
    pub fn open(interface: &str, size: RingSize, incoming: bool) -> io::Result<Self> {
        let index = interface_index(interface)?;
        // SAFETY: plain arguments. Protocol 0: nothing is received before bind.
        let socket = check(unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0)
        })?;
        // SAFETY: just made, owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        set(
            &socket,
            libc::PACKET_VERSION,
            &libc::tpacket_versions::TPACKET_V2,
        )?;
        if incoming {
            const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
            set(&socket, PACKET_IGNORE_OUTGOING, &1)?;
        }
        let block = size.slot.max(BLOCK);
        let per_block = block / size.slot;
        let blocks = size.slots.div_ceil(per_block);
        let slots = blocks * per_block;
        let request = libc::tpacket_req {
            tp_block_size: block as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: size.slot as u32,
            tp_frame_nr: slots as u32,
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;
        let length = block * blocks;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ring = Self {
            socket,
            memory: memory.cast(),
            length,
            slot: size.slot,
            per_block,
            block,
            slots,
            next: 0,
        };
        let membership = libc::packet_mreq {
            mr_ifindex: index as i32,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(&ring.socket, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        ring.bind(index)?;
        Ok(ring)
    }

    fn bind(&self, index: u32) -> io::Result<()> {
        // SAFETY: all zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as i32;
        // SAFETY: a live sockaddr_ll and its size.
        check(unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        })
        .map(drop)
    }

    /// Hands every waiting frame to `take`, oldest first; returns their number.
    pub fn drain(&mut self, mut take: impl FnMut(Frame<'_>)) -> usize {
        for taken in 0..self.slots {
            let start = (self.next / self.per_block) * self.block
                + (self.next % self.per_block) * self.slot;
            // SAFETY: `start` + a slot lies inside the mapping.
            let slot = unsafe { self.memory.add(start) };
            // SAFETY: the slot begins with tp_status, aligned and alive as long as
            // the mapping; the kernel changes it atomically.
            let status = unsafe { AtomicU32::from_ptr(slot.cast()) };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return taken;
            }
            // SAFETY: with TP_STATUS_USER the slot is ours until given back below;
            // the header lies at its start.
            let header = unsafe { slot.cast::<libc::tpacket2_hdr>().read() };
            let offset = usize::from(header.tp_mac).min(self.slot);
            let kept = (header.tp_snaplen as usize).min(self.slot - offset);
            // SAFETY: inside the slot, which the kernel leaves alone for now.
            let data = unsafe { core::slice::from_raw_parts(slot.add(offset), kept) };
            take(Frame {
                data,
                length: header.tp_len,
                time: Duration::new(header.tp_sec.into(), header.tp_nsec),
            });
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % self.slots;
        }
        self.slots
    }

    /// How many frames were lost for want of room since this was last asked.
    pub fn dropped(&self) -> io::Result<u32> {
        // SAFETY: all zero is a valid tpacket_stats.
        let mut stats: libc::tpacket_stats = unsafe { core::mem::zeroed() };
        let mut length = size_of_val(&stats) as libc::socklen_t;
        // SAFETY: room for the structure, and its size.
        check(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        })?;
        Ok(stats.tp_drops)
    }

    /// The hardware address of the interface.
    pub fn hardware_address(&self) -> io::Result<[u8; 6]> {
        // SAFETY: all zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        let mut length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: room for the structure, and its size.
        check(unsafe {
            libc::getsockname(
                self.socket.as_raw_fd(),
                (&raw mut address).cast(),
                &raw mut length,
            )
        })?;
        let [a, b, c, d, e, f, ..] = address.sll_addr;
        Ok([a, b, c, d, e, f])
    }

    /// Takes a pending error, as of an interface that went down; without this
    /// the descriptor stays readable.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let mut error: libc::c_int = 0;
        let mut length = size_of_val(&error) as libc::socklen_t;
        // SAFETY: room for an int, and its size.
        check(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &raw mut length,
            )
        })?;
        Ok((error != 0).then(|| io::Error::from_raw_os_error(error)))
    }

    /// Sends one whole frame out of the interface.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads `frame.len()` octets.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped in `open`, not used afterwards.
        unsafe { libc::munmap(self.memory.cast(), self.length) };
    }
}

/// One ioctl about an interface of the calling thread's network namespace.
///
/// # Safety
/// `request` is one that takes an ifreq, and what `fill` puts there is valid for it.
unsafe fn interface_ioctl(
    interface: &str,
    request: libc::c_ulong,
    fill: impl FnOnce(&mut libc::ifreq),
) -> io::Result<libc::ifreq> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: plain arguments.
    let socket = check(unsafe { libc::socket(libc::AF_INET6, kind, 0) })?;
    // SAFETY: just made, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zero is a valid ifreq.
    let mut ifreq: libc::ifreq = unsafe { core::mem::zeroed() };
    if interface.len() >= ifreq.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    fill(&mut ifreq);
    // SAFETY: a live ifreq, filled as the caller promises.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw mut ifreq) })?;
    Ok(ifreq)
}

/// Whether an interface of the calling thread's network namespace is up and has
/// a carrier, and the kernel has taken note of it.
pub fn is_running(interface: &str) -> io::Result<bool> {
    // SAFETY: SIOCGIFFLAGS reads nothing but the name.
    let ifreq = unsafe { interface_ioctl(interface, libc::SIOCGIFFLAGS, |_| {})? };
    // SAFETY: SIOCGIFFLAGS has filled in this member.
    let flags = libc::c_int::from(unsafe { ifreq.ifr_ifru.ifru_flags });
    Ok(flags & libc::IFF_RUNNING != 0)
}

/// The hardware address of an Ethernet interface of the calling thread's network
/// namespace; `None` for one of another kind.
pub fn ethernet_address(interface: &str) -> io::Result<Option<[u8; 6]>> {
    // SAFETY: SIOCGIFHWADDR reads nothing but the name.
    let ifreq = unsafe { interface_ioctl(interface, libc::SIOCGIFHWADDR, |_| {})? };
    // SAFETY: SIOCGIFHWADDR has filled in this member.
    let hardware = unsafe { ifreq.ifr_ifru.ifru_hwaddr };
    let [a, b, c, d, e, f, ..] = hardware.sa_data.map(|octet| octet as u8);
    Ok((hardware.sa_family == libc::ARPHRD_ETHER).then_some([a, b, c, d, e, f]))
}

/// Switches segmentation, receive merging and checksum offload of an interface of
/// the calling thread's network namespace off, so that frames are as on a wire.
pub fn disable_offloads(interface: &str) -> io::Result<()> {
    const SET_RX_CHECKSUM: u32 = 0x15;
    const SET_TX_CHECKSUM: u32 = 0x17;
    const SET_TSO: u32 = 0x1f;
    const SET_GSO: u32 = 0x24;
    const SET_GRO: u32 = 0x2c;
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }
    for command in [SET_RX_CHECKSUM, SET_TX_CHECKSUM, SET_TSO, SET_GSO, SET_GRO] {
        let mut value = EthtoolValue { command, data: 0 };
        // SAFETY: SIOCETHTOOL reads and writes an ethtool_value, which outlives it.
        unsafe {
            interface_ioctl(interface, libc::SIOCETHTOOL, |ifreq| {
                ifreq.ifr_ifru.ifru_data = (&raw mut value).cast();
            })?
        };
    }
    Ok(())
}

/// Lets the calling thread's timeouts end within a microsecond of their time.
pub fn sharpen_timeouts() -> io::Result<()> {
    // SAFETY: plain arguments.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) }).map(drop)
}
