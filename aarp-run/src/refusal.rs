//! Why a program is not started, in words that say what to do instead.

use std::io;
use std::path::{Path, PathBuf};

use crate::elf::{Architecture, ElfError};
use crate::privilege::Elevation;

/// A program that is not started.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", chain(.path, .via))]
pub(crate) struct Refusal {
    /// The file at fault.
    pub(crate) path: PathBuf,
    /// The scripts and launchers that led to it, the one the user named first.
    pub(crate) via: Vec<PathBuf>,
    /// What is wrong with it.
    pub(crate) reason: Reason,
}

fn chain(path: &Path, via: &[PathBuf]) -> String {
    let mut text = String::new();
    for step in via {
        text.push_str(&format!("{} -> ", step.display()));
    }
    text.push_str(&path.display().to_string());
    text
}

/// What is wrong with a program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Reason {
    #[error("command not found")]
    CommandNotFound,
    #[error("no such file")]
    NotFound,
    #[error("the script is there, but its interpreter {} is not{}", .0.display(), carriage_return(.0))]
    ScriptInterpreterMissing(PathBuf),
    #[error("the program is there, but its dynamic linker {} is not", .0.display())]
    LinkerMissing(PathBuf),
    #[error("is a directory")]
    Directory,
    #[error("is not a regular file")]
    NotRegular,
    #[error("is not executable (by this user, on this file system)")]
    NotExecutable,
    #[error("a chain of more than five interpreters")]
    TooManyInterpreters,
    #[error("{0}")]
    Elf(#[from] ElfError),
    #[error("an ELF file, but not a program")]
    NotProgram,
    #[error("cannot examine it: {0}")]
    Io(#[from] io::Error),
    #[error("cannot be preloaded: {}", elevation(.0))]
    Elevated(Elevation),
    #[error("cannot be preloaded: statically linked{}", if *.position_independent { " (static-pie)" } else { "" })]
    Static { position_independent: bool },
    #[error("cannot be preloaded: the program is {program}, the library {library}")]
    Architecture {
        program: Architecture,
        library: Architecture,
    },
    #[error("cannot be preloaded: not a program of glibc (its dynamic linker is {})", .0.display())]
    Libc(PathBuf),
}

fn elevation(elevation: &Elevation) -> String {
    match elevation {
        Elevation::User(uid) => format!("setuid to user {uid}"),
        Elevation::Group(gid) => format!("setgid to group {gid}"),
        Elevation::Capabilities => "it has file capabilities".to_owned(),
        Elevation::Caller => {
            "aarp-run itself runs with ids that are not those of its user".to_owned()
        }
    }
}

fn carriage_return(interpreter: &Path) -> &'static str {
    use std::os::unix::ffi::OsStrExt;
    if interpreter.as_os_str().as_bytes().ends_with(b"\r") {
        " (its first line ends in a carriage return)"
    } else {
        ""
    }
}

impl Reason {
    /// 127 for what is not there, 126 for what is there and cannot be run.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::CommandNotFound
            | Self::NotFound
            | Self::ScriptInterpreterMissing(_)
            | Self::LinkerMissing(_) => 127,
            _ => 126,
        }
    }

    /// What the user can do about it.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::Elevated(Elevation::User(_) | Elevation::Group(_)) => {
                "the dynamic linker drops LD_PRELOAD from a program that changes its user or group; \
                 start aarp-run as that user instead (as in: sudo aarp-run CMD)"
            }
            Self::Elevated(Elevation::Capabilities) => {
                "the dynamic linker drops LD_PRELOAD from a program with file capabilities; run it \
                 as root, or run a copy without them (cp keeps none) and hand over ambient ones \
                 (setpriv --inh-caps +net_raw --ambient-caps +net_raw aarp-run CMD)"
            }
            Self::Elevated(Elevation::Caller) => {
                "remove the setuid or setgid bit from aarp-run and from whatever started it"
            }
            Self::Static { .. } => {
                "there is no dynamic linker that could load the library; use a dynamically linked \
                 build of it"
            }
            Self::Architecture { .. } => {
                "install a libaarp.so built for the program, and name it with --library"
            }
            Self::Libc(_) => "libaarp.so is built for glibc; use a glibc build of the program",
            Self::LinkerMissing(_) => {
                "it belongs to another architecture or C library, whose packages are not installed"
            }
            _ => return None,
        })
    }
}
