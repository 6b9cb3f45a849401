//! A running `calls`, with one library preloaded.
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::network;
use crate::server::Server;
use crate::variant::Variant;

pub(crate) struct Worker {
    name: String,
    moves: bool,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts `calls`. With a stub, that stands behind the library.
    pub(crate) fn start(
        calls: &Path,
        variant: &Variant,
        stub: Option<&Path>,
        scratch: &Path,
        server: &Server,
    ) -> Result<Self> {
        Self::run(Command::new(calls), variant, stub, scratch, server)
    }

    /// The same by a command that ends with the path of `calls`.
    pub(crate) fn run(
        mut command: Command,
        variant: &Variant,
        stub: Option<&Path>,
        scratch: &Path,
        server: &Server,
    ) -> Result<Self> {
        let preload: Vec<_> = variant
            .object
            .as_deref()
            .into_iter()
            .chain(stub)
            .map(|path| path.display().to_string())
            .collect();
        command
            .env_clear()
            .env("BENCH_ANYCAST", network::ANYCAST)
            .env("BENCH_UNICAST", network::UNICAST)
            .env("BENCH_DIRECT", network::DIRECT)
            .env("BENCH_ELSEWHERE", network::ELSEWHERE)
            .env("BENCH_PORT", server.port())
            .env("AARP_CONFIG", file(scratch, "aarp.toml", "")?)
            .env("AARP_PREFIXES", network::PREFIX)
            // A and U are addresses of this host here.
            .env("AARP_INCLUDE_LOCAL", "true")
            .env("AARP_TTL", "24h")
            .env("AARP_DIRECT", "24h")
            .env("TORSOCKS_LOG_LEVEL", "1")
            .env(
                "TORSOCKS_CONF_FILE",
                file(
                    scratch,
                    "torsocks.conf",
                    "TorAddress 127.0.0.1\nTorPort 9050\n",
                )?,
            )
            .env("PROXYCHAINS_QUIET_MODE", "1")
            .env(
                "PROXYCHAINS_CONF_FILE",
                file(
                    scratch,
                    "proxychains.conf",
                    "strict_chain\nquiet_mode\nlocalnet ::/0\nlocalnet 0.0.0.0/0.0.0.0\n[ProxyList]\nsocks5 127.0.0.1 9050\n",
                )?,
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if !preload.is_empty() {
            command.env("LD_PRELOAD", preload.join(":"));
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        let input = child.stdin.take().context("a pipe to calls")?;
        let output = child.stdout.take().context("a pipe from calls")?;
        let mut worker = Self {
            name: variant.name.clone(),
            moves: variant.moves,
            child,
            input,
            output: BufReader::new(output),
        };
        worker.check(variant)?;
        Ok(worker)
    }

    /// A library that cannot be loaded is left out by the dynamic linker, and the
    /// figures would be too good.
    fn check(&mut self, variant: &Variant) -> Result<()> {
        // It has come to main(), past the dynamic linker.
        self.measure("sys_close", 1, "")?;
        let Some(object) = &variant.object else {
            return Ok(());
        };
        let object = fs::canonicalize(object).context("the library")?;
        let maps = format!("/proc/{}/maps", self.child.id());
        let text = fs::read_to_string(&maps).with_context(|| format!("read {maps}"))?;
        if !text.contains(&*object.to_string_lossy()) {
            bail!("{}: not loaded", object.display());
        }
        Ok(())
    }

    /// The nanoseconds that `count` rounds of a row took.
    pub(crate) fn measure(&mut self, row: &str, count: u64, argument: &str) -> Result<f64> {
        let argument = if self.moves && argument.is_empty() {
            "hooked"
        } else {
            argument
        };
        let name = self.name.clone();
        let context = || format!("{row} with {name}");
        writeln!(self.input, "{row} {count} {argument}").with_context(context)?;
        let mut line = String::new();
        self.output.read_line(&mut line).with_context(context)?;
        let line = line.trim_end();
        match line.split_once(' ') {
            Some(("ok", nanos)) => nanos.parse().with_context(context),
            Some((_, reason)) => bail!("{}: {reason}", context()),
            None => bail!("{}: it has ended", context()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Whatever it was doing: nothing of it is needed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(scratch: &Path, name: &str, text: &str) -> Result<std::path::PathBuf> {
    let path = scratch.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
