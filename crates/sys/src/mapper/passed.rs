//! Sockets that go from one program to another: the daemon is told whose they are by who
//! has them, and asked by who gets them.
//!
//! Neither call waits for anybody natively, so that signals are held back here for as long
//! as it takes, and no longer than the caller says: all of them, for to look which have
//! handlers would be most of what it costs.

use core::time::Duration;

use aarp_wire::mapper::{Code, Message, Peer};

use super::{AllHeld, Daemon, DaemonError, Fd, GLANCE, ROOM};
use super::{dial, is_halted, receive, send};
use crate::clock::boottime;
use crate::syscall::{Errno, syscall};

fn hold() -> Result<AllHeld, DaemonError> {
    AllHeld::hold().map_err(|errno| DaemonError::System("signal mask", errno))
}

/// Of so many sockets the daemon is told at a time.
pub const MOST: usize = 64;

/// Tells the daemon of sockets, of [`MOST`] at most, each with what `told` gets once the
/// daemon need not be told of it again; and waits until it has answered about all, at most
/// until `until`, by `CLOCK_BOOTTIME`.
///
/// What it refuses for now it is to be told of again. One that has not answered in time has
/// what it was sent, and reads it when it goes on, though nobody listens any more; unless it
/// refuses what comes, as it may the rest.
///
/// # Errors
/// Why it may not have heard of all; [`DaemonError::Late`] where the time was over, or it
/// declines now.
pub fn tell<T: Copy>(
    daemon: &Daemon<'_>,
    sockets: &mut dyn Iterator<Item = (T, Peer)>,
    told: &dyn Fn(T),
    until: Duration,
) -> Result<(), DaemonError> {
    let _signals = hold()?;
    let socket = dial(daemon)?;
    let mut awaited = [None; MOST];
    let mut sending = Ok(());
    for ((place, id), (what, peer)) in awaited.iter_mut().zip(1..).zip(sockets) {
        sending = send(&socket, &Message::Socket(peer), id);
        if sending.is_err() {
            break;
        }
        *place = Some(what);
    }
    let mut is_refused = false;
    let mut room = [0; ROOM];
    while awaited.iter().any(Option::is_some) {
        let (id, answer) = match hear(&socket, &mut room, until) {
            Err(DaemonError::Late) if !is_refused => {
                awaited.iter().flatten().for_each(|what| told(*what));
                return Err(DaemonError::Late);
            }
            heard => heard?,
        };
        let place = (id as usize).checked_sub(1);
        let place = place.and_then(|place| awaited.get_mut(place));
        match (place.and_then(Option::take), answer) {
            (Some(_), Message::Error(Code::BUSY, _)) => is_refused = true,
            // What it will never hear of it is not told again.
            (Some(what), Message::Done(_) | Message::Error(..)) => told(what),
            _ => return Err(DaemonError::Nonsense),
        }
    }
    sending?;
    if is_refused {
        return Err(DaemonError::Late);
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

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;
    use core::ptr::null_mut;
    use std::cell::RefCell;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::sync::mpsc::{Receiver, channel};
    use std::vec::Vec;

    use super::*;
    use crate::process::user;

    const DONE: Message<'static> = Message::Done(1);
    const BUSY: Message<'static> = Message::Error(Code::BUSY, "not now");
    const NEVER: Message<'static> = Message::Error(Code::NOT_PERMITTED, "never");
    const PATIENCE: Duration = Duration::from_secs(60);

    fn listening(path: &str) -> OwnedFd {
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0) };
        assert!(fd >= 0);
        // SAFETY: just made, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zero is a name.
        let mut name: libc::sockaddr_un = unsafe { core::mem::zeroed() };
        name.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, from) in name.sun_path.iter_mut().zip(path.as_bytes()) {
            *to = *from as libc::c_char;
        }
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: the pointer and the length are those of a name.
        let bound = unsafe { libc::bind(fd, (&raw const name).cast(), length) };
        assert_eq!(bound, 0);
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::listen(fd, 4) }, 0);
        socket
    }

    /// Hears of as many sockets as there are answers, which it gives, if any, to the first
    /// first; and says when it has, each time. What it returns is open.
    fn serve(listening: &OwnedFd, answers: &[Option<Message<'_>>], said: &dyn Fn()) -> OwnedFd {
        // SAFETY: nobody asks whose it is.
        let fd = unsafe { libc::accept(listening.as_raw_fd(), null_mut(), null_mut()) };
        assert!(fd >= 0);
        // SAFETY: just made, and nobody else's.
        let client = unsafe { OwnedFd::from_raw_fd(fd) };
        for answer in answers {
            let mut room = [0_u8; ROOM];
            // SAFETY: the pointer and the length are those of an array.
            let length = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), ROOM, 0) };
            let packet = &room[..usize::try_from(length).expect("a packet")];
            let (id, message) = Message::parse(packet).expect("a message");
            assert!(matches!(message, Message::Socket(peer) if peer.cookie == id.into()));
            if let Some(answer) = answer {
                let mut room = [0; ROOM];
                let packet = answer.emit(id, &mut room).expect("room");
                // SAFETY: the pointer and the length are those of a slice.
                let sent = unsafe { libc::send(fd, packet.as_ptr().cast(), packet.len(), 0) };
                assert_eq!(usize::try_from(sent), Ok(packet.len()));
            }
            said();
        }
        client
    }

    fn peer(cookie: u64) -> Peer {
        Peer {
            cookie,
            a: Ipv6Addr::LOCALHOST,
            u: Ipv6Addr::LOCALHOST,
            port: 1,
            protocol: 6,
        }
    }

    /// Tells of so many sockets a daemon that gives these answers, and then closes the
    /// connection, or leaves it; and of each when what was said before was answered. What
    /// came of it, and which need not be told of again.
    fn tell_of(
        count: u64,
        answers: &[Option<Message<'_>>],
        closes: bool,
        patience: Duration,
    ) -> (Result<(), DaemonError>, Vec<u64>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("aarpd.sock");
        let path = path.to_str().expect("a path of ours");
        let listening = listening(path);
        let told = RefCell::new(Vec::new());
        let outcome = std::thread::scope(|scope| {
            let (said, hears) = channel();
            let (ends, end): (_, Receiver<()>) = channel();
            scope.spawn(move || {
                // Nobody waits for the last.
                let say = || {
                    let _ = said.send(());
                };
                let client = serve(&listening, answers, &say);
                if !closes {
                    let _ = end.recv();
                }
                drop(client);
            });
            let mut sockets = (1..=count).map(|cookie| {
                if cookie > 1 {
                    hears.recv_timeout(PATIENCE).expect("an answer");
                }
                (cookie, peer(cookie))
            });
            let trusted = [user()];
            let daemon = Daemon {
                path,
                trusted: &trusted,
            };
            let until = boottime() + patience;
            let tell = |cookie| told.borrow_mut().push(cookie);
            let outcome = super::tell(&daemon, &mut sockets, &tell, until);
            drop(ends);
            outcome
        });
        (outcome, told.into_inner())
    }

    #[test]
    fn what_the_daemon_refuses_for_now_it_is_told_again() {
        let answers = [Some(DONE), Some(BUSY), Some(NEVER), Some(DONE)];
        let (outcome, told) = tell_of(4, &answers, false, PATIENCE);
        assert_eq!(outcome, Err(DaemonError::Late));
        assert_eq!(told, [1, 3, 4]);
    }

    #[test]
    fn a_daemon_that_is_late_has_what_it_was_sent() {
        let (outcome, told) = tell_of(3, &[Some(DONE), None, None], false, Duration::ZERO);
        assert_eq!(outcome, Err(DaemonError::Late));
        assert_eq!(told, [1, 2, 3]);
        // But not one that refuses what comes.
        let (outcome, told) = tell_of(3, &[Some(DONE), Some(BUSY), None], false, Duration::ZERO);
        assert_eq!(outcome, Err(DaemonError::Late));
        assert_eq!(told, [1]);
    }

    #[test]
    fn a_daemon_that_goes_has_heard_what_it_has_answered() {
        let (outcome, told) = tell_of(2, &[Some(DONE), None], true, PATIENCE);
        assert!(
            matches!(outcome, Err(DaemonError::Absent(_))),
            "{outcome:?}"
        );
        assert_eq!(told, [1]);
    }

    #[test]
    fn of_so_many_at_a_time() {
        let answers = [Some(DONE); MOST];
        let (outcome, told) = tell_of(MOST as u64 + 1, &answers, false, PATIENCE);
        assert_eq!(outcome, Ok(()));
        assert_eq!(told, (1..=MOST as u64).collect::<Vec<_>>());
    }
}
