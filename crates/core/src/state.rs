//! What one process remembers.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use crate::mapping::MappingTable;
use crate::refutation::RefutationTable;
use crate::silence::SilenceTable;
use crate::stall::StallLedger;

/// The memory of a process. All-zero octets are an empty one.
#[derive(Debug, Default)]
pub struct ProcessState {
    /// From A to U.
    pub mappings: MappingTable,
    /// What failed.
    pub refutations: RefutationTable,
    /// What closed sockets have left unanswered.
    pub silences: SilenceTable,
    /// For how long threads were held.
    pub stalls: StallLedger,
    /// The process's id; 0 before it was asked for.
    id: AtomicI32,
    /// Whether it has begun to count what it does.
    counts: AtomicBool,
    /// The process that has nothing of another's open; 0 before anybody has seen to it.
    swept: AtomicI32,
    /// Whether the mapping table that it reads is known to be of its network.
    in_network: AtomicBool,
    /// How many threads ask the network.
    questions: AtomicU32,
}

impl ProcessState {
    /// The id of the process whose memory this is, if it was asked for.
    #[must_use]
    #[inline]
    pub fn known_process(&self) -> Option<i32> {
        Some(self.id.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    /// Whether this is the first time that the process, whose memory this is, counts
    /// what it does.
    #[inline]
    pub fn begins_to_count(&self) -> bool {
        !self.counts.load(Ordering::Relaxed) && !self.counts.swap(true, Ordering::Relaxed)
    }

    /// Notes the id of the process whose memory this is.
    pub fn belongs_to(&self, id: i32) {
        self.id.store(id, Ordering::Relaxed);
    }

    /// The process that has nothing open that another has opened to ask, if there is one.
    #[must_use]
    pub fn swept(&self) -> Option<i32> {
        Some(self.swept.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    /// This process has nothing open that another has opened to ask.
    pub fn set_swept(&self, id: i32) {
        self.swept.store(id, Ordering::Relaxed);
    }

    /// Whether it is known that the mapping table which is read is of the network of this
    /// process: what its parent has read may be of another.
    #[must_use]
    #[inline]
    pub fn is_in_network(&self) -> bool {
        self.in_network.load(Ordering::Relaxed)
    }

    /// It is.
    pub fn set_in_network(&self) {
        self.in_network.store(true, Ordering::Relaxed);
    }

    /// How many threads ask the network.
    #[must_use]
    pub fn questions(&self) -> u32 {
        self.questions.load(Ordering::SeqCst)
    }

    /// A thread begins to ask.
    pub fn begin_question(&self) {
        self.questions.fetch_add(1, Ordering::SeqCst);
    }

    /// And ends. In a child that was forked meanwhile nobody has begun.
    pub fn end_question(&self) {
        let one_less = |questions: u32| questions.checked_sub(1);
        let _ = self
            .questions
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
    }
}
