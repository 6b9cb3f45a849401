//! Reading a small file whole.

use crate::fd::Fd;
use crate::syscall::{Errno, syscall};

/// The longest path that is opened, with its terminator.
const PATH: usize = 512;

/// A file that is open for reading.
#[derive(Debug)]
pub struct File(Fd);

/// Opens the file at `path`; `Ok(None)` where there is none.
///
/// # Errors
/// What the kernel says; `ENAMETOOLONG` when the path is longer than 511 octets.
pub fn open(path: &str) -> Result<Option<File>, Errno> {
    let mut name = [0u8; PATH];
    let room = name[..PATH - 1].get_mut(..path.len());
    room.ok_or(Errno(libc::ENAMETOOLONG))?
        .copy_from_slice(path.as_bytes());
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
    match Fd::open(|| unsafe { syscall(libc::SYS_openat, arguments) }) {
        Ok(fd) => Ok(Some(File(fd))),
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl File {
    /// Reads the whole file into `buffer`.
    ///
    /// # Errors
    /// What the kernel says; `E2BIG` when the file does not fit.
    pub fn read<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        let mut filled = 0;
        loop {
            let rest = &mut buffer[filled..];
            if rest.is_empty() {
                return Err(Errno(libc::E2BIG));
            }
            let (to, len) = (rest.as_mut_ptr() as usize, rest.len());
            // SAFETY: the pointer and the length are those of a slice.
            let read = |fd| unsafe { syscall(libc::SYS_read, [fd as usize, to, len, 0, 0, 0]) };
            match self.0.using(read) {
                Ok(0) => return Ok(&buffer[..filled]),
                Ok(count) => filled += count,
                Err(Errno(libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Appends a line to a file, which is made when it is not there. A line that the file
/// does not take is lost.
///
/// # Errors
/// What the kernel says when the file cannot be opened; `ENAMETOOLONG` when the path is
/// longer than 511 octets.
pub fn append(path: &str, line: &[u8]) -> Result<(), Errno> {
    let mut name = [0u8; PATH];
    let room = name[..PATH - 1].get_mut(..path.len());
    room.ok_or(Errno(libc::ENAMETOOLONG))?
        .copy_from_slice(path.as_bytes());
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
    let fd = Fd::open(|| unsafe { syscall(libc::SYS_openat, arguments) })?;
    fd.using(|number| {
        crate::process::write(number, line);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("aarp-file-{}", std::process::id()));
        std::fs::write(&path, "x".repeat(1000)).unwrap();
        let path = path.to_str().unwrap();
        let mut buffer = [0; 2000];
        assert_eq!(
            open(path)
                .unwrap()
                .unwrap()
                .read(&mut buffer)
                .unwrap()
                .len(),
            1000
        );
        let short = open(path).unwrap().unwrap().read(&mut buffer[..1000]).err();
        assert_eq!(short, Some(Errno(libc::E2BIG)));
        assert!(open(&format!("{path}-not-there")).unwrap().is_none());
        let folder = open("/").unwrap().unwrap().read(&mut buffer).err();
        assert_eq!(folder, Some(Errno(libc::EISDIR)));
        assert_eq!(
            open(&"x/".repeat(300)).err(),
            Some(Errno(libc::ENAMETOOLONG))
        );
        assert_eq!(append(path, b"y"), Ok(()));
        assert_eq!(append("/", b"y"), Err(Errno(libc::EISDIR)));
        assert_eq!(
            open(path)
                .unwrap()
                .unwrap()
                .read(&mut buffer)
                .unwrap()
                .len(),
            1001
        );
        std::fs::remove_file(path).unwrap();
    }
}
