//! What getaddrinfo() has found: asked about all at once, so that connect() finds the
//! answers; or given to the program behind them, for programs whose other calls never
//! reach us.

use core::ffi::CStr;
use core::fmt::Write as _;
use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::mapping::{Mapping, MappingTable};
use aarp_core::policy::{self, Interest};
use aarp_core::refutation::Claim;
use aarp_core::settings::{GetAddrInfo, Settings};
use aarp_core::state::ProcessState;
use aarp_core::text::Text;
use aarp_sys::addrinfo::{AddrInfoList, Entry};
use aarp_sys::ask::ADDRESSES;
use aarp_sys::clock::boottime;
use aarp_sys::errno;
use aarp_sys::memory::leak_zeroed;
use once_cell::race::OnceRef;

use crate::ops::is_barred;
use crate::resolve::{known, prefetch};
use crate::{mapper, namespace, report, settings, state};

/// A name has been resolved by the function behind, with these flags, or an address
/// been read. Addresses are read for many reasons, and who connects asks then; with
/// `AI_PASSIVE` it is about listening, without a name about this host.
///
/// `same_for` asks the function behind for an address in figures, with everything else as
/// the program has asked.
pub(crate) fn resolved<'l>(
    list: &mut AddrInfoList<'l>,
    flags: i32,
    literal: bool,
    same_for: impl Fn(&CStr) -> Option<AddrInfoList<'l>>,
) {
    if flags & (libc::AI_PASSIVE | libc::AI_NUMERICHOST) != 0 {
        return;
    }
    // What is asked now would not be remembered.
    if namespace::has_changed() {
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
            GetAddrInfo::Prefetch => fetch(settings, state, list, false),
            GetAddrInfo::Rewrite => {
                fetch(settings, state, list, true);
                rewrite(settings, state, list, same_for);
            }
        }
    }
    errno::set(saved);
}

fn is_possible(address: Ipv6Addr) -> bool {
    policy::possible(address).is_ok()
}

/// Asks about what is not known yet, all within one budget. What is beyond the number
/// that can be asked at once waits for its connect(), and so does what is silent, unless
/// `all` are waited for.
fn fetch(settings: &Settings, state: &ProcessState, list: &AddrInfoList<'_>, all: bool) {
    let is_ours = |entry: &Entry| policy::interest(settings, entry.address).is_ok();
    if !list.entries().any(|entry| is_ours(&entry)) {
        return;
    }
    let now = boottime();
    mapper::find_table(settings, state, now);
    let mut unknown = [(Ipv6Addr::UNSPECIFIED, 0); ADDRESSES];
    let mut count = 0;
    for Entry { address, scope, .. } in list.entries() {
        let wanted = policy::interest(settings, address).is_ok()
            && !is_given_u(address, now)
            && known(settings, state, address, now).is_none()
            && !unknown[..count].contains(&(address, scope));
        if wanted && count < ADDRESSES {
            unknown[count] = (address, scope);
            count += 1;
        }
    }
    if count > 0 {
        prefetch(settings, state, &unknown[..count], now, all);
    }
}

/// What has been given to the program: by A, which U; and by U, itself. Both are then
/// left alone: who walks the list comes to U first, and to A where U has failed, which
/// nobody tells us. In ordinary memory: a forked child has its parent's list.
static GIVEN: OnceRef<'static, MappingTable> = OnceRef::new();

fn given_for(a: Ipv6Addr) -> Option<Mapping> {
    GIVEN.get()?.lookup(a)
}

/// Whether getaddrinfo has given this U to the program, and that still holds.
fn is_given_u(u: Ipv6Addr, now: Duration) -> bool {
    given_for(u).is_some_and(|given| given.u == u && given.is_fresh(now))
}

/// Whether `a` is asked about: not where the program has been given U for it, or where
/// it is that U.
///
/// # Errors
/// The reason why not.
#[inline]
pub(crate) fn interest(settings: &Settings, a: Ipv6Addr) -> Result<Interest, Bypass> {
    if settings.getaddrinfo == GetAddrInfo::Rewrite
        && let Some(given) = given_for(a)
        && given.is_fresh(boottime())
    {
        return Err(if given.u == a {
            Bypass::Given
        } else {
            Bypass::Rewritten
        });
    }
    policy::interest(settings, a)
}

/// Puts U before each A that has one, where it has not failed, and no U twice.
fn rewrite<'l>(
    settings: &Settings,
    state: &ProcessState,
    list: &mut AddrInfoList<'l>,
    same_for: impl Fn(&CStr) -> Option<AddrInfoList<'l>>,
) {
    // As for the state of the process: the loser's pages were never touched.
    let table = GIVEN.get().or_else(|| {
        let fresh = leak_zeroed(false).ok()?;
        Some(GIVEN.get_or_init(|| fresh))
    });
    let Some(table) = table else { return };
    let now = boottime();
    let mut before = Seen::default();
    let mut given = Seen::default();
    for entry in list.entries() {
        let a = entry.address;
        // Of one address there are entries for each type of socket.
        if before.has(a) || policy::interest(settings, a).is_err() || is_given_u(a, now) {
            continue;
        }
        if !before.add(a) {
            return;
        }
        let Some((u, known)) = unicast_of(settings, state, list, a, now) else {
            continue;
        };
        if !given.has(u) {
            let Some(same) = same_for(text_of(u).as_c_str()) else {
                continue;
            };
            list.put_before(&entry, same);
            given.add(u);
            report::given(a, u);
        }
        // Where there is no room, they are asked about once more.
        table.store(u, Mapping { u, ..known });
        table.store(a, known);
    }
}

/// The U of A, where it has not failed for any entry, and the mapping that says so.
fn unicast_of(
    settings: &Settings,
    state: &ProcessState,
    list: &AddrInfoList<'_>,
    a: Ipv6Addr,
    now: Duration,
) -> Option<(Ipv6Addr, Mapping)> {
    let known = known(settings, state, a, now)?;
    let u = known.target(settings.times.budget).ok()?;
    let has_failed = |entry: Entry<'_>| {
        let claim = Claim {
            a,
            u,
            protocol: entry.protocol,
            port: entry.port,
        };
        entry.address == a && state.refutations.refuted_until(&claim, now).is_some()
    };
    (!list.entries().any(has_failed)).then_some((u, known))
}

/// Some addresses: as many as can be asked about at once.
#[derive(Default)]
struct Seen {
    addresses: [Option<Ipv6Addr>; ADDRESSES],
}

impl Seen {
    fn has(&self, address: Ipv6Addr) -> bool {
        self.addresses.contains(&Some(address))
    }

    /// Whether there was room.
    fn add(&mut self, address: Ipv6Addr) -> bool {
        let mut room = self.addresses.iter_mut();
        match room.find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(address);
                true
            }
            None => false,
        }
    }
}

/// An address in figures, with the zero that C wants at its end.
struct Figures(Text<48>);

impl Figures {
    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(self.0.as_str().as_bytes()).unwrap_or(c"")
    }
}

fn text_of(address: Ipv6Addr) -> Figures {
    let mut text = Text::new();
    // The longest has 39 characters.
    let _ = write!(text, "{address}\0");
    Figures(text)
}
