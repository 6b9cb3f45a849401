//! Whether this process may change addresses and nft rules.

use crate::HostError;

/// Refuses to go on without CAP_NET_ADMIN, for this process and for the tools it runs.
///
/// # Errors
/// [`HostError::NotPermitted`].
pub fn require_net_admin() -> Result<(), HostError> {
    const NET_ADMIN: u32 = 12;
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|e| HostError::system("read /proc/self/status", e))?;
    let has = |set: &str| {
        status
            .lines()
            .find_map(|l| l.strip_prefix(set)?.strip_prefix(':'))
            .and_then(|v| u64::from_str_radix(v.trim(), 16).ok())
            .is_some_and(|bits| bits & (1 << NET_ADMIN) != 0)
    };
    // `ip` and `nft` get the capabilities of root, or the ambient ones.
    let inherited = rustix::process::geteuid().is_root() || has("CapAmb");
    if has("CapEff") && inherited {
        return Ok(());
    }
    Err(HostError::NotPermitted)
}
