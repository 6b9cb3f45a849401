//! The other side of an exchange of datagrams, without any library.
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::network;

pub(crate) struct Server {
    child: Child,
    port: String,
}

impl Server {
    /// Starts `calls respond`, which answers at U.
    pub(crate) fn start(calls: &Path) -> Result<Self> {
        let mut child = Command::new(calls)
            .arg("respond")
            .env_clear()
            .env("BENCH_ANYCAST", network::ANYCAST)
            .env("BENCH_UNICAST", network::UNICAST)
            .env("BENCH_DIRECT", network::DIRECT)
            .env("BENCH_ELSEWHERE", network::ELSEWHERE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", calls.display()))?;
        let output = child.stdout.take().context("a pipe from the server")?;
        let mut server = Self {
            child,
            port: String::new(),
        };
        BufReader::new(output)
            .read_line(&mut server.port)
            .context("the server's port")?;
        server.port.truncate(server.port.trim_end().len());
        ensure!(!server.port.is_empty(), "the server has ended");
        Ok(server)
    }

    pub(crate) fn port(&self) -> &str {
        &self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It answers until then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
