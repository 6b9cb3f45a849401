//! What is preloaded.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::Options;

/// A library of others that does more than a bench needs: each is measured where it has
/// nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Would send connections to its proxy, and opens no UDP socket.
    Torsocks,
    /// Would send connections to its proxy.
    Proxychains,
    /// Does nothing without a folder of its own, and looks the functions behind its
    /// hooks up in the C library: past the stub.
    Wrapper,
}

impl Peer {
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Torsocks, "torsocks", "torsocks/libtorsocks.so"),
        (Self::Proxychains, "proxychains4", "libproxychains.so.4"),
        (Self::Wrapper, "socket_wrapper", "libsocket_wrapper.so"),
    ];
}

/// One way to start the program.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// The object that is preloaded; none for the program by itself.
    pub(crate) object: Option<PathBuf>,
    /// It is ours: connect() to A goes to U.
    pub(crate) moves: bool,
    /// Measured only in the rows that name it.
    pub(crate) peer: Option<Peer>,
}

impl Variant {
    /// A library of ours.
    pub(crate) fn ours(name: &str, object: &Path) -> Self {
        Self {
            moves: true,
            ..Self::new(name, Some(object.to_owned()))
        }
    }

    fn new(name: &str, object: Option<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            object,
            moves: false,
            peer: None,
        }
    }
}

/// Everything that there is to measure; a peer that is not installed is left out,
/// and said so.
pub(crate) fn all(options: &Options) -> Result<Vec<Variant>> {
    let own = |name| options.objects.join(name);
    let mut variants = vec![
        Variant::new("none", None),
        Variant::new("empty", Some(own("empty.so"))),
        Variant::new("naive C", Some(own("naive.so"))),
        Variant::ours("aarp", &options.library),
    ];
    variants.extend(options.other.iter().map(|object| {
        let name = object.file_stem().unwrap_or_default();
        Variant::ours(&name.to_string_lossy(), object)
    }));
    variants.extend(
        options
            .redhook
            .clone()
            .map(|object| Variant::new("redhook", Some(object))),
    );
    for variant in &variants {
        if let Some(object) = &variant.object {
            // The dynamic linker leaves out what it does not find.
            ensure!(object.is_file(), "{}: no such file", object.display());
        }
    }
    for (peer, name, object) in Peer::ALL {
        match installed(object) {
            Some(object) => variants.push(Variant {
                peer: Some(peer),
                ..Variant::new(name, Some(object))
            }),
            None => eprintln!("benches: {name} is not installed: not measured"),
        }
    }
    Ok(variants)
}

/// A library of the system, wherever this architecture has it.
fn installed(object: &str) -> Option<PathBuf> {
    let lib = Path::new("/usr/lib");
    let below = fs::read_dir(lib).ok()?.flatten().map(|entry| entry.path());
    below
        .chain([lib.to_owned(), PathBuf::from("/usr/lib64")])
        .map(|folder| folder.join(object))
        .find(|path| path.is_file())
}
