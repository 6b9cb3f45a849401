//! What a mapper does, in a world with a clock of its own.

mod askers;
mod changes;
mod doubts;
mod invariants;
mod refreshes;
mod walks;
mod world;
