//! Who is at the other end of a unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Who connected, or began to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// The process; `None` for one of a namespace that is not seen from here, as that of
    /// a container's host.
    pub pid: Option<u32>,
    /// The user, as this user namespace knows it.
    pub uid: u32,
}

/// Who is at the other end (`SO_PEERCRED`).
///
/// # Errors
/// What getsockopt(2) says.
pub fn credentials(socket: impl AsFd) -> io::Result<Credentials> {
    let mut found = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (fd, to) = (socket.as_fd().as_raw_fd(), (&raw mut found).cast());
    // SAFETY: there is room for what the kernel writes.
    if unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, to, &mut length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Credentials {
        pid: u32::try_from(found.pid).ok().filter(|pid| *pid != 0),
        uid: found.uid,
    })
}

/// The network namespace in which who connected has made its socket (`SO_NETNS_COOKIE`): a
/// number that no other has before the host is started again. `None` where the kernel does
/// not tell, before Linux 5.14.
///
/// # Errors
/// What getsockopt(2) says.
pub fn namespace(socket: impl AsFd) -> io::Result<Option<u64>> {
    let mut found = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    let (fd, to) = (socket.as_fd().as_raw_fd(), (&raw mut found).cast());
    let (level, option) = (libc::SOL_SOCKET, libc::SO_NETNS_COOKIE);
    // SAFETY: there is room for what the kernel writes.
    if unsafe { libc::getsockopt(fd, level, option, to, &mut length) } == 0 {
        return Ok(Some(found));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_pair_are_ours() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let found = credentials(&one).unwrap();
        assert_eq!(found.pid, Some(std::process::id()));
        // SAFETY: no arguments; cannot fail.
        assert_eq!(found.uid, unsafe { libc::geteuid() });
        let other = std::net::UdpSocket::bind("[::1]:0").unwrap();
        assert_eq!(namespace(&one).unwrap(), namespace(&other).unwrap());
    }
}
