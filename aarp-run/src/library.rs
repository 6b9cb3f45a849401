//! Where libaarp.so is.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::elf::{self, Architecture, ElfError, Linkage};

/// The file name, which is also the SONAME.
pub(crate) const FILE_NAME: &str = "libaarp.so";

/// The library, ready to be preloaded.
#[derive(Debug)]
pub(crate) struct Library {
    /// Absolute, with no link in it.
    pub(crate) path: PathBuf,
    /// What it is built for.
    pub(crate) architecture: Architecture,
}

/// Why there is no library to preload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LibraryError {
    #[error("cannot find libaarp.so; looked for {}; name it with --library", list(.0))]
    NotFound(Vec<PathBuf>),
    #[error("library {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("library {}: {error}", .path.display())]
    Elf { path: PathBuf, error: ElfError },
    #[error("library {}: not a shared library", .0.display())]
    NotShared(PathBuf),
    #[error(
        "library {}: a path with a colon, a semicolon or a dollar sign in it cannot be preloaded; \
         install it elsewhere", .0.display()
    )]
    Path(PathBuf),
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

/// The library that the user names, or else the first one in the places where it
/// is installed.
pub(crate) fn find(named: Option<&Path>) -> Result<Library, LibraryError> {
    if let Some(path) = named {
        return open(path);
    }
    let program = std::env::current_exe().map_err(|error| LibraryError::Io {
        path: PathBuf::from("/proc/self/exe"),
        error,
    })?;
    let places = places(&program);
    match places.iter().find(|path| path.exists()) {
        Some(path) => open(path),
        None => Err(LibraryError::NotFound(places)),
    }
}

/// Where the library may be when aarp-run is at `program`: beside it, in the
/// library folders of the same prefix, and where the build was told to put it.
fn places(program: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(folder) = program.parent() {
        places.push(folder.join(FILE_NAME));
        if let Some(prefix) = folder.parent() {
            let libraries = ["lib", "lib64"].map(|name| prefix.join(name));
            let multiarch = multiarch().map(|triplet| prefix.join("lib").join(triplet));
            for folder in libraries.into_iter().chain(multiarch) {
                places.push(folder.join("aarp").join(FILE_NAME));
            }
        }
    }
    if let Some(folder) = option_env!("AARP_LIBDIR").filter(|folder| !folder.is_empty()) {
        let installed = Path::new(folder).join("aarp").join(FILE_NAME);
        if !places.contains(&installed) {
            places.push(installed);
        }
    }
    places
}

/// Debian's name for this architecture.
fn multiarch() -> Option<&'static str> {
    Some(match std::env::consts::ARCH {
        "x86_64" => "x86_64-linux-gnu",
        "aarch64" => "aarch64-linux-gnu",
        "x86" => "i386-linux-gnu",
        "arm" => "arm-linux-gnueabihf",
        "riscv64" => "riscv64-linux-gnu",
        "powerpc64" if cfg!(target_endian = "little") => "powerpc64le-linux-gnu",
        "s390x" => "s390x-linux-gnu",
        "loongarch64" => "loongarch64-linux-gnu",
        _ => return None,
    })
}

fn open(path: &Path) -> Result<Library, LibraryError> {
    let io = |error| LibraryError::Io {
        path: path.to_owned(),
        error,
    };
    let real = path.canonicalize().map_err(io)?;
    if !real.metadata().map_err(io)?.is_file() {
        return Err(LibraryError::NotShared(real));
    }
    let image = elf::read_path(&real)
        .map_err(io)?
        .map_err(|error| LibraryError::Elf {
            path: real.clone(),
            error,
        })?;
    if !matches!(image.linkage, Linkage::SelfContained { dynamic: true }) {
        return Err(LibraryError::NotShared(real));
    }
    if !can_be_preloaded(&real) {
        return Err(LibraryError::Path(real));
    }
    Ok(Library {
        path: real,
        architecture: image.architecture,
    })
}

/// The dynamic linker separates at colons (and semicolons in LD_LIBRARY_PATH) and
/// replaces `$ORIGIN` and the like. A space alone can be helped, see `preload`.
fn can_be_preloaded(path: &Path) -> bool {
    let octets = path.as_os_str().as_bytes();
    !octets.iter().any(|octet| b":;$".contains(octet))
        && (!octets.contains(&b' ')
            || path
                .file_name()
                .is_some_and(|name| name == OsStr::new(FILE_NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_order() {
        let places = places(Path::new("/opt/aarp/bin/aarp-run"));
        let expected = [
            "/opt/aarp/bin/libaarp.so",
            "/opt/aarp/lib/aarp/libaarp.so",
            "/opt/aarp/lib64/aarp/libaarp.so",
        ];
        for (place, expected) in places.iter().zip(expected) {
            assert_eq!(place, Path::new(expected));
        }
        assert!(places.len() >= expected.len());
    }

    #[test]
    fn paths_the_dynamic_linker_would_take_apart() {
        for good in ["/a/libaarp.so", "/a b/libaarp.so"] {
            assert!(can_be_preloaded(Path::new(good)), "{good}");
        }
        for bad in [
            "/a:b/libaarp.so",
            "/a;b/libaarp.so",
            "/$ORIGIN/libaarp.so",
            "/a b/other.so",
        ] {
            assert!(!can_be_preloaded(Path::new(bad)), "{bad}");
        }
    }
}
