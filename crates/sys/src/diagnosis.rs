//! What is wrong with files that settings name, in words, for tools.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::settings::{Problem, SettingsError};

/// A bad configuration in one line, with an error of the system in words.
#[must_use]
pub fn configuration(error: &SettingsError) -> String {
    match error.problem {
        Problem::Read(errno) => format!(
            "{}: cannot be read: {}",
            error.file,
            io::Error::from_raw_os_error(errno.0)
        ),
        _ => error.to_string(),
    }
}

/// Why the library, as this user, could not append to the file at `path`; none where
/// it could. What is not there is not made.
#[must_use]
pub fn unwritable(path: &Path) -> Option<io::Error> {
    let opened = OpenOptions::new()
        .append(true)
        // As the library does: a pipe that nobody reads does not hold it.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let error = match opened {
        Ok(_) => return None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        Err(error) => return Some(error),
    };
    // The library makes it, where the folder is one that it may write to.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => may_write(folder).err(),
        _ => Some(error),
    }
}

/// access(2), with the effective user.
fn may_write(folder: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes())?;
    let mode = libc::W_OK | libc::X_OK;
    // SAFETY: the path is a C string that outlives the call, which only reads it.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_and_not_made() {
        let folder = std::env::temp_dir().join(format!("diagnosis-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("log");
        let absent = unwritable(&file);
        let made = file.exists();
        std::fs::write(&file, "kept").unwrap();
        let present = unwritable(&file);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(absent.is_none() && !made);
        assert!(present.is_none());
        assert_eq!(text, "kept");
        assert_eq!(unwritable(&file).unwrap().kind(), io::ErrorKind::NotFound);
        assert!(unwritable(Path::new("/")).is_some());
    }
}
