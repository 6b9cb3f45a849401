//! Why there is no unicast address to go to.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_sys::ask::AskError;
use aarp_sys::settings::SettingsError;
use thiserror::Error;

/// Why there is no unicast address to go to. To go to A itself is right with all of them.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Loopback, link-local, multicast, unspecified, IPv4 in IPv6 form, or of this host:
    /// nobody is asked about such an address.
    #[error("{0}: no address that can be anycast elsewhere")]
    Unsuitable(Ipv6Addr),
    /// The configuration does not have it asked about: it is outside `prefixes`, or in
    /// `exclude`, or no method may be used.
    #[error("{0}: not asked about, by the configuration")]
    Policy(Ipv6Addr),
    /// Only an address answered that must not be used.
    #[error("{a}: answered from {u}, which must not be used")]
    Untrusted {
        /// The anycast address.
        a: Ipv6Addr,
        /// The address that answered.
        u: Ipv6Addr,
    },
    /// Nobody answers, now or a short while ago; or there is no route.
    #[error("{0}: nobody answers")]
    NoAnswer(Ipv6Addr),
    /// Nobody has answered within the time that the caller has given. A later answer may
    /// serve the next call, where there is an aarpd.
    #[error("{a}: no answer within {budget:?}")]
    TimedOut {
        /// The anycast address.
        a: Ipv6Addr,
        /// The time that was given.
        budget: Duration,
    },
    /// A signal came whose handler was installed without `SA_RESTART`.
    #[error("{0}: interrupted by a signal")]
    Interrupted(Ipv6Addr),
    /// There is no aarpd, and the kernel lets this process not probe by itself.
    #[error("{0}: neither a ping socket nor a raw socket is permitted")]
    NotPermitted(Ipv6Addr),
    /// The configuration wants aarpd (`daemon.use = "require"`), and it cannot be asked.
    #[error("{0}: aarpd cannot be asked, and daemon.use is \"require\"")]
    NoMapper(Ipv6Addr),
    /// The configuration is wrong.
    #[error("configuration: {0}")]
    Settings(Box<SettingsError>),
    /// A system call failed.
    #[error("{a}: {call}: {}", std::io::Error::from_raw_os_error(*.errno))]
    System {
        /// The anycast address.
        a: Ipv6Addr,
        /// The system call.
        call: &'static str,
        /// What it said.
        errno: i32,
    },
}

impl ResolveError {
    /// The number of errno(3) that stands for it in C: see aarp.h.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Unsuitable(_) => libc::EINVAL,
            Self::Policy(_) => libc::EPERM,
            Self::Untrusted { .. } => libc::EBADMSG,
            Self::NoAnswer(_) => libc::EHOSTUNREACH,
            Self::TimedOut { .. } => libc::ETIMEDOUT,
            Self::Interrupted(_) => libc::EINTR,
            Self::NotPermitted(_) => libc::EACCES,
            Self::NoMapper(_) => libc::ECONNREFUSED,
            Self::Settings(_) => libc::ENOTRECOVERABLE,
            Self::System { errno, .. } => match *errno {
                // Not to be taken for one of those above.
                libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOBUFS => *errno,
                _ => libc::EIO,
            },
        }
    }

    pub(crate) fn of(a: Ipv6Addr, error: AskError) -> Self {
        match error {
            AskError::Local => Self::Unsuitable(a),
            AskError::NoRoute => Self::NoAnswer(a),
            AskError::NoMethod => Self::Policy(a),
            AskError::NotPermitted => Self::NotPermitted(a),
            AskError::Interrupted => Self::Interrupted(a),
            AskError::System(call, errno) => Self::System {
                a,
                call,
                errno: errno.0,
            },
            // Of one address, and in a process that halts no questions, neither can be.
            AskError::TooMany | AskError::Halted => Self::System {
                a,
                call: "question",
                errno: libc::EBUSY,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve;

    #[test]
    fn what_cannot_be_anycast_is_not_asked_about() {
        for address in ["::", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1"] {
            let a: Ipv6Addr = address.parse().unwrap();
            let error = resolve(a, Duration::from_secs(1)).unwrap_err();
            assert!(
                matches!(error, ResolveError::Unsuitable(of) if of == a),
                "{error}"
            );
            assert!(error.to_string().starts_with(address), "{error}");
        }
    }

    #[test]
    fn a_failing_call_is_not_taken_for_an_answer() {
        let errno = |errno| {
            let (a, call) = (Ipv6Addr::UNSPECIFIED, "socket");
            ResolveError::System { a, call, errno }.errno()
        };
        assert_eq!(errno(libc::EMFILE), libc::EMFILE);
        for taken in [libc::EHOSTUNREACH, libc::EINVAL, libc::EPERM, libc::EACCES] {
            assert_eq!(errno(taken), libc::EIO);
        }
    }
}
