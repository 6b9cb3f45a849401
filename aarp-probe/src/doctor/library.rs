//! Whether libaarp.so is there and can be loaded, proved from within a process: the
//! dynamic linker starts a program also when a preload fails.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The file name, which is also the SONAME.
const FILE_NAME: &str = "libaarp.so";
/// What the child says when it has it.
const LOADED: &str = "loaded";

/// Where the library is: what was named, or the first of the places where it is
/// installed; else all of those.
pub(crate) fn find(named: Option<&Path>, libdir: Option<&Path>) -> Result<PathBuf, Vec<PathBuf>> {
    let places = match named {
        Some(path) => vec![path.to_owned()],
        None => {
            std::env::current_exe().map_or_else(|_| Vec::new(), |program| places(&program, libdir))
        }
    };
    let found = places.iter().find(|path| path.is_file());
    found
        .and_then(|path| path.canonicalize().ok())
        .ok_or(places)
}

/// Beside the program, in the library folders of its prefix, and where the build was
/// told to put it.
fn places(program: &Path, libdir: Option<&Path>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(folder) = program.parent() {
        places.push(folder.join(FILE_NAME));
        if let Some(prefix) = folder.parent() {
            let below = ["lib", "lib64"].map(|name| prefix.join(name).join("aarp"));
            places.extend(below.map(|folder| folder.join(FILE_NAME)));
        }
    }
    if let Some(folder) = libdir {
        let installed = folder.join("aarp").join(FILE_NAME);
        if !places.contains(&installed) {
            places.push(installed);
        }
    }
    places
}

/// Starts a child under the library. Nothing is wrong when there is no complaint.
///
/// # Errors
/// What the child, or the dynamic linker, complains about.
pub(crate) fn load(library: &Path) -> Result<(), String> {
    let mut command = Command::new("/proc/self/exe");
    // LD_PRELOAD separates at spaces too.
    if library.as_os_str().to_string_lossy().contains([' ', ':']) {
        command.env("LD_PRELOAD", FILE_NAME);
        command.env(
            "LD_LIBRARY_PATH",
            library.parent().unwrap_or(Path::new("/")),
        );
    } else {
        command.env("LD_PRELOAD", library);
    }
    let output = command
        .arg("loaded")
        .arg(library)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && said.trim() == LOADED {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(
        match complaint.lines().find(|line| !line.trim().is_empty()) {
            Some(line) => line.to_owned(),
            None => format!("a child process did not have it ({})", output.status),
        },
    )
}

/// The child: whether this process has `library` mapped. Some file systems (btrfs,
/// overlayfs) show another device in /proc than in stat(), so that the inode and the
/// path count.
pub(crate) fn in_child(library: &Path) -> io::Result<bool> {
    let inode = library.metadata()?.ino().to_string();
    let maps = std::fs::read("/proc/self/maps")?;
    let maps = String::from_utf8_lossy(&maps);
    let path = library.to_string_lossy();
    let mapped = maps
        .lines()
        .any(|line| line.ends_with(&*path) && line.split_ascii_whitespace().nth(4) == Some(&inode));
    if mapped {
        println!("{LOADED}");
    }
    Ok(mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_mapped_and_a_copy_is_not() {
        let program = std::env::current_exe().unwrap();
        assert!(in_child(&program).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        std::fs::copy(&program, &copy).unwrap();
        assert!(!in_child(&copy).unwrap());
        assert!(in_child(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn a_library_that_is_named_is_the_only_place() {
        let named = Path::new("/nowhere/libaarp.so");
        assert_eq!(find(Some(named), None), Err(vec![named.to_owned()]));
        let places = places(
            Path::new("/opt/bin/aarp-probe"),
            Some(Path::new("/opt/lib/x86_64-linux-gnu")),
        );
        assert_eq!(
            places[..2],
            ["/opt/bin/libaarp.so", "/opt/lib/aarp/libaarp.so"].map(PathBuf::from)
        );
        let of_the_build = Path::new("/opt/lib/x86_64-linux-gnu/aarp/libaarp.so");
        assert!(places.iter().any(|place| place == of_the_build));
    }
}
