//! Files of one's own in a folder where other users may make files too, as `/run/aarp`
//! is: nobody else's is believed, and nobody's link is followed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a file that nobody but the effective user can have written.
///
/// # Errors
/// What the kernel says, of kind [`io::ErrorKind::NotFound`] where there is none; and what
/// is wrong with one that is a link or no regular file, belongs to somebody else, or may be
/// written by others.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Nobody is waited for who is to open the other end of a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let mut file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            io::Error::other("a symbolic link")
        }
        _ => error,
    })?;
    let of = file.metadata()?;
    if !of.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    if of.uid() != rustix::process::geteuid().as_raw() {
        let message = format!("belongs to user {}", of.uid());
        return Err(io::Error::other(message));
    }
    if of.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write it"));
    }
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    Ok(octets)
}

/// Makes a file that nobody else may open, in place of whatever is there.
///
/// # Errors
/// What the kernel says; also where somebody puts something there at that moment.
pub fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}
