//! The files that the configuration is read from.

use aarp_core::config::VARIABLES;
use aarp_sys::settings::SYSTEM_FILE;

use crate::explain::places::Places;

/// The files that may be there, in the order of reading, as the library finds them.
pub(crate) fn files() -> Vec<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut files = vec![set("AARP_CONFIG").unwrap_or_else(|| SYSTEM_FILE.to_owned())];
    let below = |variable: &str, rest: &str| {
        let folder = set(variable).filter(|folder| folder.starts_with('/'))?;
        Some(format!("{folder}{rest}"))
    };
    let user = below("XDG_CONFIG_HOME", "/aarp/aarp.toml");
    files.extend(user.or_else(|| below("HOME", "/.config/aarp/aarp.toml")));
    files
}

/// Where the settings of this process stand.
pub(crate) fn places() -> Places {
    let mut places = Places::default();
    for file in files() {
        // One that is not there says nothing.
        if let Ok(text) = std::fs::read_to_string(&file) {
            places.add_file(&file, &text);
        }
    }
    for (_, name) in VARIABLES {
        if let Ok(value) = std::env::var(name) {
            places.add_variable(name, &value);
        }
    }
    places
}
