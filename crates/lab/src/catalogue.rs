//! The scenarios that come with the tool, and opening them.
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use crate::error::Context;
use crate::expand::Variables;
use crate::folder::Folder;
use crate::scenario::{FileSpec, Scenario};
use crate::{Error, Result};

/// The scenarios that come with the tool: their names and texts.
pub fn catalogue() -> &'static [(&'static str, &'static str)] {
    &[
        ("basic", include_str!("../scenarios/basic.toml")),
        ("demo", include_str!("../scenarios/demo.toml")),
        ("thesis-5-1", include_str!("../scenarios/thesis-5-1.toml")),
        ("thesis-5-2", include_str!("../scenarios/thesis-5-2.toml")),
        ("thesis-arl", include_str!("../scenarios/thesis-arl.toml")),
    ]
}

/// The text of a scenario: one of the catalogue's names, or a file.
fn text_of(name: &str) -> Result<String> {
    if let Some((_, text)) = catalogue().iter().find(|(known, _)| *known == name) {
        return Ok((*text).to_owned());
    }
    if !name.contains(['/', '.']) {
        return Err(Error::Unknown {
            kind: "scenario",
            name: name.to_owned(),
        });
    }
    fs::read_to_string(name).context(|| format!("read the scenario {name}"))
}

impl Scenario {
    /// Reads a scenario, by name or file, and makes its folder and files.
    pub(crate) fn open(name: &str, mut variables: Variables) -> Result<(Self, Folder)> {
        let text = text_of(name)?;
        let work = Folder::make()?;
        variables.insert("work".to_owned(), work.path().display().to_string());
        let scenario = Self::parse(name, &text, &variables)?;
        for file in &scenario.files {
            make(file)?;
        }
        Ok((scenario, work))
    }
}

fn make(spec: &FileSpec) -> Result<()> {
    let path = PathBuf::from(&spec.path);
    let what = || format!("make {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).context(what)?;
    }
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    if let Some(mode) = spec.mode {
        // From the start: a key is nobody else's for a moment, either.
        options.mode(mode.0);
    }
    let mut file = options.open(&path).context(what)?;
    if let Some(mode) = spec.mode {
        // Whatever the umask is.
        file.set_permissions(fs::Permissions::from_mode(mode.0))
            .context(what)?;
    }
    if let Some(text) = &spec.text {
        return file.write_all(text.as_bytes()).context(what);
    }
    let mut random = fastrand::Rng::with_seed(spec.seed);
    let mut left = spec.size.map_or(0, |size| size.0);
    let mut block = vec![0; 1 << 16];
    while left > 0 {
        let length = left.min(block.len() as u64) as usize;
        random.fill(&mut block[..length]);
        file.write_all(&block[..length]).context(what)?;
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_that_comes_with_the_tool_is_right() {
        let given = [("work", "/scratch"), ("stage", "/stage")];
        let variables = given
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        for (name, text) in catalogue() {
            let scenario = Scenario::parse(name, text, &variables).unwrap();
            assert!(!scenario.description.is_empty());
            assert!(scenario.steps.iter().any(|step| step.promise.is_some()));
        }
    }
}
