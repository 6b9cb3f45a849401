//! Where programs connect to: the socket, and whose it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aarp_host::failure::{Failure, code};
use aarp_sys::peer::{credentials, namespace};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};
use rustix::process::{Pid, test_kill_process};

use crate::folder::with_umask;

/// How many may wait to be let in.
const BACKLOG: i32 = 1024;

/// A socket that is listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    /// Its name, where it is ours to remove, and what stands there then.
    path: Option<(PathBuf, (u64, u64))>,
    /// The network namespace that is served, where the kernel tells.
    namespace: Option<u64>,
}

/// Somebody who has connected.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) socket: OwnedFd,
    /// The user as who it connected.
    pub(crate) uid: u32,
    /// It is of another network namespace.
    pub(crate) is_foreign: bool,
}

impl Listener {
    /// Listens on the socket that the service manager has opened, or on one of its own at
    /// `path`, which everybody may use or, if `private`, its own user alone.
    pub(crate) fn open(path: &Path, private: bool) -> Result<Self, Failure> {
        let handed = aarp_sys::activation::listener(libc::SOCK_SEQPACKET)
            .map_err(|error| Failure::system("take the socket of the service manager", error))?;
        if let Some(socket) = handed {
            return Ok(Self {
                socket,
                path: None,
                namespace: own_namespace()?,
            });
        }
        let named = |operation: &'static str| {
            let name = path.display().to_string();
            move |error: io::Error| Failure::system(&format!("{operation} {name}"), error)
        };
        make_room(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let mode = if private { 0o600 } else { 0o666 };
        let open = || -> Result<OwnedFd, Errno> {
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            let address = SocketAddrUnix::new(path)?;
            // It has its mode from the beginning: nothing is done by a name that may be
            // another file's by then.
            with_umask(!mode & 0o777, || bind(&socket, &address))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| named("make the socket")(error.into()))?;
        let made = identity(path).map_err(named("look at"))?;
        listen(&socket, BACKLOG).map_err(|error| named("listen on")(error.into()))?;
        Ok(Self {
            socket,
            path: Some((path.to_owned(), made)),
            namespace: own_namespace()?,
        })
    }

    /// Lets somebody in, if anybody waits.
    pub(crate) fn accept(&self) -> io::Result<Option<Caller>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match accept_with(&self.socket, flags) {
            Ok(socket) => {
                let uid = credentials(&socket)?.uid;
                // A socket in the file system is seen from wherever the file system is.
                let of = namespace(&socket)?;
                let is_foreign = of.is_some() && of != self.namespace;
                Ok(Some(Caller {
                    socket,
                    uid,
                    is_foreign,
                }))
            }
            Err(Errno::AGAIN) => Ok(None),
            // Who came is gone again.
            Err(Errno::CONNABORTED | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// By what a file is known, whatever its name: no link is followed.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// The network namespace of this process, by a socket of its own: that of the service
/// manager may be of another.
fn own_namespace() -> Result<Option<u64>, Failure> {
    let find = || -> io::Result<Option<u64>> {
        let flags = SocketFlags::CLOEXEC;
        namespace(socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags,
            None,
        )?)
    };
    find().map_err(|error| Failure::system("find the network namespace of a socket", error))
}

/// Removes what a dead daemon has left at `path`.
fn make_room(path: &Path) -> Result<(), Failure> {
    let busy = |problem: &str| {
        let message = format!("{}: {problem}", path.display());
        Failure::new(code::UNAVAILABLE, message)
    };
    let dial = || -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    };
    match dial() {
        Ok(socket) if is_held(&socket) => return Err(busy("another process serves it")),
        // So many wait that there is no room for one more.
        Err(Errno::AGAIN) => return Err(busy("another process serves it")),
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::PROTOTYPE) => return Err(busy("it is a socket of another type")),
        Ok(_) | Err(Errno::CONNREFUSED) => {}
        Err(error) => {
            let operation = format!("look whether {} is served", path.display());
            return Err(Failure::system(&operation, error));
        }
    }
    std::fs::remove_file(path)
        .map_err(|error| Failure::system(&format!("remove {}", path.display()), error))
}

/// Whether who listens at the other end is alive.
fn is_held(socket: &OwnedFd) -> bool {
    // Of whoever began to listen. One that is not known is not known to be dead.
    let pid = credentials(socket).ok().and_then(|peer| peer.pid);
    let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    pid.is_none_or(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some((path, made)) = &self.path
            // Somebody else may have removed it, and another daemon made its own.
            && identity(path).is_ok_and(|there| there == *made)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}
