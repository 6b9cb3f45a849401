//! What one process remembers.

use crate::mapping::MappingTable;
use crate::refutation::RefutationTable;
use crate::stall::StallLedger;

/// The memory of a process. All-zero octets are an empty one.
#[derive(Debug, Default)]
pub struct ProcessState {
    /// From A to U.
    pub mappings: MappingTable,
    /// What failed.
    pub refutations: RefutationTable,
    /// For how long threads were held.
    pub stalls: StallLedger,
}
