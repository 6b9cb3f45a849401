//! Asking aarpd, the Anycast Address Mapper of this host (seed 002), from inside somebody
//! else's process: a socket for as long as one call lasts, and signals held back while it
//! is open, as in [`crate::interrupt`].

use core::fmt;
use core::mem::{MaybeUninit, size_of};
use core::time::Duration;

use aarp_core::resolution::patience_with_others;
use aarp_wire::mapper::{Answer, Asked, Code, FIXED_MAX, Header, Message, Type};

use crate::ask::is_halted;
use crate::clock::boottime;
use crate::daemon::is_trusted;
use crate::fd::Fd;
use crate::interrupt::{AllHeld, HeldSignals, Interruptible};
use crate::syscall::{Errno, syscall};

pub mod passed;

/// The longest path of a unix socket, without its terminator.
pub const PATH_MAX: usize = 107;
/// How often it is looked whether the question may go on, as for those of our own.
const GLANCE: Duration = Duration::from_millis(20);
/// Room for an answer; the words of an error may be cut off.
const ROOM: usize = 256;

/// Where a daemon is, and whose it may be.
#[derive(Debug, Clone, Copy)]
pub struct Daemon<'p> {
    /// Its socket.
    pub path: &'p str,
    /// Users who are believed.
    pub trusted: &'p [u32],
}

/// What the daemon has said to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Nothing yet.
    None,
    /// What is known.
    Answer(Answer),
    /// Why it does not say.
    Refused(Code),
}

/// Why the daemon could not be asked, or not to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonError {
    /// There is none, or it is gone, or who calls may not come.
    Absent(Errno),
    /// It belongs to this user, who is not trusted.
    NotTrusted(u32),
    /// It serves another network namespace, as its table says.
    Foreign,
    /// So many wait that there is no room for one more.
    Busy,
    /// It has not answered in the time that there was for it, or has said that it will not
    /// now: which says nothing about how it answers others.
    Late,
    /// It has said something that means nothing.
    Nonsense,
    /// A signal came that interrupts the program's call.
    Interrupted,
    /// No system call may be made any more: see [`crate::ask::halt`].
    Halted,
    /// The named system call failed.
    System(&'static str, Errno),
}

impl DaemonError {
    /// Whether that is found without waiting for anybody.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        match self {
            // One that is gone was there.
            Self::Absent(Errno(errno)) => !matches!(*errno, libc::EPIPE | libc::ECONNRESET),
            Self::NotTrusted(_) | Self::Foreign => true,
            _ => false,
        }
    }
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(errno) => write!(f, "aarpd cannot be reached: {errno}"),
            Self::NotTrusted(uid) => write!(f, "aarpd belongs to user {uid}, who is not trusted"),
            Self::Foreign => f.write_str("aarpd serves another network namespace"),
            Self::Busy => f.write_str("aarpd is busy"),
            Self::Late => f.write_str("aarpd has not answered in time"),
            Self::Nonsense => f.write_str("aarpd says what means nothing"),
            Self::Interrupted => f.write_str("interrupted by a signal"),
            Self::Halted => f.write_str("no system call may be made any more"),
            Self::System(call, errno) => write!(f, "{call}: {errno}"),
        }
    }
}

impl core::error::Error for DaemonError {}

/// For how long replies are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// All of them, until the time is over.
    ForAll,
    /// Once there is one, the others not much longer: see [`patience_with_others`].
    ForMost,
}

/// Asks about each address, and waits for the replies until `until`, by
/// `CLOCK_BOOTTIME`; what is not said by then is [`Reply::None`]. There are as many
/// replies as questions.
///
/// # Errors
/// Why not all were answered; what was said before is in `replies`.
pub fn resolve(
    daemon: &Daemon<'_>,
    questions: &[Asked],
    replies: &mut [Reply],
    until: Duration,
    waiting: Waiting,
    interruptible: Interruptible,
) -> Result<(), DaemonError> {
    replies.fill(Reply::None);
    let began = boottime();
    let mut conversation = Conversation {
        questions,
        replies,
        began,
        until,
        waiting,
    };
    loop {
        // Dropped after the socket: see the module `interrupt`.
        let signals = HeldSignals::hold(interruptible)
            .map_err(|errno| DaemonError::System("signal mask", errno))?;
        let socket = dial(daemon)?;
        if conversation.hold(&socket, &signals)? {
            return Ok(());
        }
        if signals.interrupts() {
            return Err(DaemonError::Interrupted);
        }
        // Here it is closed, and then the handlers run. To ask once more costs the
        // daemon nothing: it is asking already.
    }
}

/// Tells the daemon something that it does not answer. Waits for nobody.
///
/// # Errors
/// Why it could not be told.
pub fn tell(daemon: &Daemon<'_>, message: &Message<'_>) -> Result<(), DaemonError> {
    let _signals = AllHeld::hold().map_err(|errno| DaemonError::System("signal mask", errno))?;
    send(&dial(daemon)?, message, 0)
}

struct Conversation<'q, 'r> {
    questions: &'q [Asked],
    replies: &'r mut [Reply],
    began: Duration,
    until: Duration,
    waiting: Waiting,
}

impl Conversation<'_, '_> {
    /// Asks what is not answered, and hears. Whether it is over; otherwise a signal is
    /// being held back.
    fn hold(&mut self, socket: &Fd, signals: &HeldSignals) -> Result<bool, DaemonError> {
        for (at, (asked, reply)) in self.questions.iter().zip(&*self.replies).enumerate() {
            if *reply == Reply::None {
                send(socket, &Message::Resolve(*asked), at as u32)?;
            }
        }
        while self.replies.contains(&Reply::None) {
            if is_halted() {
                return Err(DaemonError::Halted);
            }
            if !socket.is_ours() {
                return Err(DaemonError::System("unix socket", Errno(libc::EBADF)));
            }
            let now = boottime();
            if now >= self.until {
                break;
            }
            // Nothing wakes who waits when another thread takes the descriptor.
            match wait(socket, signals, (self.until - now).min(GLANCE))? {
                Ready::Socket => self.hear(socket)?,
                Ready::Signal => return Ok(false),
                Ready::Nothing => {}
            }
        }
        Ok(true)
    }

    /// Takes what has been said: one reply to a question, and nothing else, so that nobody
    /// is held by one who goes on talking.
    fn hear(&mut self, socket: &Fd) -> Result<(), DaemonError> {
        let mut room = [0; ROOM];
        while let Some(length) = receive(socket, &mut room)? {
            let packet = &room[..length.min(ROOM)];
            let (id, reply) = understood(packet).ok_or(DaemonError::Nonsense)?;
            let at = id as usize;
            let asked = self.questions.get(at).ok_or(DaemonError::Nonsense)?;
            if let Reply::Answer(answer) = reply
                && answer.a != asked.a
            {
                return Err(DaemonError::Nonsense);
            }
            if self.replies[at] != Reply::None {
                return Err(DaemonError::Nonsense);
            }
            self.replies[at] = reply;
            if self.waiting == Waiting::ForMost && matches!(reply, Reply::Answer(_)) {
                let now = boottime();
                let patience = patience_with_others(now.saturating_sub(self.began));
                self.until = self.until.min(now + patience);
                self.waiting = Waiting::ForAll;
            }
            if !self.replies.contains(&Reply::None) {
                break;
            }
        }
        Ok(())
    }
}

/// What a packet of the daemon's says to which question; `None` for what is no reply.
#[must_use]
pub fn understood(packet: &[u8]) -> Option<(u32, Reply)> {
    match Message::parse(packet) {
        Ok((id, Message::Mapping(answer))) => Some((id, Reply::Answer(answer))),
        Ok((id, Message::Error(code, _))) => Some((id, Reply::Refused(code))),
        Ok(_) => None,
        // An error whose words did not fit: the code stands before them.
        Err(_) => {
            let whole = packet.get(6..8)?;
            let length = usize::from(u16::from_le_bytes([whole[0], whole[1]]));
            if packet.len() != ROOM || length <= ROOM {
                return None;
            }
            let mut head = [0; ROOM];
            head.copy_from_slice(packet);
            head[6..8].copy_from_slice(&(ROOM as u16).to_le_bytes());
            let header = Header::parse(&head).ok()?;
            let code = head.get(12..16)?;
            (header.number == Type::Error as u8).then(|| {
                let code = u32::from_le_bytes([code[0], code[1], code[2], code[3]]);
                (header.id, Reply::Refused(Code(code)))
            })
        }
    }
}

/// Connects, without waiting, to a daemon that is trusted.
fn dial(daemon: &Daemon<'_>) -> Result<Fd, DaemonError> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let arguments = [libc::AF_UNIX as usize, kind as usize, 0, 0, 0, 0];
    // SAFETY: no pointers.
    let open = || unsafe { syscall(libc::SYS_socket, arguments) };
    let socket = Fd::open_high(open).map_err(|errno| DaemonError::System("unix socket", errno))?;
    let mut name = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; PATH_MAX + 1],
    };
    let path = daemon.path.as_bytes();
    if path.len() > PATH_MAX {
        return Err(DaemonError::Absent(Errno(libc::ENAMETOOLONG)));
    }
    for (to, from) in name.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    let (to, length) = ((&raw const name) as usize, size_of::<libc::sockaddr_un>());
    let connected = socket.using(|fd| {
        // SAFETY: the pointer and the length are those of a name.
        unsafe { syscall(libc::SYS_connect, [fd as usize, to, length, 0, 0, 0]) }
    });
    match connected {
        Ok(_) => {}
        Err(Errno(libc::EAGAIN)) => return Err(DaemonError::Busy),
        Err(errno) => return Err(DaemonError::Absent(errno)),
    }
    let owner = owner(&socket).map_err(|errno| DaemonError::System("SO_PEERCRED", errno))?;
    if !is_trusted(owner, daemon.trusted) {
        return Err(DaemonError::NotTrusted(owner));
    }
    Ok(socket)
}

/// As whom the daemon began to listen.
fn owner(socket: &Fd) -> Result<u32, Errno> {
    let mut found = MaybeUninit::<libc::ucred>::zeroed();
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (to, room) = (found.as_mut_ptr() as usize, (&raw mut length) as usize);
    let (level, option) = (libc::SOL_SOCKET as usize, libc::SO_PEERCRED as usize);
    socket.using(|fd| {
        let arguments = [fd as usize, level, option, to, room, 0];
        // SAFETY: there is room for as many octets as the length says.
        unsafe { syscall(libc::SYS_getsockopt, arguments) }
    })?;
    // SAFETY: filled, and all zero before.
    Ok(unsafe { found.assume_init() }.uid)
}

fn send(socket: &Fd, message: &Message<'_>, id: u32) -> Result<(), DaemonError> {
    let mut room = [0; FIXED_MAX];
    let Some(packet) = message.emit(id, &mut room) else {
        return Err(DaemonError::Nonsense);
    };
    let (from, length) = (packet.as_ptr() as usize, packet.len());
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    let sent = socket.using(|fd| {
        // SAFETY: the pointer and the length are those of a slice.
        unsafe { syscall(libc::SYS_sendto, [fd as usize, from, length, flags, 0, 0]) }
    });
    match sent {
        Ok(_) => Ok(()),
        Err(Errno(libc::EAGAIN)) => Err(DaemonError::Busy),
        Err(errno) => Err(DaemonError::Absent(errno)),
    }
}

/// The octets of the next packet, of which there may be less room; `None` where there is
/// none yet.
fn receive(socket: &Fd, room: &mut [u8; ROOM]) -> Result<Option<usize>, DaemonError> {
    let to = room.as_mut_ptr() as usize;
    let flags = libc::MSG_DONTWAIT as usize;
    let received = socket.using(|fd| {
        // SAFETY: the pointer and the length are those of an array.
        unsafe { syscall(libc::SYS_recvfrom, [fd as usize, to, ROOM, flags, 0, 0]) }
    });
    match received {
        Ok(0) => Err(DaemonError::Absent(Errno(libc::EPIPE))),
        Ok(length) => Ok(Some(length)),
        Err(Errno(libc::EAGAIN | libc::EINTR)) => Ok(None),
        Err(errno) => Err(DaemonError::Absent(errno)),
    }
}

enum Ready {
    Socket,
    Signal,
    Nothing,
}

fn wait(socket: &Fd, signals: &HeldSignals, most: Duration) -> Result<Ready, DaemonError> {
    let entry = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds = [entry(socket.number()), entry(signals.watch())];
    let most = libc::timespec {
        tv_sec: most.as_secs() as libc::time_t,
        tv_nsec: most.subsec_nanos().into(),
    };
    let (polled, time) = (fds.as_mut_ptr() as usize, (&raw const most) as usize);
    // SAFETY: the pointers are those of an array and of a time.
    match unsafe { syscall(libc::SYS_ppoll, [polled, fds.len(), time, 0, 0, 0]) } {
        Ok(_) if fds[0].revents != 0 => Ok(Ready::Socket),
        Ok(_) if fds[1].revents != 0 => Ok(Ready::Signal),
        // A signal whose handler was installed a moment ago.
        Ok(_) | Err(Errno(libc::EINTR)) => Ok(Ready::Nothing),
        Err(errno) => Err(DaemonError::System("ppoll", errno)),
    }
}
