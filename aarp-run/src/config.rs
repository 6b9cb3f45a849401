//! The configuration, looked at before a program is started under it: in there a
//! bad setting only shows as a library that does nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

const SYSTEM: &str = "/etc/aarp/aarp.toml";

/// A configuration that the library would not follow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    #[error("configuration {}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
}

/// Checks what the library would be given, where `environment` is the environment
/// of the program to be started.
///
/// So far: each file that exists can be read, and the one that AARP_CONFIG names
/// exists.
pub(crate) fn check_configuration(
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<(), ConfigurationError> {
    let set = |key: &str| environment(key).filter(|value| !value.is_empty());
    match set("AARP_CONFIG") {
        Some(named) => readable(Path::new(&named))?,
        None => readable_if_there(Path::new(SYSTEM))?,
    }
    let user = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".config")));
    match user {
        // The base directory specification has relative paths ignored.
        Some(folder) if folder.is_absolute() => {
            readable_if_there(&folder.join(OsStr::new("aarp/aarp.toml")))
        }
        _ => Ok(()),
    }
}

fn readable_if_there(path: &Path) -> Result<(), ConfigurationError> {
    match readable(path) {
        Err(ConfigurationError::Unreadable { error, .. })
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn readable(path: &Path) -> Result<(), ConfigurationError> {
    let unreadable = |error| ConfigurationError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    // Opening a directory succeeds, reading one does not.
    file.read(&mut [0]).map_err(unreadable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &Path)]) -> Result<(), ConfigurationError> {
        check_configuration(|key| {
            variables
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.as_os_str().to_owned())
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
}
