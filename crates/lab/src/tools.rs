//! The programs that a lab runs, and the Debian packages that have them.
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const PACKAGES: &[(&str, &str)] = &[
    ("bash", "bash"),
    ("bird", "bird2"),
    ("cmp", "diffutils"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("git", "git"),
    ("ip", "iproute2"),
    ("nc", "netcat-openbsd"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("ping", "iputils-ping"),
    ("python3", "python3"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("tc", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("unshare", "util-linux"),
    ("wget", "wget"),
    ("xargs", "findutils"),
];

/// The search path of every command: an ordinary user's lacks the sbin folders.
pub(crate) fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
        if !std::env::split_paths(&path).any(|known| known == Path::new(folder)) {
            if !path.is_empty() {
                path.push(":");
            }
            path.push(folder);
        }
    }
    path
}

/// Whether a device is there and may be opened.
pub(crate) fn try_device(node: &str) -> Result<()> {
    match File::options().read(true).write(true).open(node) {
        Ok(_) => Ok(()),
        Err(reason) => Err(Error::Device {
            device: node.to_owned(),
            reason,
        }),
    }
}

/// Where a program is; an error that names its package when it is not there.
pub fn find(program: &str) -> Result<PathBuf> {
    let found = if program.contains('/') {
        Some(PathBuf::from(program)).filter(|path| path.is_file())
    } else {
        std::env::split_paths(&path())
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    };
    found.ok_or_else(|| Error::Missing {
        program: program.to_owned(),
        package: PACKAGES
            .iter()
            .find(|(name, _)| *name == program)
            .map(|(_, package)| *package),
    })
}
