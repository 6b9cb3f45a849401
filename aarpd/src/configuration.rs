//! What the daemon goes by: files, environment and command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_core::settings::{Settings as Resolve, Times};
use aarp_host::failure::{Failure, code};
use aarp_sys::passwd;
use aarp_sys::process::overflow_user;
use aarp_sys::settings::{SYSTEM_FILE, Variables, load};

use crate::Place;
use crate::settings::{self, Settings};

/// Where the socket and the table are, unless something else is said.
const RUN_DIR: &str = "/run/aarp";

/// All of it.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// What is asked, and how.
    pub(crate) resolve: Box<Resolve>,
    /// The daemon's own.
    pub(crate) daemon: Settings,
    /// Where programs ask.
    pub(crate) socket: PathBuf,
    /// The mapping table.
    pub(crate) table: PathBuf,
    /// The number of the user whose daemon it is, besides root.
    pub(crate) user: Option<u32>,
}

impl Configuration {
    /// Reads it.
    pub(crate) fn read(place: &Place) -> Result<Self, Failure> {
        let bad = |error: String| Failure::new(code::CONFIGURATION, error);
        let mut resolve = Box::new(Resolve::DEFAULT);
        let sources = Sources { place };
        load(&mut resolve, &sources).map_err(|error| bad(error.to_string()))?;
        let file = file(place);
        let text = match &file {
            None => String::new(),
            Some(file) => match std::fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => {
                    let name = file.display();
                    return Err(bad(format!("{name}: cannot be read: {error}")));
                }
            },
        };
        let named = file.unwrap_or_else(|| SYSTEM_FILE.into());
        let daemon = settings::read(&text).map_err(|error| bad(error.of(&named).to_string()))?;
        // Otherwise the daemon would have a user whose table nobody reads.
        let is_passed_over = resolve.daemon.user.as_str().is_empty() && !place.user_daemon;
        let user = match daemon.user.as_deref().map(passwd::user) {
            None => None,
            Some(_) if is_passed_over => {
                let problem = "programs pass it over in this file, which has to be root's, or \
                               this user's own, and nobody else's to write";
                return Err(bad(format!("{}: daemon.user: {problem}", named.display())));
            }
            // Many services may run as that, and each could flush the table and read without
            // a limit; and no program trusts what belongs to it.
            Some(Some(uid)) if uid != 0 && uid == overflow_user() => {
                let problem = "expected a user that no other service has";
                let which = format!("{uid} stands for all users without a number of their own");
                let named = named.display();
                return Err(bad(format!("{named}: daemon.user: {problem}: {which}")));
            }
            Some(Some(uid)) => Some(uid),
            Some(None) => {
                let problem =
                    "daemon.user: expected a user of this host (/etc/passwd), or a number";
                return Err(bad(format!("{}: {problem}", named.display())));
            }
        };
        let own_place = place.run_dir()?;
        let below = |name: &str, set: &Option<PathBuf>| match (&own_place, set) {
            (Some(folder), _) => folder.join(name),
            (None, Some(set)) => set.clone(),
            (None, None) => Path::new(RUN_DIR).join(name),
        };
        Ok(Self {
            socket: below("aarpd.sock", &daemon.socket),
            table: below("table", &daemon.table),
            resolve,
            daemon,
            user,
        })
    }

    /// For how long a mapping may hold at the most.
    pub(crate) fn longest(&self) -> Duration {
        let of = |times: &Times| times.ttl.max(times.direct).max(times.unanswered_max);
        let rules = self.resolve.rules.iter();
        let rules = rules.map(|rule| of(&rule.times.over(&self.resolve.times)));
        rules.fold(of(&self.resolve.times), Duration::max)
    }
}

/// The file with the `[daemon]` table: the system's, or for a user's daemon its own.
fn file(place: &Place) -> Option<PathBuf> {
    if let Some(named) = &place.config {
        return Some(named.clone());
    }
    if !place.user_daemon {
        return Some(SYSTEM_FILE.into());
    }
    let folder = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute())
    };
    let folder = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(folder.join("aarp/aarp.toml"))
}

/// The variables that the resolving layer's configuration is read from: as for a program,
/// but that a daemon of the system has no user whose file could count.
struct Sources<'p> {
    place: &'p Place,
}

impl Variables for Sources<'_> {
    fn with(&self, name: &str, read: &mut dyn FnMut(Result<&str, ()>)) {
        let value = match (name, &self.place.config) {
            ("AARP_CONFIG", Some(config)) => Some(config.clone().into_os_string()),
            ("XDG_CONFIG_HOME" | "HOME", _) if !self.place.user_daemon => None,
            _ => std::env::var_os(name),
        };
        if let Some(value) = value {
            read(value.to_str().ok_or(()));
        }
    }
}
