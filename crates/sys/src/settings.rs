//! Finding and reading the configuration: the system's file, the user's, the
//! environment. The preload library and the tools read it by this code.

use core::fmt;
use core::fmt::Write as _;

use aarp_core::config::{
    ConfigError, SOURCE_MAX, TOKENS, VARIABLES, end_token, read_document, read_variable,
};
use aarp_core::settings::{DaemonKeys, Layer, Settings};
use aarp_core::text::Text;

use crate::environment::variable;
use crate::file;
use crate::memory::with_scratch;
use crate::passwd;
use crate::process;
use crate::syscall::Errno;

/// The system's file, unless `AARP_CONFIG` names another.
pub const SYSTEM_FILE: &str = "/etc/aarp/aarp.toml";
/// The user's file, below the folder of configurations.
const USER_FILE: &str = "/aarp/aarp.toml";

/// What is wrong with the configuration, in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsError {
    /// The file; empty for the environment.
    pub file: Text<256>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a part of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Nothing may be allocated.
pub enum Problem {
    /// A key or a value.
    Setting(ConfigError),
    /// The file cannot be read.
    Read(Errno),
    /// The file, or the named variable, is not UTF-8.
    Encoding(&'static str),
    /// No memory to read it with.
    Memory(Errno),
}

impl SettingsError {
    /// Whether the configuration may be right, and could only not be read now: for
    /// want of descriptors or memory.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self.problem {
            Problem::Memory(_) => true,
            Problem::Read(errno) => {
                matches!(
                    errno.0,
                    libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EINTR
                )
            }
            Problem::Setting(_) | Problem::Encoding(_) => false,
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_str().is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        match &self.problem {
            Problem::Setting(error) => fmt::Display::fmt(error, f),
            Problem::Read(errno) => write!(f, "cannot be read: {errno}"),
            Problem::Encoding("") => f.write_str("expected UTF-8"),
            Problem::Encoding(name) => write!(f, "{name}: expected UTF-8"),
            Problem::Memory(errno) => write!(f, "no memory to read it: {errno}"),
        }
    }
}

impl core::error::Error for SettingsError {}

/// The variables that a configuration is read from.
pub trait Variables {
    /// Calls `read` with the value of a variable that is set; with an error where
    /// it is not UTF-8.
    fn with(&self, name: &str, read: &mut dyn FnMut(Result<&str, ()>));
}

/// The variables of this process; none where they are not to be believed.
#[derive(Debug, Clone, Copy)]
pub struct OwnEnvironment;

impl Variables for OwnEnvironment {
    fn with(&self, name: &str, read: &mut dyn FnMut(Result<&str, ()>)) {
        variable(name, read);
    }
}

/// Reads the whole configuration over the defaults in `settings`.
///
/// # Errors
/// The first thing that is wrong; `settings` must not be used then.
#[allow(clippy::result_large_err)] // Nothing may be allocated.
pub fn load(settings: &mut Settings, variables: &dyn Variables) -> Result<(), SettingsError> {
    match path(variables, &[("AARP_CONFIG", "")])? {
        // A file that is named must be there.
        Some(named) => load_file(settings, Layer::System, &named, true)?,
        None => load_file(settings, Layer::System, &Text::from(SYSTEM_FILE), false)?,
    }
    let user = [
        ("XDG_CONFIG_HOME", USER_FILE),
        ("HOME", "/.config/aarp/aarp.toml"),
    ];
    if let Some(user) = path(variables, &user)? {
        load_file(settings, Layer::User, &user, false)?;
    }
    load_environment(settings, variables)?;
    settings.daemon.runtime = runtime(variables);
    // Here, once, and not where somebody waits for an answer.
    settings.daemon.uid = match settings.daemon.user.as_str() {
        "" => None,
        name => passwd::user(name),
    };
    Ok(())
}

/// The folder below which a user's own daemon is: `XDG_RUNTIME_DIR`, which has to be
/// absolute. One that is none, or too long, is passed over, as those who use it have it.
fn runtime<const N: usize>(variables: &dyn Variables) -> Text<N> {
    let mut runtime = Text::new();
    variables.with("XDG_RUNTIME_DIR", &mut |folder| {
        let folder = folder.ok().filter(|folder| folder.starts_with('/'));
        let folder = folder.map(Text::from).filter(|folder| !folder.is_cut());
        runtime = folder.unwrap_or_default();
    });
    runtime
}

/// Which keys of `[daemon]` count in a file with this owner and mode. Whom a process
/// trusts is said by root, or by its own user (see [`process::sole_user`]) in the file that
/// `AARP_CONFIG` names; where the daemon is, also by the user's own file.
fn daemon_keys(layer: Layer, (owner, mode): (u32, u32)) -> DaemonKeys {
    let own = || process::sole_user().filter(|own| *own != process::overflow_user());
    let is_own = owner == 0 || own() == Some(owner);
    match layer {
        Layer::System if is_own && mode & 0o022 == 0 => DaemonKeys::All,
        // A folder of another user's, as after su(1).
        Layer::User if !is_own => DaemonKeys::None,
        _ => DaemonKeys::Places,
    }
}

/// The first of the variables that holds a path, with its suffix. Only what has no
/// suffix may be relative.
#[allow(clippy::result_large_err)]
fn path(
    variables: &dyn Variables,
    names: &[(&'static str, &str)],
) -> Result<Option<Text<512>>, SettingsError> {
    let mut path = None;
    let mut problem = None;
    for (name, suffix) in names {
        variables.with(name, &mut |value| {
            let Ok(value) = value else {
                problem = problem.or(Some(Problem::Encoding(name)));
                return;
            };
            let usable = !value.is_empty() && (value.starts_with('/') || suffix.is_empty());
            if path.is_none() && usable {
                let mut found = Text::from(value);
                found.push(suffix);
                path = Some(found);
            }
        });
        if path.is_some() || problem.is_some() {
            break;
        }
    }
    match (problem, path) {
        (Some(problem), _) => Err(SettingsError {
            file: Text::new(),
            problem,
        }),
        (None, Some(path)) if path.is_cut() => {
            let problem = Problem::Read(Errno(libc::ENAMETOOLONG));
            Err(SettingsError {
                file: Text::from(path.as_str()),
                problem,
            })
        }
        (None, path) => Ok(path),
    }
}

#[allow(clippy::result_large_err)]
fn load_file(
    settings: &mut Settings,
    layer: Layer,
    path: &Text<512>,
    required: bool,
) -> Result<(), SettingsError> {
    let error = |problem| SettingsError {
        file: Text::from(path.as_str()),
        problem,
    };
    let file = match file::open(path.as_str()) {
        Ok(Some(file)) => file,
        Ok(None) if required => return Err(error(Problem::Read(Errno(libc::ENOENT)))),
        Ok(None) => return Ok(()),
        // A program that has changed its user still has the HOME of another, whose
        // configuration is not its own.
        Err(Errno(libc::EACCES | libc::EPERM)) if layer == Layer::User => return Ok(()),
        Err(errno) => return Err(error(Problem::Read(errno))),
    };
    let owner = file.owner().map_err(|errno| error(Problem::Read(errno)))?;
    settings.daemon.keys = daemon_keys(layer, owner);
    let read = with_scratch::<_, TOKENS, _>(end_token(), SOURCE_MAX + 1, |tokens, octets| {
        let octets = file.read(octets).map_err(Problem::Read)?;
        let text = core::str::from_utf8(octets).map_err(|_| Problem::Encoding(""))?;
        read_document(settings, layer, text, tokens).map_err(Problem::Setting)
    });
    match read {
        Ok(read) => read.map_err(error),
        Err(errno) => Err(error(Problem::Memory(errno))),
    }
}

#[allow(clippy::result_large_err)]
fn load_environment(
    settings: &mut Settings,
    variables: &dyn Variables,
) -> Result<(), SettingsError> {
    for (key, name) in VARIABLES {
        let mut problem = None;
        variables.with(name, &mut |value| {
            let read = match value {
                // An empty variable is one that is not set.
                Ok("") => Ok(()),
                Ok(value) => read_variable(settings, Layer::Environment, key, value)
                    .map_err(Problem::Setting),
                Err(()) => Err(Problem::Encoding(name)),
            };
            problem = read.err();
        });
        if let Some(problem) = problem {
            return Err(SettingsError {
                file: Text::new(),
                problem,
            });
        }
    }
    Ok(())
}

/// The error as a line, ended, for the preload library's log.
#[must_use]
pub fn line(error: &SettingsError) -> Text<512> {
    let mut line = Text::new();
    // A Text takes whatever fits, and never fails.
    let _ = writeln!(line, "aarp: {error}");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::path::Path;

    struct Named<'p>(&'p Path, &'p Path);

    impl Variables for Named<'_> {
        fn with(&self, name: &str, read: &mut dyn FnMut(Result<&str, ()>)) {
            match name {
                "AARP_CONFIG" => read(self.0.to_str().ok_or(())),
                "XDG_CONFIG_HOME" => read(self.1.to_str().ok_or(())),
                _ => {}
            }
        }
    }

    #[test]
    fn a_file_of_anybody_elses_names_nobody_who_is_trusted() {
        let own = process::user();
        let other = process::overflow_user().wrapping_sub(1);
        for (layer, owner, mode, keys) in [
            (Layer::System, 0, 0o644, DaemonKeys::All),
            (Layer::System, own, 0o600, DaemonKeys::All),
            (Layer::System, other, 0o644, DaemonKeys::Places),
            (Layer::System, 0, 0o664, DaemonKeys::Places),
            (Layer::System, own, 0o646, DaemonKeys::Places),
            (
                Layer::System,
                process::overflow_user(),
                0o644,
                DaemonKeys::Places,
            ),
            (Layer::User, own, 0o644, DaemonKeys::Places),
            (Layer::User, 0, 0o644, DaemonKeys::Places),
            (Layer::User, other, 0o644, DaemonKeys::None),
        ] {
            assert_eq!(
                daemon_keys(layer, (owner, mode)),
                keys,
                "{layer:?} {owner} {mode:o}"
            );
        }
    }

    /// `XDG_RUNTIME_DIR`, and a configuration that is empty.
    struct Runtime(Result<String, ()>);

    impl Variables for Runtime {
        fn with(&self, name: &str, read: &mut dyn FnMut(Result<&str, ()>)) {
            match name {
                "AARP_CONFIG" => read(Ok("/dev/null")),
                "XDG_RUNTIME_DIR" => read(self.0.as_deref().or(Err(()))),
                _ => {}
            }
        }
    }

    #[test]
    fn the_folder_of_ones_own_daemon_is_read_with_the_configuration() {
        let long = |length: usize| format!("/{}", "x".repeat(length - 1));
        for (variable, folder) in [
            (Ok("/run/user/1000".to_owned()), "/run/user/1000"),
            (Ok(long(240)), long(240).as_str()),
            (Ok(long(241)), ""),
            (Ok(String::new()), ""),
            (Ok("run/user".to_owned()), ""),
            (Err(()), ""),
        ] {
            let mut settings = Settings::DEFAULT;
            load(&mut settings, &Runtime(variable.clone())).unwrap();
            assert_eq!(settings.daemon.runtime.as_str(), folder, "{variable:?}");
        }
    }

    #[test]
    fn who_is_trusted_is_looked_up_when_the_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let [system, home] = ["aarp.toml", "home"].map(|name| folder.path().join(name));
        let user = home.join("aarp/aarp.toml");
        std::fs::create_dir_all(user.parent().unwrap()).unwrap();
        std::fs::write(&system, "[daemon]\nuser = \"root\"\ntable = \"/s\"\n").unwrap();
        std::fs::write(&user, "[daemon]\nuser = \"4711\"\ntable = \"/u\"\n").unwrap();
        let read = || {
            let mut settings = Settings::DEFAULT;
            load(&mut settings, &Named(&system, &home)).unwrap();
            let table = settings.daemon.table.as_str().to_owned();
            (settings.daemon.uid, table)
        };
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&system, mode).unwrap();
        };
        mode(0o644);
        assert_eq!(read(), (Some(0), "/u".to_owned()));
        mode(0o664);
        assert_eq!(read(), (None, "/u".to_owned()));
        mode(0o644);
        // Where there are other users.
        if chown(&user, Some(4711), None).is_ok() {
            assert_eq!(read(), (Some(0), "/s".to_owned()));
            chown(&system, Some(4711), None).unwrap();
            assert_eq!(read(), (None, "/s".to_owned()));
        }
    }
}
