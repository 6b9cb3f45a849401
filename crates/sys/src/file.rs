//! Reading a file, and whose it is.

use core::mem::MaybeUninit;

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
    /// Whose it is, and its mode.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn owner(&self) -> Result<(u32, u32), Errno> {
        let mut stat = MaybeUninit::<libc::stat>::zeroed();
        let to = stat.as_mut_ptr() as usize;
        self.0.using(|fd| {
            // SAFETY: the kernel's structure is that of the C library on 64 bits.
            unsafe { syscall(libc::SYS_fstat, [fd as usize, to, 0, 0, 0, 0]) }
        })?;
        // SAFETY: filled, and all zero before.
        let stat = unsafe { stat.assume_init() };
        Ok((stat.st_uid, stat.st_mode))
    }

    /// Reads what comes next into `buffer`, and as many octets as it likes to; none at
    /// the end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_next(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let (to, len) = (buffer.as_mut_ptr() as usize, buffer.len());
        loop {
            // SAFETY: the pointer and the length are those of a slice.
            let read = |fd| unsafe { syscall(libc::SYS_read, [fd as usize, to, len, 0, 0, 0]) };
            match self.0.using(read) {
                Err(Errno(libc::EINTR)) => {}
                read => return read,
            }
        }
    }

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
            match self.read_next(rest)? {
                0 => return Ok(&buffer[..filled]),
                count => filled += count,
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
        let (uid, mode) = open(path).unwrap().unwrap().owner().unwrap();
        assert_eq!(
            (uid, mode & libc::S_IFMT),
            (crate::process::user(), libc::S_IFREG)
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
