//! Sockets that systemd has opened for a service: sd_listen_fds(3).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The number of the first of them.
const FIRST: libc::c_int = 3;

/// Takes the one listening socket of this type (`SOCK_SEQPACKET`, `SOCK_STREAM`) that was
/// handed to this process; `None` where none was. To be called once, before the process
/// opens anything else.
///
/// # Errors
/// When more than one was handed over, or something else than such a socket.
pub fn listener(kind: libc::c_int) -> io::Result<Option<OwnedFd>> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => return Ok(None),
        Some(1) => {}
        Some(count) => {
            let text = format!("expected one socket from the service manager, found {count}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    let expected = |option, wanted: libc::c_int| -> io::Result<()> {
        let mut found: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        let to = (&raw mut found).cast();
        // SAFETY: there is room for what the kernel writes.
        if unsafe { libc::getsockopt(FIRST, libc::SOL_SOCKET, option, to, &mut length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if found != wanted {
            let text = "expected a listening socket of another type from the service manager";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    };
    expected(libc::SO_TYPE, kind)?;
    expected(libc::SO_ACCEPTCONN, 1)?;
    expected(libc::SO_DOMAIN, libc::AF_UNIX)?;
    // SAFETY: no pointers; the descriptor is open.
    if unsafe { libc::fcntl(FIRST, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    let flags = unsafe { libc::fcntl(FIRST, libc::F_GETFL) };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(FIRST, libc::F_SETFL, flags | libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was handed to this process, which has not opened it itself.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(FIRST) }))
}
