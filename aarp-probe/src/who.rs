//! Who answers for an anycast address.

use std::net::Ipv6Addr;

use aarp_core::accept::{Verdict, judge_address, judge_routes};
use aarp_core::settings::Settings;
use aarp_sys::route::{Origin, RouteSocket};
use aarp_sys::syscall::Errno;

/// Who answered for A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// This unicast address, to which a program would be moved.
    Unicast(Ipv6Addr),
    /// This address, which must not be used.
    Refused(Ipv6Addr),
    /// A itself: unicast, or no responder there. Which node it is cannot be told.
    Itself,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Unicast(u) => u.fmt(f),
            Who::Refused(u) => write!(f, "{u} (untrusted)"),
            Who::Itself => f.write_str("itself"),
        }
    }
}

impl Who {
    /// The unicast address, where there is one.
    pub(crate) fn address(self) -> Option<Ipv6Addr> {
        match self {
            Who::Unicast(u) | Who::Refused(u) => Some(u),
            Who::Itself => None,
        }
    }

    /// The state, by the names of logs and metrics.
    pub(crate) fn state(who: Option<Who>) -> &'static str {
        match who {
            Some(Who::Unicast(_)) => "pinned",
            Some(Who::Refused(_)) => "untrusted",
            Some(Who::Itself) => "direct",
            None => "unanswered",
        }
    }
}

/// What an answer from `source` to a question about `a` means, by the rules that the
/// library goes by.
///
/// # Errors
/// What the kernel says where it is asked for routes.
pub(crate) fn judge(settings: &Settings, a: Ipv6Addr, source: Ipv6Addr) -> Result<Who, Errno> {
    let verdict = match judge_address(settings, a, source) {
        Some(verdict) => verdict,
        None => {
            let mut routes = RouteSocket::open()?;
            let to_a = routes.to(a, &Origin::default())?;
            judge_routes(settings, to_a, routes.to(source, &Origin::default())?)
        }
    };
    Ok(match verdict {
        Verdict::Pinned => Who::Unicast(source),
        Verdict::Direct => Who::Itself,
        Verdict::Refused(_) => Who::Refused(source),
    })
}
