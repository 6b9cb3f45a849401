//! The configuration, read at the first call that needs it.

use core::sync::atomic::{AtomicBool, Ordering};

use aarp_core::bypass::Bypass;
use aarp_core::settings::Settings;
use aarp_sys::memory::leak_changed;
use aarp_sys::process::has_stack_for_a_question;
use aarp_sys::settings::OwnEnvironment;
use once_cell::race::OnceRef;

use crate::{ops, report};

static DEFAULT: Settings = Settings::DEFAULT;
static SETTINGS: OnceRef<'static, Settings> = OnceRef::new();
/// Whether it was found to be bad.
static IS_BAD: AtomicBool = AtomicBool::new(false);

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
    if IS_BAD.load(Ordering::Relaxed) {
        return Err(Bypass::BadConfig);
    }
    if ops::is_barred() {
        return Err(Bypass::Seccomp);
    }
    if !has_stack_for_a_question() {
        return Err(Bypass::Reentrant);
    }
    report::read_environment();
    #[allow(clippy::result_large_err)] // Nothing may be allocated.
    let load = |settings: &mut Settings| aarp_sys::settings::load(settings, &OwnEnvironment);
    match leak_changed(&DEFAULT, load) {
        Ok(Ok(settings)) => Ok(SETTINGS.get_or_init(|| settings)),
        // Another call may find what is missing now.
        Err(_) => Err(Bypass::Busy),
        Ok(Err(error)) if error.is_temporary() => Err(Bypass::Busy),
        Ok(Err(error)) => {
            IS_BAD.store(true, Ordering::Relaxed);
            report::bad_configuration(&error);
            Err(Bypass::BadConfig)
        }
    }
}
