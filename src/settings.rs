//! The configuration, read at the first call that needs it.

use core::sync::atomic::{AtomicU8, Ordering};

use aarp_core::bypass::Bypass;
use aarp_core::settings::{DaemonUse, Settings};
use aarp_sys::memory::leak_copy;
use aarp_sys::settings::OwnEnvironment;
use once_cell::race::OnceRef;

use crate::report;

static DEFAULT: Settings = Settings::DEFAULT;
static SETTINGS: OnceRef<'static, Settings> = OnceRef::new();
static PHASE: AtomicU8 = AtomicU8::new(UNREAD);

const UNREAD: u8 = 0;
const READING: u8 = 1;
const BAD: u8 = 2;
const OFF: u8 = 3;

/// The settings.
///
/// # Errors
/// Why there are none, now or for good.
#[inline]
pub(crate) fn get() -> Result<&'static Settings, Bypass> {
    match SETTINGS.get() {
        Some(settings) => Ok(settings),
        None => read(),
    }
}

/// The settings, if they have been read.
pub(crate) fn known() -> Option<&'static Settings> {
    SETTINGS.get()
}

#[cold]
fn read() -> Result<&'static Settings, Bypass> {
    let begun = PHASE.compare_exchange(UNREAD, READING, Ordering::Acquire, Ordering::Relaxed);
    match begun {
        Ok(_) => {}
        Err(BAD) => return Err(Bypass::BadConfig),
        Err(OFF) => return Err(Bypass::Off),
        // Another thread, or the frame that a signal handler has interrupted. A
        // child forked in this moment stays here, and pins nothing.
        Err(_) => return Err(Bypass::Busy),
    }
    let Ok(settings) = leak_copy(&DEFAULT) else {
        PHASE.store(UNREAD, Ordering::Release);
        return Err(Bypass::Busy);
    };
    if let Err(error) = aarp_sys::settings::load(settings, &OwnEnvironment) {
        PHASE.store(BAD, Ordering::Release);
        report::bad_configuration(&error);
        return Err(Bypass::BadConfig);
    }
    // There is no aarpd that could be required.
    if settings.daemon_use == DaemonUse::Require {
        PHASE.store(OFF, Ordering::Release);
        return Err(Bypass::Off);
    }
    let settings: &'static Settings = settings;
    Ok(SETTINGS.get_or_init(|| settings))
}
