//! What was named: an address, or a name that has some.

use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};

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
}
