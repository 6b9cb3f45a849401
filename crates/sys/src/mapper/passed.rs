//! Sockets that go from one program to another: the daemon is told whose they are by who
//! has them, and asked by who gets them.
//!
//! Neither call waits for anybody natively, so that signals are held back here for as long
//! as it takes, and no longer than the caller says.

use core::time::Duration;

use aarp_wire::mapper::{Code, Message, Peer};

use super::{Daemon, DaemonError, Fd, GLANCE, HeldSignals, Interruptible, ROOM};
use super::{dial, is_halted, receive, send};
use crate::clock::boottime;
use crate::syscall::{Errno, syscall};

fn hold() -> Result<HeldSignals, DaemonError> {
    let held = HeldSignals::hold(Interruptible::Never);
    held.map_err(|errno| DaemonError::System("signal mask", errno))
}

/// Tells the daemon of sockets, each with a descriptor of the program's, which `told` gets
/// when it was sent; and waits until it has heard of all, at most until `until`, by
/// `CLOCK_BOOTTIME`.
///
/// # Errors
/// Why it may not have heard of all; [`DaemonError::Late`] where the time was over.
pub fn tell(
    daemon: &Daemon<'_>,
    sockets: &mut dyn Iterator<Item = (i32, Peer)>,
    told: &dyn Fn(i32),
    until: Duration,
) -> Result<(), DaemonError> {
    let _signals = hold()?;
    let socket = dial(daemon)?;
    let mut last = 0;
    for (fd, peer) in sockets {
        last += 1;
        send(&socket, &Message::Socket(peer), last)?;
        told(fd);
    }
    // It answers in the order in which it hears.
    let mut room = [0; ROOM];
    for _ in 0..last {
        match hear(&socket, &mut room, until)? {
            (id, Message::Done(_) | Message::Error(..)) if id == last => break,
            (_, Message::Done(_) | Message::Error(..)) => {}
            _ => return Err(DaemonError::Nonsense),
        }
    }
    Ok(())
}

/// Asks the daemon what it was told about the socket with this cookie, and waits for the
/// answer at most until `until`, by `CLOCK_BOOTTIME`.
///
/// # Errors
/// Why it does not say; [`DaemonError::Late`] where the time was over, or it declines now.
pub fn whose(
    daemon: &Daemon<'_>,
    cookie: u64,
    until: Duration,
) -> Result<Option<Peer>, DaemonError> {
    const ID: u32 = 1;
    let _signals = hold()?;
    let socket = dial(daemon)?;
    send(&socket, &Message::Whose(cookie), ID)?;
    let mut room = [0; ROOM];
    match hear(&socket, &mut room, until)? {
        (ID, Message::Peer(peer)) if peer.cookie == cookie => Ok(Some(peer)),
        (ID, Message::Error(Code::BUSY, _)) => Err(DaemonError::Late),
        (ID, Message::Error(..)) => Ok(None),
        _ => Err(DaemonError::Nonsense),
    }
}

/// The next thing that the daemon says.
fn hear<'r>(
    socket: &Fd,
    room: &'r mut [u8; ROOM],
    until: Duration,
) -> Result<(u32, Message<'r>), DaemonError> {
    let length = loop {
        if let Some(length) = receive(socket, room)? {
            break length;
        }
        let now = boottime();
        if now >= until {
            return Err(DaemonError::Late);
        }
        if is_halted() {
            return Err(DaemonError::Halted);
        }
        if !socket.is_ours() {
            return Err(DaemonError::System("unix socket", Errno(libc::EBADF)));
        }
        // Nothing wakes who waits when another thread takes the descriptor.
        wait(socket, (until - now).min(GLANCE))?;
    };
    let packet = room.get(..length).ok_or(DaemonError::Nonsense)?;
    Message::parse(packet).map_err(|_| DaemonError::Nonsense)
}

fn wait(socket: &Fd, most: Duration) -> Result<(), DaemonError> {
    let mut entry = libc::pollfd {
        fd: socket.number(),
        events: libc::POLLIN,
        revents: 0,
    };
    let most = libc::timespec {
        tv_sec: most.as_secs() as libc::time_t,
        tv_nsec: most.subsec_nanos().into(),
    };
    let (polled, time) = ((&raw mut entry) as usize, (&raw const most) as usize);
    // SAFETY: the pointers are those of an entry and of a time.
    match unsafe { syscall(libc::SYS_ppoll, [polled, 1, time, 0, 0, 0]) } {
        Ok(_) | Err(Errno(libc::EINTR)) => Ok(()),
        Err(errno) => Err(DaemonError::System("ppoll", errno)),
    }
}
