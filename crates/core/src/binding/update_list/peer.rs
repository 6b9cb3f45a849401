//! What all registrations at one agent share.

use std::time::Duration;

use crate::binding::timestamp::{Stamps, Timestamp};

/// Updates to one agent within a second.
//= https://www.rfc-editor.org/rfc/rfc6275#section-12
pub(super) const MAX_UPDATE_RATE: usize = 3;
const SECOND: Duration = Duration::from_secs(1);

/// One agent: how often it was written to, and the timestamps for it.
#[derive(Debug, Default)]
pub struct Peer {
    /// The last updates, the oldest at `next`.
    updates: [Option<Duration>; MAX_UPDATE_RATE],
    next: usize,
    stamps: Option<Stamps>,
    skew: Duration,
}

impl Peer {
    /// An agent whose messages IPsec protects, or nothing does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An agent to which messages are authenticated (RFC 4285): with timestamps, of
    /// which the agent accepts those within `skew` of its clock. All registrations of
    /// one identity at one agent have one such peer: its timestamps rise.
    #[must_use]
    pub fn authenticated(stamps: Stamps, skew: Duration) -> Self {
        Self {
            stamps: Some(stamps),
            skew,
            ..Self::default()
        }
    }

    /// The last timestamp, to be kept over a restart.
    #[must_use]
    pub fn last_timestamp(&self) -> Option<Timestamp> {
        self.stamps.as_ref().and_then(Stamps::last)
    }

    /// Counts an update that is sent now.
    ///
    /// # Errors
    /// When one may be sent, if that is later.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.8
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        if let Some(oldest) = self.updates[self.next]
            && now < oldest + SECOND
        {
            return Err(oldest + SECOND);
        }
        self.updates[self.next] = Some(now);
        self.next = (self.next + 1) % MAX_UPDATE_RATE;
        Ok(())
    }

    pub(super) fn stamp(&mut self, wall: Timestamp) -> Option<Timestamp> {
        self.stamps.as_mut().map(|stamps| stamps.next(wall))
    }

    /// Takes over the agent's clock, if it may be beyond what the agent tolerates; the
    /// seconds by which it is ahead.
    pub(super) fn adjust(&mut self, sent: Timestamp, answered: Timestamp) -> Option<i32> {
        self.stamps.as_mut()?.adjust(sent, answered, self.skew)
    }
}
