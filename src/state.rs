//! What this process remembers. The pages are wiped in a forked child: it starts
//! afresh, and no lock that another thread held at the fork stays locked.

use aarp_core::state::ProcessState;
use aarp_sys::memory::leak_zeroed;
use aarp_sys::process;
use once_cell::race::OnceRef;

static STATE: OnceRef<'static, ProcessState> = OnceRef::new();

/// The state, once it is there.
#[inline]
pub(crate) fn known() -> Option<&'static ProcessState> {
    STATE.get()
}

/// The state, made at the first call; `None` where the kernel gives no memory.
pub(crate) fn get() -> Option<&'static ProcessState> {
    if let Some(state) = STATE.get() {
        return Some(state);
    }
    // Two threads that come at the same time both make one; one is used, and the
    // other's pages were never touched.
    let fresh = leak_zeroed(true).ok()?;
    let state: &ProcessState = STATE.get_or_init(|| fresh);
    // Known from the beginning: where it is not, a fork has wiped it.
    let _ = state.process(process::id);
    Some(state)
}
