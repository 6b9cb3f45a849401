//! The configuration, read at the first call that needs it.

use core::sync::atomic::{AtomicU8, Ordering};

use aarp_core::bypass::Bypass;
use aarp_core::settings::{DaemonUse, Settings};
use aarp_sys::memory::leak_changed;
use aarp_sys::process::has_stack_for_a_question;
use aarp_sys::settings::OwnEnvironment;
use once_cell::race::OnceRef;

use crate::{ops, report};

static DEFAULT: Settings = Settings::DEFAULT;
static SETTINGS: OnceRef<'static, Settings> = OnceRef::new();
static VERDICT: AtomicU8 = AtomicU8::new(NONE);

const NONE: u8 = 0;
const BAD: u8 = 1;
const OFF: u8 = 2;

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

/// Threads that come at the same time each read for themselves, and one's copy is
/// used by all: nobody waits, and nobody goes on without.
#[cold]
fn read() -> Result<&'static Settings, Bypass> {
    match VERDICT.load(Ordering::Relaxed) {
        BAD => return Err(Bypass::BadConfig),
        OFF => return Err(Bypass::Off),
        _ => {}
    }
    if ops::is_barred() {
        return Err(Bypass::Seccomp);
    }
    if !has_stack_for_a_question() {
        return Err(Bypass::Reentrant);
    }
    #[allow(clippy::result_large_err)] // Nothing may be allocated.
    let load = |settings: &mut Settings| aarp_sys::settings::load(settings, &OwnEnvironment);
    match leak_changed(&DEFAULT, load) {
        // There is no aarpd that could be required.
        Ok(Ok(settings)) if settings.daemon_use == DaemonUse::Require => {
            VERDICT.store(OFF, Ordering::Relaxed);
            Err(Bypass::Off)
        }
        Ok(Ok(settings)) => Ok(SETTINGS.get_or_init(|| settings)),
        // Another call may find what is missing now.
        Err(_) => Err(Bypass::Busy),
        Ok(Err(error)) if error.is_temporary() => Err(Bypass::Busy),
        Ok(Err(error)) => {
            VERDICT.store(BAD, Ordering::Relaxed);
            report::bad_configuration(&error);
            Err(Bypass::BadConfig)
        }
    }
}
