//! Asking the network who answers for an anycast address, or for several.

use core::fmt;
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use aarp_core::accept::Refusal;
use aarp_core::mapping::Answer;
use aarp_core::policy::Plan;
use aarp_core::probing::Ignored;
use aarp_core::settings::Settings;
use aarp_wire::probe::Method;

use crate::exchange::{Exchange, Others, State};
use crate::interrupt::Interruptible;
use crate::memory::with_scratch_of;
pub use crate::probe::Kind;
use crate::route::Origin;
use crate::syscall::Errno;

/// How many addresses [`ask_all`] asks.
pub const ADDRESSES: usize = 16;

/// A question to the network.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'s> {
    /// What answers count, by configuration.
    pub settings: &'s Settings,
    /// The address that is asked.
    pub a: Ipv6Addr,
    /// Its scope, as the program gave it.
    pub scope: u32,
    /// Methods and times.
    pub plan: Plan,
    /// The longest that it may take.
    pub budget: Duration,
    /// What packets are sent with.
    pub origin: Origin,
    /// Which signals end it.
    pub interruptible: Interruptible,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The answer.
    pub answer: Answer,
    /// By which method; without an answer the first of those tried.
    pub method: Method,
    /// By which socket that method asked.
    pub socket: Kind,
    /// How many probes were sent, by all methods.
    pub sent: u32,
    /// How many datagrams and errors were no answers, by [`Ignored`]. Of several
    /// addresses asked together, the one that it came nearest to answering counts
    /// it.
    pub ignored: [u32; Ignored::ALL.len()],
    /// The last source that was refused, and why.
    pub refused: Option<(Ipv6Addr, Refusal)>,
    /// Whether there was no answer because nothing arrived, as the network or this
    /// host said.
    pub unreachable: bool,
    /// Whether it was given up before its budget was over ([`ask_most`]): the answer
    /// is then what was known so far, and decides nothing.
    pub given_up: bool,
}

/// Why nobody could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskError {
    /// A is an address of this host, and such are not asked about.
    Local,
    /// There is no route to A.
    NoRoute,
    /// None of the methods wanted may be used for it: see
    /// [`aarp_core::policy::permitted`].
    NoMethod,
    /// The kernel permits none of the sockets: for echo neither a ping socket nor a
    /// raw one.
    NotPermitted,
    /// It is one more than [`ADDRESSES`].
    TooMany,
    /// A signal came that interrupts the program's call.
    Interrupted,
    /// No system call may be made any more: see [`halt`].
    Halted,
    /// The named system call failed.
    System(&'static str, Errno),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Local => f.write_str("it is an address of this host"),
            AskError::NoRoute => f.write_str("there is no route to it"),
            AskError::NoMethod => f.write_str(
                "no probe method may be used (unreach needs it in prefixes, and trusted)",
            ),
            AskError::NotPermitted => {
                f.write_str("neither a ping socket nor a raw socket is permitted")
            }
            AskError::TooMany => f.write_str("too many addresses at once"),
            AskError::Halted => f.write_str("no system call may be made any more"),
            AskError::Interrupted => f.write_str("interrupted by a signal"),
            AskError::System(call, errno) => write!(f, "{call}: {errno}"),
        }
    }
}

impl core::error::Error for AskError {}

static HALTED: AtomicBool = AtomicBool::new(false);

/// Whether all questions of this process end as soon as they can, with
/// [`AskError::Halted`].
pub fn halt(halted: bool) {
    HALTED.store(halted, Ordering::SeqCst);
}

pub(crate) fn is_halted() -> bool {
    HALTED.load(Ordering::SeqCst)
}

/// Asks, and waits for the answer as long as the budget lasts.
///
/// # Errors
/// Why nobody could be asked. No answer is not an error, but [`Answer::None`].
pub fn ask(inquiry: &Inquiry<'_>) -> Result<Report, AskError> {
    let mut report = [Err(AskError::NoMethod)];
    let mut state = [State::Waiting];
    let one = core::slice::from_ref(inquiry);
    Exchange::new(one, &mut report, &mut state, Others::Whole).run();
    report[0]
}

/// Asks about several addresses at once, at most [`ADDRESSES`], and writes what
/// became of each to the same place in `reports`. Every budget begins now, so that
/// all together take as long as the longest of them. One socket for each method asks
/// them all: `origin` and `interruptible` are those of the first inquiry.
///
/// Takes no more of the stack than [`ask`], about 5 KiB.
///
/// A report is an error where that address could not be asked about. When a signal
/// interrupts, those that are not decided yet are [`AskError::Interrupted`].
pub fn ask_all(inquiries: &[Inquiry<'_>], reports: &mut [Result<Report, AskError>]) {
    ask_several(inquiries, reports, Others::Whole);
}

/// As [`ask_all`], but once one is answered the others are not waited for much longer:
/// see [`aarp_core::resolution::patience_with_others`]. One that nobody answers then
/// does not hold the caller for its whole budget.
pub fn ask_most(inquiries: &[Inquiry<'_>], reports: &mut [Result<Report, AskError>]) {
    ask_several(inquiries, reports, Others::Briefly);
}

fn ask_several(
    inquiries: &[Inquiry<'_>],
    reports: &mut [Result<Report, AskError>],
    others: Others,
) {
    let count = inquiries.len().min(reports.len()).min(ADDRESSES);
    let (now, rest) = reports.split_at_mut(count);
    rest.fill(Err(AskError::TooMany));
    let inquiries = &inquiries[..count];
    // The caller may have next to no stack left.
    let asked = with_scratch_of(
        || State::Waiting,
        |states: &mut [State; ADDRESSES]| {
            Exchange::new(inquiries, &mut *now, &mut states[..count], others).run();
        },
    );
    if let Err(errno) = asked {
        now.fill(Err(AskError::System("mmap", errno)));
    }
}
