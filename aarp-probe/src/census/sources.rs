//! The addresses of this host that a census can be sent from.

use std::net::Ipv6Addr;

use aarp_core::address::scope;

/// As in <linux/if_addr.h>: not to be used, or not any more.
const DADFAILED: u32 = 0x08;
const DEPRECATED: u32 = 0x20;
const TENTATIVE: u32 = 0x40;

/// The addresses in `table`, which is as /proc/net/if_inet6, from which A can be
/// asked: of the scope of A, in use, and not on the loopback interface, where anycast
/// addresses of this host lie.
///
/// A line has the address, the interface's number, the length of the prefix, the
/// scope and flags, all in hexadecimal, and the interface's name.
pub(crate) fn suitable(table: &str, a: Ipv6Addr) -> Vec<Ipv6Addr> {
    let mut found: Vec<Ipv6Addr> = Vec::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[address, _, _, _, flags, interface] = words.as_slice() else {
            continue;
        };
        let (Ok(address), Ok(flags)) = (
            u128::from_str_radix(address, 16),
            u32::from_str_radix(flags, 16),
        ) else {
            continue;
        };
        let address = Ipv6Addr::from(address);
        let usable = flags & (DADFAILED | DEPRECATED | TENTATIVE) == 0
            && scope(address) == scope(a)
            && interface != "lo";
        if usable && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_scope_of_a_and_in_use() {
        let table = "\
20010db8000100000000000000000002 02 40 00 80     eth0
20010db8000100000000000000000003 02 40 00 a0     eth0
20010db8000100000000000000000004 02 40 00 c8     eth0
fd000000000000000000000000000002 02 40 00 80     eth0
fe80000000000000000000fffe000002 02 40 20 80     eth0
20010db8000a00000000000000000053 01 80 00 80       lo
00000000000000000000000000000001 01 80 10 80       lo
20010db8000200000000000000000002 03 40 00 01     eth1
broken
";
        let of = |a: &str| suitable(table, a.parse().unwrap());
        let list = |texts: &[&str]| -> Vec<Ipv6Addr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(
            of("2001:db8:a::1"),
            list(&["2001:db8:1::2", "2001:db8:2::2"])
        );
        assert_eq!(of("fd01::1"), list(&["fd00::2"]));
    }
}
