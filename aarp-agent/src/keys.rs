//! The keys of the responders, from their file into the keyring.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aarp_core::binding::authentication::Association;
use aarp_core::binding::keyring::{Freshness, Keyring, NodeId};
use aarp_core::binding::timestamp::Timestamp;
use aarp_core::prefix::Prefix;
use aarp_host::failure::{Failure, code};
use aarp_mobility::keys::{self, KeysError};

use crate::settings::Settings;

/// A keyring with the keys of the file.
pub(crate) fn keyring(settings: &Settings) -> Result<Keyring, Failure> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    let started = Timestamp::from_unix(started.unwrap_or_default());
    let mut keyring = Keyring::new(Freshness::DEFAULT).since(started);
    replace(&mut keyring, settings)?;
    Ok(keyring)
}

/// Has the keys that the file has by now in place of those before; on an error there are
/// those before. Returns the identities that have none any more.
pub(crate) fn replace(keyring: &mut Keyring, settings: &Settings) -> Result<Vec<String>, Failure> {
    let before = keyring.holders();
    let keys = read(settings)?;
    keyring.replace(keys).map_err(|error| {
        let file = settings.keys.display();
        Failure::new(code::CONFIGURATION, format!("{file}: {error}"))
    })?;
    let now = keyring.holders();
    let gone: BTreeSet<NodeId> = before.difference(&now).copied().collect();
    let identities = identities(keyring);
    let gone = gone.into_iter().map(|NodeId(number)| number as usize);
    Ok(gone.filter_map(|n| identities.get(n).cloned()).collect())
}

/// The identities of the nodes, by their numbers.
pub(crate) fn identities(keyring: &Keyring) -> Arc<[String]> {
    let identities = keyring.identities();
    identities
        .map(|octets| String::from_utf8_lossy(octets).into_owned())
        .collect()
}

/// The associations of the file, and what each may register.
fn read(settings: &Settings) -> Result<Vec<(Association, Vec<Prefix>)>, Failure> {
    let keys = match keys::read(&settings.keys) {
        Ok(keys) => keys,
        // Who has said that none are needed need not have a file.
        Err(KeysError::Unreadable { error, .. })
            if error.kind() == std::io::ErrorKind::NotFound
                && settings.insecure_unauthenticated =>
        {
            Vec::new()
        }
        Err(error) => return Err(Failure::new(code::CONFIGURATION, error)),
    };
    let file = settings.keys.display();
    if keys.is_empty() && !settings.insecure_unauthenticated {
        let message = format!("{file}: key: expected at least one [[key]], or nobody can register");
        return Err(Failure::new(code::CONFIGURATION, message));
    }
    let associations = keys.iter().enumerate().map(|(index, key)| {
        let association = Association::new(key.spi, key.secret.octets(), key.peer.as_bytes());
        let association = association.map_err(|problem| {
            let message = format!("{file}: key[{index}]: {problem}");
            Failure::new(code::CONFIGURATION, message)
        })?;
        let homes = key.may_register.iter().map(|a| Prefix::host(*a));
        Ok((association, homes.collect()))
    });
    associations.collect()
}
