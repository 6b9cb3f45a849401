//! Reading the configuration: files in TOML, `AARP_*` variables, options.
//!
//! Nothing is allocated, so that the preload library can read the very same
//! configuration in the same way as the tools. Unknown keys are errors, and so are
//! keys given twice; a key of a part other than the resolving layer is known by
//! name and left to that part.

// An error carries its text itself: nothing may be allocated.
#![allow(clippy::result_large_err)]

mod document;
mod schema;
mod value;

use core::fmt::{self, Write as _};

pub use document::{SOURCE_MAX, TOKENS, end_token, read_document};
pub use schema::{Key, VARIABLES};
pub use value::read_duration;

use crate::settings::{Layer, Settings};
use crate::text::Text;

/// What is wrong with a setting, in one line: the key, what was expected, and
/// what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigError {
    /// The line in the file, from 1; 0 where there is no file.
    pub line: u32,
    /// The key with its table, such as `resolve.prefixes`; empty where the file
    /// is no TOML at all.
    pub key: Text<64>,
    /// What was expected.
    pub expected: &'static str,
    /// What stands there.
    pub found: Text<48>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.as_str().is_empty() {
            in_one_line(f, self.key.as_str())?;
            f.write_str(if self.key.is_cut() { "…: " } else { ": " })?;
        }
        write!(f, "expected {}", self.expected)?;
        if !self.found.as_str().is_empty() {
            let found = self.found.as_str();
            // What is in quotes of its own keeps them as they stand.
            let quote = if found.contains('"') { '\'' } else { '"' };
            write!(f, ", found {quote}")?;
            in_one_line(f, found)?;
            f.write_char(quote)?;
        }
        Ok(())
    }
}

/// As it stands in the file it may have a line break in it.
fn in_one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for character in text.chars() {
        if character.is_control() {
            write!(f, "{}", character.escape_default())?;
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

impl core::error::Error for ConfigError {}

/// Takes over one setting that is given as text: an `AARP_*` variable, or an
/// option of a command. Lists are separated by commas.
///
/// # Errors
/// What is wrong with the value.
pub fn read_variable(
    settings: &mut Settings,
    layer: Layer,
    key: Key,
    text: &str,
) -> Result<(), ConfigError> {
    value::apply_text(settings, layer, key, text).map_err(|expected| ConfigError {
        line: 0,
        key: Text::from(key.variable()),
        expected,
        found: Text::from(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_stands_in_one_pair_of_quotes() {
        let said = |found: &str| {
            ConfigError {
                line: 0,
                key: Text::from("AARP_TTL"),
                expected: "a duration",
                found: Text::from(found),
            }
            .to_string()
        };
        let begin = "AARP_TTL: expected a duration, found ";
        assert_eq!(said("soon"), format!("{begin}\"soon\""));
        assert_eq!(said("\"1s\""), format!("{begin}'\"1s\"'"));
        assert_eq!(said("a\nb"), format!("{begin}\"a\\nb\""));
        assert_eq!(said(""), "AARP_TTL: expected a duration");
    }
}
