//! Conditions on hosts and processes.
use std::fmt;

use serde::Deserialize;

use crate::Result;
use crate::command::Process;
use crate::host::Host;

/// Conditions on a host or process: all that are given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// A TCP port is listening.
    pub tcp: Option<u16>,
    /// A UDP port is bound.
    pub udp: Option<u16>,
    /// A unix socket is listening.
    pub unix: Option<String>,
    /// Standard output contains this.
    pub stdout: Option<String>,
    /// Standard error contains this.
    pub stderr: Option<String>,
}

impl Condition {
    /// Whether all of it holds, of this host and this process.
    pub(crate) fn holds(&self, host: Option<&Host>, process: Option<&Process>) -> Result<bool> {
        if let Some(host) = host {
            if let Some(port) = self.tcp
                && !host.is_tcp_listening(port)?
            {
                return Ok(false);
            }
            if let Some(port) = self.udp
                && !host.is_udp_bound(port)?
            {
                return Ok(false);
            }
            if let Some(path) = &self.unix
                && !host.is_unix_listening(path)?
            {
                return Ok(false);
            }
        }
        if let Some(process) = process {
            if let Some(text) = &self.stdout
                && !process.stdout()?.contains(text)
            {
                return Ok(false);
            }
            if let Some(text) = &self.stderr
                && !process.stderr()?.contains(text)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.tcp.map(|port| format!("TCP port {port} is listening")),
            self.udp.map(|port| format!("UDP port {port} is bound")),
            self.unix
                .as_ref()
                .map(|path| format!("{path} is listening")),
            self.stdout
                .as_ref()
                .map(|text| format!("{text:?} on standard output")),
            self.stderr
                .as_ref()
                .map(|text| format!("{text:?} on standard error")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}
