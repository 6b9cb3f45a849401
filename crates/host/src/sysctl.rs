//! Switches and numbers of the kernel under /proc/sys/net/ipv6, of the calling thread's
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

    /// How it stands; `interface` may be `all`. `None`: there is no such interface.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn read(self, interface: &str) -> Result<Option<bool>, HostError> {
        let value = read(&path("conf", interface, self.name())?)?;
        Ok(value.map(|value| value.trim() != "0"))
    }

    /// Sets it.
    pub(crate) fn write(self, interface: &str, on: bool) -> Result<(), HostError> {
        let path = path("conf", interface, self.name())?;
        write(&path, if on { "1" } else { "0" })
    }
}

/// A number of an interface (Documentation/networking/ip-sysctl.rst of Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The longest that an answer for another node is put off (RFC 4861 §7.2.8), in
    /// hundredths of a second. The kernel's choice is 80.
    ProxyDelay,
    /// RetransTimer (RFC 4861 §6.3.2), in milliseconds.
    RetransTimer,
    /// DupAddrDetectTransmits (RFC 4862 §5.1).
    DadTransmits,
}

impl Number {
    fn path(self, interface: &str) -> Result<String, HostError> {
        let (family, name) = match self {
            Self::ProxyDelay => ("neigh", "proxy_delay"),
            Self::RetransTimer => ("neigh", "retrans_time_ms"),
            Self::DadTransmits => ("conf", "dad_transmits"),
        };
        path(family, interface, name)
    }

    /// What it is. `None`: there is no such interface.
    ///
    /// # Errors
    /// [`HostError::System`], also when it is no number.
    pub fn read(self, interface: &str) -> Result<Option<u32>, HostError> {
        let path = self.path(interface)?;
        let Some(value) = read(&path)? else {
            return Ok(None);
        };
        let number = value.trim().parse();
        number.map(Some).map_err(|error| {
            HostError::system(&format!("read {path}"), std::io::Error::other(error))
        })
    }

    /// Sets it.
    pub(crate) fn write(self, interface: &str, number: u32) -> Result<(), HostError> {
        write(&self.path(interface)?, &number.to_string())
    }
}

/// The file. No interface has a name with a slash, nor one of these: what is asked
/// about is always something of an interface.
fn path(family: &str, interface: &str, name: &str) -> Result<String, HostError> {
    let path = format!("/proc/sys/net/ipv6/{family}/{interface}/{name}");
    if interface.is_empty() || interface.contains('/') || [".", ".."].contains(&interface) {
        let error = std::io::ErrorKind::InvalidInput;
        return Err(HostError::system(&format!("open {path}"), error));
    }
    Ok(path)
}

fn read(path: &str) -> Result<Option<String>, HostError> {
    match fs::read_to_string(path) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::system(&format!("read {path}"), error)),
    }
}

fn write(path: &str, value: &str) -> Result<(), HostError> {
    fs::write(path, value).map_err(|error| HostError::system(&format!("write {path}"), error))
}
