//! What getaddrinfo() has found: asked about all at once, so that connect() finds the
//! answers; or replaced by them, for programs whose other calls never reach us.

use core::net::Ipv6Addr;

use aarp_core::policy::interest;
use aarp_core::refutation::Claim;
use aarp_core::settings::{GetAddrInfo, Settings};
use aarp_core::state::ProcessState;
use aarp_sys::addrinfo::{AddrInfoList, Entry};
use aarp_sys::ask::ADDRESSES;
use aarp_sys::clock::boottime;
use aarp_sys::errno;

use crate::ops::is_barred;
use crate::resolve::prefetch;
use crate::{report, settings, state};

/// A name has been resolved by the function behind, with these flags, or an address
/// been read. Addresses are read for many reasons, and who connects asks then; with
/// `AI_PASSIVE` it is about listening, without a name about this host.
pub(crate) fn resolved(list: &AddrInfoList<'_>, flags: i32, literal: bool) {
    if flags & (libc::AI_PASSIVE | libc::AI_NUMERICHOST) != 0 {
        return;
    }
    if is_barred() || !list.entries().any(|entry| is_possible(entry.address)) {
        return;
    }
    let saved = errno::get();
    if let (Ok(settings), Some(state)) = (settings::get(), state::get()) {
        match settings.getaddrinfo {
            GetAddrInfo::Off => {}
            GetAddrInfo::Prefetch if literal => {}
            GetAddrInfo::Prefetch => fetch(settings, state, list),
            GetAddrInfo::Rewrite => {
                fetch(settings, state, list);
                rewrite(settings, state, list);
            }
        }
    }
    errno::set(saved);
}

fn is_possible(address: Ipv6Addr) -> bool {
    aarp_core::policy::possible(address).is_ok()
}

/// Asks about what is not known yet, all within one budget. What is beyond the number
/// that can be asked at once waits for its connect().
fn fetch(settings: &Settings, state: &ProcessState, list: &AddrInfoList<'_>) {
    let now = boottime();
    let mut unknown = [(Ipv6Addr::UNSPECIFIED, 0); ADDRESSES];
    let mut count = 0;
    for Entry { address, scope, .. } in list.entries() {
        let known = state.mappings.lookup(address);
        let wanted = interest(settings, address).is_ok()
            && !known.is_some_and(|known| known.is_fresh(now))
            && !unknown[..count].contains(&(address, scope));
        if wanted && count < ADDRESSES {
            unknown[count] = (address, scope);
            count += 1;
        }
    }
    if count > 0 {
        prefetch(settings, state, &unknown[..count], now);
    }
}

/// Puts U in the place of each A that has one, where it has not failed.
fn rewrite(settings: &Settings, state: &ProcessState, list: &AddrInfoList<'_>) {
    let now = boottime();
    for entry in list.entries() {
        let a = entry.address;
        if interest(settings, a).is_err() {
            continue;
        }
        let known = state.mappings.lookup(a).filter(|known| known.is_fresh(now));
        let Some(Ok(u)) = known.map(|known| known.target(settings.times.budget)) else {
            continue;
        };
        let claim = Claim {
            a,
            u,
            protocol: entry.protocol,
            port: entry.port,
        };
        if state.refutations.refuted_until(&claim, now).is_none() {
            report::rewritten(a, u);
            entry.set_address(u);
        }
    }
}
