use super::*;

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

#[test]
fn text_for_probes() {
    let (a, u) = (ip("2001:db8:f::1"), Some(ip("2001:db8:1::2")));
    let text = install(a, u, Answer::Probes, false);
    assert_eq!(
        text,
        "\
add table inet aarp_responder
add chain inet aarp_responder a_20010db8000f00000000000000000001 { type filter hook output priority mangle; policy accept; }
flush chain inet aarp_responder a_20010db8000f00000000000000000001
add rule inet aarp_responder a_20010db8000f00000000000000000001 ip6 saddr 2001:db8:f::1 icmpv6 type echo-reply @th,64,32 0x41415250 ip6 saddr set 2001:db8:1::2
add rule inet aarp_responder a_20010db8000f00000000000000000001 ip6 saddr 2001:db8:f::1 icmpv6 type destination-unreachable @th,112,8 17 @th,448,32 0x41415250 ip6 saddr set 2001:db8:1::2
"
    );
}

#[test]
fn text_for_all_and_for_none() {
    let all = install(
        ip("2001:db8:f::1"),
        Some(ip("2001:db8:1::2")),
        Answer::All,
        false,
    );
    let rules: Vec<_> = all.lines().filter(|l| l.starts_with("add rule")).collect();
    assert_eq!(
        rules,
        [
            "add rule inet aarp_responder a_20010db8000f00000000000000000001 ip6 saddr 2001:db8:f::1 icmpv6 type echo-reply ip6 saddr set 2001:db8:1::2",
            "add rule inet aarp_responder a_20010db8000f00000000000000000001 ip6 saddr 2001:db8:f::1 icmpv6 type destination-unreachable ip6 saddr set 2001:db8:1::2",
        ]
    );
    assert!(!install(ip("2001:db8:f::1"), None, Answer::All, false).contains("add rule"));
}

#[test]
fn a_chain_that_hooks_elsewhere_is_replaced_in_one_transaction() {
    let text = install(ip("2001:db8:f::1"), None, Answer::All, true);
    let verbs: Vec<_> = text
        .lines()
        .map(|l| l.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        verbs,
        [
            "add table",
            "flush chain",
            "delete chain",
            "add chain",
            "flush chain"
        ]
    );
}

#[test]
fn chain_names_are_reversible() {
    let a = ip("2001:db8:f::1");
    assert_eq!(anycast_of(&chain(a)), Some(a));
    for other in [
        "input",
        "a_",
        "a_zz",
        "a_+0010db8000f00000000000000000001x",
        "b_0",
    ] {
        assert_eq!(anycast_of(other), None, "{other}");
    }
}

/// As nft 1.0.6 printed it for `text_for_probes`.
const LISTED: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "aarp_responder", "handle": 1}},
 {"chain": {"family": "inet", "table": "aarp_responder", "name": "a_20010db8000f00000000000000000001", "handle": 2, "type": "filter", "hook": "output", "prio": -150, "policy": "accept"}},
 {"rule": {"chain": "a_20010db8000f00000000000000000001", "handle": 3, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "2001:db8:f::1"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "icmpv6", "field": "type"}}, "right": "echo-reply"}}, {"match": {"op": "==", "left": {"payload": {"base": "th", "offset": 64, "len": 32}}, "right": 1094799952}}, {"mangle": {"key": {"payload": {"protocol": "ip6", "field": "saddr"}}, "value": "2001:db8:1::2"}}]}},
 {"rule": {"chain": "a_20010db8000f00000000000000000001", "handle": 4, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "2001:db8:f::1"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "icmpv6", "field": "type"}}, "right": "destination-unreachable"}}, {"match": {"op": "==", "left": {"payload": {"base": "th", "offset": 112, "len": 8}}, "right": 17}}, {"match": {"op": "==", "left": {"payload": {"base": "th", "offset": 448, "len": 32}}, "right": 1094799952}}, {"mangle": {"key": {"payload": {"protocol": "ip6", "field": "saddr"}}, "value": "2001:db8:1::2"}}]}}]}"#;

#[test]
fn what_is_listed_is_compared_whole() {
    let (a, u) = (ip("2001:db8:f::1"), ip("2001:db8:1::2"));
    let observed = observe(LISTED).expect("parses");
    assert!(observed.is_in_place(a, Some(u), Answer::Probes));
    assert!(!observed.is_in_place(a, Some(u), Answer::All));
    assert!(!observed.is_in_place(a, None, Answer::Probes));
    assert!(!observed.is_in_place(a, Some(ip("2001:db8:1::3")), Answer::Probes));
    assert!(!observed.is_in_place(ip("2001:db8:f::2"), Some(u), Answer::Probes));
    assert!(!observed.has_others(a));
    assert!(observed.has_others(ip("2001:db8:f::2")));
    let moved = observe(&LISTED.replace("\"prio\": -150", "\"prio\": 0")).expect("parses");
    assert!(!moved.is_in_place(a, Some(u), Answer::Probes));
    let less = observe(&LISTED.replace("\"handle\": 4, \"expr\"", "\"handle\": 4, \"gone\""));
    assert!(
        !less
            .expect("parses")
            .is_in_place(a, Some(u), Answer::Probes)
    );
}

#[test]
fn removal_spares_other_chains() {
    let a = ip("2001:db8:f::1");
    assert_eq!(remove(a, false), "delete table inet aarp_responder\n");
    assert!(!remove(a, true).contains("delete table"));
}
