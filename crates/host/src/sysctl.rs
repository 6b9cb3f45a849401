//! Switches of the kernel under /proc/sys/net/ipv6/conf, of the calling thread's
//! network namespace.

use std::fs;

use crate::HostError;

/// A switch of an interface (Documentation/networking/ip-sysctl.rst of Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Whether packets that come in by it and are for others are passed on.
    Forwarding,
    /// Whether solicitations for the addresses of `ip neigh add proxy` are answered.
    ProxyNdp,
}

impl Switch {
    fn name(self) -> &'static str {
        match self {
            Self::Forwarding => "forwarding",
            Self::ProxyNdp => "proxy_ndp",
        }
    }

    /// The file. No interface has a name with a slash, nor one of these: what is
    /// asked about is always a switch of an interface.
    fn path(self, interface: &str) -> Result<String, HostError> {
        let name = self.name();
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/{name}");
        if interface.is_empty() || interface.contains('/') || [".", ".."].contains(&interface) {
            let error = std::io::ErrorKind::InvalidInput;
            return Err(HostError::system(&format!("open {path}"), error));
        }
        Ok(path)
    }

    /// How it stands; `interface` may be `all`. `None`: there is no such interface.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn read(self, interface: &str) -> Result<Option<bool>, HostError> {
        let path = self.path(interface)?;
        match fs::read_to_string(&path) {
            Ok(value) => Ok(Some(value.trim() != "0")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HostError::system(&format!("read {path}"), error)),
        }
    }

    /// Sets it.
    pub(crate) fn write(self, interface: &str, on: bool) -> Result<(), HostError> {
        let path = self.path(interface)?;
        fs::write(&path, if on { "1" } else { "0" })
            .map_err(|error| HostError::system(&format!("write {path}"), error))
    }
}
