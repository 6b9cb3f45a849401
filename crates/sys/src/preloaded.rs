//! A tool that shows what the library does must not itself be subject to it: where
//! `LD_PRELOAD` is exported, its own names would be answered with what the library
//! makes of them, and its own connections be moved.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::inherited;

/// The file name of the library, and its SONAME.
const FILE_NAME: &str = "libaarp.so";

/// Starts this program anew without the library, where `LD_PRELOAD` has loaded it;
/// what else is in there stays, in its order. To be called before anything is done.
///
/// Returns whether the library is in this process all the same, which only
/// `/etc/ld.so.preload` can bring about.
///
/// # Errors
/// This program could not be executed again, or its memory map not be read.
pub fn leave() -> io::Result<bool> {
    let Some(present) = std::env::var_os("LD_PRELOAD") else {
        return is_loaded();
    };
    let Some(rest) = without(&present) else {
        return is_loaded();
    };
    // By its own name, which is what ps shows; gone when it has been replaced.
    let program = std::env::current_exe()
        .ok()
        .filter(|program| program.is_file())
        .unwrap_or_else(|| "/proc/self/exe".into());
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    if rest.is_empty() {
        command.env_remove("LD_PRELOAD");
    } else {
        command.env("LD_PRELOAD", rest);
    }
    Err(inherited::exec(&mut command))
}

/// [`leave`] for a tool of that name, which goes on when it must: one that shows too
/// much is better than one that does not start. Says so on standard error.
pub fn leave_or_say(tool: &str) {
    let told = match leave() {
        Ok(false) => return,
        Ok(true) => "/etc/ld.so.preload loads libaarp.so into this program too: it sees names \
                     and addresses as the library makes them"
            .to_owned(),
        Err(error) => format!("libaarp.so may be loaded into this program too: {error}"),
    };
    eprintln!("{tool}: {told}");
}

/// The list `present` without the library; none where it is not in there.
fn without(present: &OsStr) -> Option<OsString> {
    let entries = present
        .as_bytes()
        .split(|octet| b" :".contains(octet))
        .filter(|entry| !entry.is_empty());
    let (ours, others): (Vec<&[u8]>, Vec<&[u8]>) =
        entries.partition(|entry| is_library(Path::new(OsStr::from_bytes(entry))));
    (!ours.is_empty()).then(|| OsString::from_vec(others.join(&b':')))
}

/// By its name, or by that of the file that a link leads to.
fn is_library(entry: &Path) -> bool {
    let named = |path: &Path| path.file_name() == Some(OsStr::new(FILE_NAME));
    // A name without a slash is searched for elsewhere than in this folder.
    named(entry)
        || entry.as_os_str().as_bytes().contains(&b'/')
            && entry.canonicalize().is_ok_and(|path| named(&path))
}

fn is_loaded() -> io::Result<bool> {
    let maps = std::fs::read("/proc/self/maps")?;
    let maps = String::from_utf8_lossy(&maps);
    let mut paths = maps
        .lines()
        .map(|line| line.strip_suffix(" (deleted)").unwrap_or(line));
    Ok(paths.any(|line| line.ends_with(&format!("/{FILE_NAME}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_goes_and_the_rest_stays() {
        let rest = |present: &str| without(OsStr::new(present)).map(|rest| rest.into_string());
        let left = |text: &str| Some(Ok(text.to_owned()));
        assert_eq!(rest("libaarp.so"), left(""));
        assert_eq!(
            rest("/x/a.so /l/aarp/libaarp.so:b.so"),
            left("/x/a.so:b.so")
        );
        assert_eq!(rest("/x/libaarp.so.old:/x/a.so"), None);
        assert_eq!(rest(""), None);
        let folder = std::env::temp_dir().join(format!("preloaded-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(FILE_NAME), "").unwrap();
        std::os::unix::fs::symlink(FILE_NAME, folder.join("other.so")).unwrap();
        let link = folder.join("other.so").to_str().unwrap().to_owned();
        let found = rest(&format!("{link}:/x/a.so"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, left("/x/a.so"));
    }

    #[test]
    fn a_test_is_not_preloaded() {
        assert!(!is_loaded().unwrap());
    }
}
