//! What was named: an address, or a name that has some.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// A destination as it was given, and one address of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// The address, or why there is none.
    pub(crate) address: Result<Ipv6Addr, String>,
}

impl Target {
    /// The name, and the address where that is another text.
    pub(crate) fn describe(&self) -> String {
        match &self.address {
            Ok(address) if address.to_string() != self.name => {
                format!("{} ({address})", self.name)
            }
            _ => self.name.clone(),
        }
    }
}

/// The addresses of a destination: itself, or what the system's resolver knows, in
/// its order and each once.
pub(crate) fn targets(text: &str) -> Vec<Target> {
    let target = |address| Target {
        name: text.to_owned(),
        address,
    };
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return vec![target(Ok(address))];
    }
    if let Some(hint) = misread(text) {
        return vec![target(Err(hint))];
    }
    let found = match (text, 0).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => return vec![target(Err(no_address(&error)))],
    };
    let mut addresses: Vec<Ipv6Addr> = Vec::new();
    for address in found {
        if let SocketAddr::V6(address) = address
            && !addresses.contains(address.ip())
        {
            addresses.push(*address.ip());
        }
    }
    if addresses.is_empty() {
        return vec![target(Err("the name has no IPv6 address".to_owned()))];
    }
    addresses
        .into_iter()
        .map(|address| target(Ok(address)))
        .collect()
}

/// What was meant, where the text can be no name: asking for it would only say that
/// there is none.
fn misread(text: &str) -> Option<String> {
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some("an IPv4 address: AARP is for IPv6".to_owned());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match text_with_port(authority) {
            Some((host, _)) => host,
            None => authority,
        };
        return Some(format!("a URL: give its host alone: {host}"));
    }
    if let Some((host, port)) = text_with_port(text) {
        return Some(format!(
            "it has a port, {port}, and whole hosts are asked: give {host}"
        ));
    }
    let (address, _) = text.split_once('/')?;
    Some(match address.parse::<Ipv6Addr>() {
        Ok(_) => format!("a prefix: give an address of it, such as {address}"),
        Err(_) => "a name has no slash".to_owned(),
    })
}

/// The host and the port of `[address]:port` and `name:port`.
fn text_with_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        // Else it is a mistyped address.
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port))
}

/// The first address of a destination, for what watches one alone; says on standard
/// error which ones are left out.
///
/// # Errors
/// Why there is none.
pub(crate) fn first(text: &str) -> Result<(Target, Ipv6Addr), String> {
    let mut found = targets(text).into_iter();
    let target = found.next().ok_or_else(|| "no address".to_owned())?;
    let address = target.address.clone()?;
    let others: Vec<String> = found
        .filter_map(|other| other.address.ok())
        .map(|other| other.to_string())
        .collect();
    if !others.is_empty() {
        eprintln!(
            "aarp-probe: {text} has several addresses; this is about {address}, not {}",
            others.join(", ")
        );
    }
    Ok((target, address))
}

fn no_address(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    format!("the name was not resolved: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_themselves() {
        for text in ["2001:db8::1", "[2001:db8::1]"] {
            let found = targets(text);
            assert_eq!(found[0].address, Ok("2001:db8::1".parse().unwrap()));
            assert_eq!(found.len(), 1);
        }
        assert_eq!(targets("2001:db8::1")[0].describe(), "2001:db8::1");
        assert_eq!(
            targets("[2001:db8::1]")[0].describe(),
            "[2001:db8::1] (2001:db8::1)"
        );
    }

    #[test]
    fn what_can_be_no_name_is_said_without_asking() {
        for (text, expected) in [
            ("192.0.2.1", "an IPv4 address: AARP is for IPv6"),
            (
                "[2001:db8::1]:80",
                "it has a port, 80, and whole hosts are asked: give 2001:db8::1",
            ),
            (
                "www.any.test:443",
                "it has a port, 443, and whole hosts are asked: give www.any.test",
            ),
            (
                "http://[2001:db8::1]:80/x:1",
                "a URL: give its host alone: 2001:db8::1",
            ),
            (
                "https://www.any.test/",
                "a URL: give its host alone: www.any.test",
            ),
            (
                "2001:db8::/64",
                "a prefix: give an address of it, such as 2001:db8::",
            ),
            ("a/b", "a name has no slash"),
        ] {
            let found = targets(text);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].address, Err(expected.to_owned()), "{text}");
        }
    }
}
