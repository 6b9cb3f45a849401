use super::*;

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn on(interface: &str, ifindex: u32, address: &str) -> HostAddress {
    HostAddress {
        address: ip(address),
        prefix_length: 64,
        interface: interface.to_owned(),
        ifindex,
        loopback: interface == "lo",
        interface_up: true,
        deprecated: false,
        temporary: false,
        tentative: false,
        dynamic: false,
        metric: None,
    }
}

fn host(addresses: Vec<HostAddress>, default: Option<&str>) -> Inventory {
    Inventory {
        interfaces: addresses
            .iter()
            .map(|a| (a.interface.clone(), a.interface_up))
            .collect(),
        addresses,
        default_interface: default.map(str::to_owned),
    }
}

const A: &str = "2001:db8:f::1";

fn pick(inventory: &Inventory, interface: Option<&str>) -> Result<Ipv6Addr, ChoiceError> {
    choose(ip(A), Class::Global, interface, inventory, &[]).map(|c| c.unicast)
}

#[test]
fn default_route_then_configured_then_loopback() {
    let mut learned = on("eth1", 3, "2001:db8:1::2");
    learned.dynamic = true;
    let all = vec![
        on("lo", 1, "2001:db8:0::1"),
        on("eth0", 2, "2001:db8:2::2"),
        learned,
        on("eth1", 3, "2001:db8:1::3"),
    ];
    assert_eq!(
        pick(&host(all.clone(), Some("eth1")), None),
        Ok(ip("2001:db8:1::3"))
    );
    assert_eq!(
        pick(&host(all.clone(), None), None),
        Ok(ip("2001:db8:2::2"))
    );
    assert_eq!(
        pick(&host(all.clone(), Some("eth1")), Some("eth0")),
        Ok(ip("2001:db8:2::2"))
    );
    assert_eq!(
        pick(&host(all[..1].to_vec(), None), None),
        Ok(ip("2001:db8::1"))
    );
}

#[test]
fn unfit_addresses_are_passed_over() {
    let unfit: [fn(&mut HostAddress); 6] = [
        |a| a.deprecated = true,
        |a| a.temporary = true,
        |a| a.tentative = true,
        |a| a.interface_up = false,
        |a| a.address = ip("fe80::2"),
        |a| a.address = ip("fd00::2"),
    ];
    for (n, spoil) in unfit.iter().enumerate() {
        let mut first = on("eth0", 2, "2001:db8:2::2");
        spoil(&mut first);
        let inventory = host(
            vec![first.clone(), on("eth1", 3, "2001:db8:3::3")],
            Some("eth0"),
        );
        assert_eq!(pick(&inventory, None), Ok(ip("2001:db8:3::3")), "case {n}");
        let error = pick(&host(vec![first], Some("eth0")), None).expect_err("none is left");
        assert!(
            matches!(error, ChoiceError::NoCandidate { .. }),
            "case {n}: {error}"
        );
    }
}

#[test]
fn anycast_addresses_never_stand_for_a_node() {
    let inventory = host(
        vec![
            on("eth0", 2, "2001:db8:2::"),
            on("eth0", 2, A),
            on("eth0", 2, "2001:db8:f::2"),
        ],
        None,
    );
    let taken = [ip("2001:db8:f::2")];
    assert!(choose(ip(A), Class::Global, None, &inventory, &taken).is_err());
    assert_eq!(pick(&inventory, None), Ok(ip("2001:db8:f::2")));
}

#[test]
fn unique_local_for_unique_local() {
    let inventory = host(
        vec![on("eth0", 2, "2001:db8:2::2"), on("eth0", 2, "fd00::2")],
        None,
    );
    let chosen = choose(ip("fd00:f::1"), Class::UniqueLocal, None, &inventory, &[]);
    assert_eq!(chosen.map(|c| c.unicast), Ok(ip("fd00::2")));
}

#[test]
fn a_named_address_must_be_here() {
    let mut tentative = on("eth0", 2, "2001:db8:2::3");
    tentative.tentative = true;
    let inventory = host(vec![on("eth0", 2, "2001:db8:2::2"), tentative], None);
    assert_eq!(
        confirm(ip("2001:db8:2::2"), None, &inventory).map(|c| c.interface),
        Ok("eth0".into())
    );
    assert!(confirm(ip("2001:db8:2::3"), None, &inventory).is_err());
    assert!(confirm(ip("2001:db8:2::4"), None, &inventory).is_err());
    assert!(confirm(ip("2001:db8:2::2"), Some("eth7"), &inventory).is_err());
    assert_eq!(
        pick(&inventory, Some("eth7")),
        Err(ChoiceError::NoInterface("eth7".into()))
    );
}

#[test]
fn following_the_host() {
    let first = on("eth0", 2, "2001:db8:2::2");
    let second = on("eth0", 2, "2001:db8:2::3");
    let next = |named: Option<Ipv6Addr>, current: Option<Ipv6Addr>, addresses: Vec<HostAddress>| {
        let inventory = host(addresses, Some("eth0"));
        follow(ip(A), Class::Global, named, None, current, &inventory, &[])
    };
    let (u, v) = (first.address, second.address);
    let both = vec![first.clone(), second.clone()];
    assert_eq!(
        next(None, Some(v), both.clone()),
        Some(v),
        "a good one is kept"
    );
    assert_eq!(
        next(None, Some(v), vec![first.clone()]),
        Some(u),
        "another is chosen"
    );
    assert_eq!(next(None, Some(v), vec![]), None);
    assert_eq!(
        next(Some(v), Some(v), vec![first.clone()]),
        None,
        "a named one is not replaced"
    );
    assert_eq!(next(Some(v), None, both), Some(v), "and comes back");
    let mut old = second;
    old.deprecated = true;
    assert_eq!(next(None, Some(v), vec![first, old.clone()]), Some(u));
    assert_eq!(
        next(None, Some(v), vec![old]),
        Some(v),
        "better than nothing"
    );
}
