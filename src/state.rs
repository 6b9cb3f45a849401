//! What this process remembers. The pages are wiped in a forked child: it starts
//! afresh, and no lock that another thread held at the fork stays locked.

use aarp_core::state::ProcessState;
use aarp_sys::memory::leak_zeroed;
use aarp_sys::owner::owns_memory;
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
    state.set_swept(process_of(state));
    // What was counted before is its own.
    let _ = state.begins_to_count();
    Some(state)
}

/// The process whose memory this is; a vfork child that finds it wiped by a fork is told
/// its own id, which nobody else is.
#[inline]
pub(crate) fn process_of(state: &ProcessState) -> i32 {
    state.known_process().unwrap_or_else(|| {
        let this = process::id();
        let _ = find_owner(state, this);
        this
    })
}

/// Whether this process, of which the id is given, is the one whose memory this is.
pub(crate) fn is_owned_by(this: i32) -> bool {
    match known() {
        Some(state) => match state.known_process() {
            Some(owner) => owner == this,
            None => find_owner(state, this),
        },
        None => owns_memory(),
    }
}

/// The same where a fork has wiped it.
#[cold]
fn find_owner(state: &ProcessState, this: i32) -> bool {
    let owns = owns_memory();
    if owns {
        state.belongs_to(this);
    }
    owns
}
