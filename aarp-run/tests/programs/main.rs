//! aarp-run with real programs of this machine, and such as are made on the spot.
//! What needs root says `SKIPPED:` without it.

mod check;
mod refuse;
mod start;
mod support;
