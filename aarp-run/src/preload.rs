//! The variables that make the dynamic linker load the library.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::library::FILE_NAME;

/// The environment variables to set, given the present ones by `environment`.
///
/// LD_PRELOAD has the library at its head unless it is in there already; what else
/// is in there stays, in its order. LD_PRELOAD separates at spaces too, so a library
/// below a folder with a space in its name is found through LD_LIBRARY_PATH.
pub(crate) fn variables(
    library: &Path,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let present = environment("LD_PRELOAD").unwrap_or_default();
    let spaced = library.as_os_str().as_bytes().contains(&b' ');
    if !spaced {
        return vec![("LD_PRELOAD", list(library.as_os_str(), &present, library))];
    }
    let folder = library.parent().unwrap_or(Path::new("/")).as_os_str();
    let mut search = folder.to_owned();
    for old in environment("LD_LIBRARY_PATH")
        .unwrap_or_default()
        .as_bytes()
        .split(|octet| b":;".contains(octet))
        .map(OsStr::from_bytes)
        .filter(|&old| old != folder && !old.is_empty())
    {
        search.push(":");
        search.push(old);
    }
    vec![
        ("LD_PRELOAD", list(OsStr::new(FILE_NAME), &present, library)),
        ("LD_LIBRARY_PATH", search),
    ]
}

/// The list in `present` with `entry` at its head. Entries that are the same file
/// stay where they are; other copies of the library go, because two of them in one
/// process would each move what the other has moved.
fn list(entry: &OsStr, present: &OsStr, library: &Path) -> OsString {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut found = false;
    for old in present
        .as_bytes()
        .split(|octet| b" :".contains(octet))
        .filter(|old| !old.is_empty())
    {
        if old == entry.as_bytes() || same_file(Path::new(OsStr::from_bytes(old)), library) {
            if !found {
                kept.push(old);
            }
            found = true;
        } else if Path::new(OsStr::from_bytes(old)).file_name() != Some(OsStr::new(FILE_NAME)) {
            kept.push(old);
        }
    }
    if !found {
        kept.insert(0, entry.as_bytes());
    }
    OsString::from_vec(kept.join(&b':'))
}

fn same_file(path: &Path, library: &Path) -> bool {
    let name = |metadata: Metadata| (metadata.dev(), metadata.ino());
    // A name without a slash is searched for elsewhere than in this folder.
    path.as_os_str().as_bytes().contains(&b'/')
        && match (path.metadata(), library.metadata()) {
            (Ok(path), Ok(library)) => name(path) == name(library),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preload(library: &str, present: &str) -> String {
        let variables = variables(Path::new(library), |key| {
            (key == "LD_PRELOAD").then(|| present.into())
        });
        assert_eq!(variables.len(), 1);
        variables[0].1.to_str().expect("UTF-8").to_owned()
    }

    #[test]
    fn prepended_once() {
        let ours = "/l/aarp/libaarp.so";
        assert_eq!(preload(ours, ""), ours);
        assert_eq!(preload(ours, ours), ours);
        assert_eq!(
            preload(ours, "/x/a.so b.so"),
            format!("{ours}:/x/a.so:b.so")
        );
        assert_eq!(preload(ours, &format!(" :{ours}: {ours}")), ours);
        // The user's order is the user's.
        assert_eq!(
            preload(ours, &format!("/x/libasan.so {ours}")),
            format!("/x/libasan.so:{ours}")
        );
    }

    #[test]
    fn another_copy_gives_way() {
        let ours = "/l/aarp/libaarp.so";
        assert_eq!(
            preload(ours, "/old/libaarp.so:/x/a.so:libaarp.so"),
            format!("{ours}:/x/a.so")
        );
    }

    #[test]
    fn another_name_of_the_same_file_stays() {
        let exe = std::env::current_exe().expect("this test");
        let exe = exe.to_str().expect("UTF-8");
        assert_eq!(preload(exe, "/proc/self/exe"), "/proc/self/exe");
    }

    #[test]
    fn a_space_goes_by_the_search_path() {
        let found = variables(Path::new("/my lib/aarp/libaarp.so"), |key| {
            Some(match key {
                "LD_PRELOAD" => "/x/a.so".into(),
                _ => "/x:/my lib/aarp:/y".into(),
            })
        });
        assert_eq!(
            found,
            [
                ("LD_PRELOAD", "libaarp.so:/x/a.so".into()),
                ("LD_LIBRARY_PATH", "/my lib/aarp:/x:/y".into()),
            ]
        );
    }
}
