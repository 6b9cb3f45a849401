//! A network of its own: anycast and unicast addresses, all on the loopback
//! interface, and the rule by which probes of A are answered from U.
use std::io::Write as _;
use std::process::{Command, Stdio};

use aarp_sys::netns;
use anyhow::{Context, Result, ensure};

/// The prefix that the library is configured to ask about.
pub(crate) const PREFIX: &str = "2001:db8:a::/64";
/// An anycast address that is answered for from [`UNICAST`].
pub(crate) const ANYCAST: &str = "2001:db8:a::53";
/// The unicast address of the responder.
pub(crate) const UNICAST: &str = "2001:db8:1::1";
/// An address inside the prefix that answers itself.
pub(crate) const DIRECT: &str = "2001:db8:a::54";
/// An address outside the prefix.
pub(crate) const ELSEWHERE: &str = "2001:db8:e::1";

/// Moves this process into a network namespace of its own. It goes when the last
/// process in it does.
pub(crate) fn enter() -> Result<()> {
    if !netns::may_administer() {
        netns::become_root_of_user_namespace().context("neither root nor a user namespace")?;
    }
    netns::unshare_network().context("a network namespace")?;
    run("ip", &["link", "set", "lo", "up"], "")?;
    for address in [ANYCAST, UNICAST, DIRECT] {
        let host = format!("{address}/128");
        run(
            "ip",
            &["-6", "address", "add", &host, "dev", "lo", "nodad"],
            "",
        )?;
    }
    let rules = format!(
        "table inet benches {{ chain answers {{\n\
           type filter hook output priority mangle; policy accept;\n\
           ip6 saddr {ANYCAST} icmpv6 type echo-reply @th,64,32 0x41415250 ip6 saddr set {UNICAST}\n\
         }}\n}}\n"
    );
    run("nft", &["-f", "-"], &rules)
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let mut stdin = child.stdin.take().context("a pipe to the program")?;
    stdin
        .write_all(input.as_bytes())
        .with_context(|| format!("write to {program}"))?;
    drop(stdin);
    let status = child
        .wait()
        .with_context(|| format!("wait for {program}"))?;
    ensure!(
        status.success(),
        "{program} {}: {status}",
        arguments.join(" ")
    );
    Ok(())
}
