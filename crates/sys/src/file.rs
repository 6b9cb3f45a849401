//! Reading a small file whole.

use crate::fd::Fd;
use crate::syscall::{Errno, syscall};

/// The longest path that is opened, with its terminator.
const PATH: usize = 512;

/// Reads the file at `path` into `buffer`; `Ok(None)` where there is none.
///
/// # Errors
/// What the kernel says; `E2BIG` when the file does not fit, `ENAMETOOLONG` when
/// the path is longer than 511 octets.
pub fn read<'b>(path: &[&str], buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Errno> {
    let mut name = [0u8; PATH];
    let mut end = 0;
    for part in path {
        let room = name
            .get_mut(end..end + part.len())
            .ok_or(Errno(libc::ENAMETOOLONG))?;
        room.copy_from_slice(part.as_bytes());
        end += part.len();
    }
    if end >= PATH {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY) as usize;
    let arguments = [
        libc::AT_FDCWD as usize,
        name.as_ptr() as usize,
        flags,
        0,
        0,
        0,
    ];
    // SAFETY: the name ends with a zero.
    let fd = match unsafe { syscall(libc::SYS_openat, arguments) } {
        Ok(number) => Fd::adopt(number)?,
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut filled = 0;
    loop {
        let rest = &mut buffer[filled..];
        if rest.is_empty() {
            return Err(Errno(libc::E2BIG));
        }
        let arguments = [
            fd.number() as usize,
            rest.as_mut_ptr() as usize,
            rest.len(),
            0,
            0,
            0,
        ];
        // SAFETY: the pointer and the length are those of a slice.
        match unsafe { syscall(libc::SYS_read, arguments) } {
            Ok(0) => return Ok(Some(&buffer[..filled])),
            Ok(count) => filled += count,
            Err(Errno(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Appends a line to a file, which is made when it is not there. A line that cannot
/// be written is lost: nobody could be told.
pub fn append(path: &str, line: &[u8]) {
    let mut name = [0u8; PATH];
    let Some(room) = name[..PATH - 1].get_mut(..path.len()) else {
        return;
    };
    room.copy_from_slice(path.as_bytes());
    let flags = libc::O_WRONLY
        | libc::O_APPEND
        | libc::O_CREAT
        | libc::O_CLOEXEC
        | libc::O_NONBLOCK
        | libc::O_NOCTTY;
    let arguments = [
        libc::AT_FDCWD as usize,
        name.as_ptr() as usize,
        flags as usize,
        0o600,
        0,
        0,
    ];
    // SAFETY: the name ends with a zero.
    let opened = unsafe { syscall(libc::SYS_openat, arguments) };
    if let Ok(fd) = opened.and_then(Fd::adopt) {
        crate::process::write(fd.number(), line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("aarp-file-{}", std::process::id()));
        std::fs::write(&dir, "x".repeat(1000)).unwrap();
        let path = dir.to_str().unwrap();
        let mut buffer = [0; 2000];
        assert_eq!(read(&[path], &mut buffer).unwrap().unwrap().len(), 1000);
        assert_eq!(read(&[path], &mut buffer[..1000]), Err(Errno(libc::E2BIG)));
        assert_eq!(read(&[path, "-not-there"], &mut buffer), Ok(None));
        assert_eq!(read(&["/"], &mut buffer), Err(Errno(libc::EISDIR)));
        assert_eq!(
            read(&["/", &"x/".repeat(300)], &mut buffer),
            Err(Errno(libc::ENAMETOOLONG))
        );
        std::fs::remove_file(&dir).unwrap();
    }
}
