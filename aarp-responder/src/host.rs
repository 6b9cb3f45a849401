//! The edge to the host: `ip` and `nft`, each call checked.

use std::net::Ipv6Addr;

use aarp_host::HostError;
use aarp_host::inventory::{Inventory, MARK_METRIC};
use aarp_host::tool::Tool;

use crate::ruleset::{self, Observed, TABLE};

/// Where the tools are.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    ip: Tool,
    nft: Tool,
}

impl Host {
    /// Looks the tools up; a missing one is named with its package.
    pub(crate) fn find() -> Result<Self, HostError> {
        Ok(Self {
            ip: Tool::ip()?,
            nft: Tool::nft()?,
        })
    }

    /// Addresses, interfaces and the default route as they are now.
    pub(crate) fn inventory(&self) -> Result<Inventory, HostError> {
        Inventory::read(&self.ip)
    }

    /// Adds A to lo: never chosen as a source, known at once, marked as ours.
    pub(crate) fn add_anycast(&self, anycast: Ipv6Addr) -> Result<(), HostError> {
        let (address, metric) = (format!("{anycast}/128"), MARK_METRIC.to_string());
        let arguments = [
            "-6",
            "addr",
            "add",
            &address,
            "dev",
            "lo",
            "metric",
            &metric,
            "preferred_lft",
            "0",
            "nodad",
        ];
        self.ip.run(&arguments, None).map(drop)
    }

    /// Whether packets to `anycast` are delivered here. The kernel takes an address
    /// at once and enters the route that does that a little later.
    pub(crate) fn delivers(&self, anycast: Ipv6Addr) -> Result<bool, HostError> {
        let address = format!("{anycast}/128");
        let arguments = ["-6", "route", "show", "table", "local", &address];
        Ok(!self.ip.run(&arguments, None)?.trim().is_empty())
    }

    /// Removes an A that `add_anycast` added.
    pub(crate) fn remove_anycast(&self, anycast: Ipv6Addr) -> Result<(), HostError> {
        let address = format!("{anycast}/128");
        self.ip
            .run(&["-6", "addr", "del", &address, "dev", "lo"], None)
            .map(drop)
    }

    /// Applies one nft transaction.
    pub(crate) fn apply(&self, ruleset: &str) -> Result<(), HostError> {
        self.nft.run(&["-f", "-"], Some(ruleset)).map(drop)
    }

    /// Our table as the kernel has it; none if there is none.
    pub(crate) fn observe(&self) -> Result<Option<Observed>, HostError> {
        let arguments = ["-j", "list", "table", "inet", TABLE];
        let json = match self.nft.run(&arguments, None) {
            Ok(json) => json,
            Err(HostError::Failed { reason, .. }) if reason.contains("No such file") => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match ruleset::observe(&json) {
            Ok(observed) => Ok(Some(observed)),
            Err(source) => Err(HostError::Unreadable {
                command: "nft -j list table".to_owned(),
                source,
            }),
        }
    }
}
