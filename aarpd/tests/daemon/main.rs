//! aarpd on lab networks.
#![allow(unreachable_pub)]

mod asking;
mod hostile;
mod keeping;
mod running;
mod site;
mod talk;
mod users;
