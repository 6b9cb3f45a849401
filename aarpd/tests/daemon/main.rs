//! aarpd on lab networks.
#![allow(unreachable_pub)]

mod asking;
mod hostile;
mod keeping;
mod records;
mod running;
#[path = "../../../aarp-probe/tests/networks/schema.rs"]
mod schema;
mod site;
mod talk;
mod units;
mod users;
