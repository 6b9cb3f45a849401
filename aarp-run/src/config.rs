//! The configuration, looked at before a program is started under it: in there a
//! bad setting only shows as a library that does nothing.

use std::ffi::OsString;
use std::path::Path;

use aarp_core::settings::{LogLevel, Settings};
use aarp_sys::diagnosis::{configuration, unwritable};
use aarp_sys::settings::{SettingsError, Variables, load};

/// A configuration that the library would not follow.
#[derive(Debug, thiserror::Error)]
#[error("configuration {}", configuration(.0))]
pub(crate) struct ConfigurationError(Box<SettingsError>);

/// The environment of the program to be started.
struct Given<F>(F);

impl<F: Fn(&str) -> Option<OsString>> Variables for Given<F> {
    fn with(&self, name: &str, read: &mut dyn FnMut(Result<&str, ()>)) {
        if let Some(value) = self.0(name) {
            read(value.to_str().ok_or(()));
        }
    }
}

/// Reads what the library would be given, by the library's own code, where
/// `environment` is the environment of the program to be started.
pub(crate) fn check_configuration(
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Box<Settings>, ConfigurationError> {
    let mut settings = Box::new(Settings::DEFAULT);
    match load(&mut settings, &Given(environment)) {
        Ok(()) => Ok(settings),
        Err(error) => Err(ConfigurationError(Box::new(error))),
    }
}

/// What the library has to say and cannot write; none where it has nothing to say or
/// can.
pub(crate) fn lost_log(settings: &Settings) -> Option<String> {
    let file = settings.log_file.as_str();
    let says = settings.log_level != LogLevel::Off || settings.stats;
    if file.is_empty() || !says {
        return None;
    }
    let error = unwritable(Path::new(file))?;
    Some(format!("the log file {file} cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &Path)]) -> Result<Box<Settings>, ConfigurationError> {
        check_configuration(|key| {
            let found = variables.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| value.as_os_str().to_owned())
        })
    }

    #[test]
    fn named_file_must_exist() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.toml");
        let error = check(&[("AARP_CONFIG", &file)]).expect_err("not there");
        assert!(error.to_string().contains("x.toml"), "{error}");
        std::fs::write(&file, "").expect("write");
        check(&[("AARP_CONFIG", &file)]).expect("readable");
    }

    #[test]
    fn user_file_may_be_absent_but_not_unreadable() {
        let folder = tempfile::tempdir().expect("a folder");
        let empty = folder.path().join("empty.toml");
        std::fs::write(&empty, "").expect("write");
        let variables = [
            ("AARP_CONFIG", empty.as_path()),
            ("XDG_CONFIG_HOME", folder.path()),
        ];
        check(&variables).expect("absent");
        // A directory in its place cannot be read by anybody, root included.
        std::fs::create_dir_all(folder.path().join("aarp/aarp.toml")).expect("create");
        check(&variables).expect_err("a directory");
    }

    #[test]
    fn a_bad_setting_is_named_with_its_file_and_what_was_expected() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.toml");
        std::fs::write(&file, "[resolve]\nprefixes = [\"nonsense\"]\n").expect("write");
        let error = check(&[("AARP_CONFIG", &file)])
            .expect_err("nonsense")
            .to_string();
        assert!(
            error.contains("x.toml: line 2: resolve.prefixes: expected an IPv6 prefix"),
            "{error}"
        );
        std::fs::write(&file, "").expect("write");
        let variables = [
            ("AARP_CONFIG", file.as_path()),
            ("AARP_TTL", Path::new("soon")),
        ];
        let error = check(&variables).expect_err("soon").to_string();
        assert!(error.contains("AARP_TTL: expected a duration"), "{error}");
    }
}
