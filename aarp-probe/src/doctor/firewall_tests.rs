use super::*;
use serde_json::json;

fn input(policy: &str, rules: &[Value]) -> Value {
    with_chains(policy, &[("input", rules)])
}

fn with_chains(policy: &str, chains: &[(&str, &[Value])]) -> Value {
    let mut objects = vec![json!({"chain": {
        "family": "inet", "table": "filter", "name": "input", "type": "filter",
        "hook": "input", "prio": 0, "policy": policy}})];
    let mut handle = 1;
    for (chain, rules) in chains {
        for rule in *rules {
            objects.push(json!({"rule": {"family": "inet", "table": "filter",
                "chain": chain, "handle": handle, "expr": rule}}));
            handle += 1;
        }
    }
    json!({ "nftables": objects })
}

fn matches(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn state(states: Value) -> Value {
    json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": states}})
}

fn icmp(types: Value) -> Value {
    matches(
        json!({"payload": {"protocol": "icmpv6", "field": "type"}}),
        types,
    )
}

fn accept() -> Value {
    json!({ "accept": null })
}

fn drop_() -> Value {
    json!({ "drop": null })
}

fn said(ruleset: &Value) -> Vec<(String, bool)> {
    let losses = losses(ruleset);
    losses
        .iter()
        .map(|loss| (loss.to_string(), loss.perhaps))
        .collect()
}

fn policy_of_input() -> Vec<(String, bool)> {
    vec![("the policy of inet filter input".to_owned(), false)]
}

#[test]
fn an_open_firewall_loses_nothing() {
    assert_eq!(said(&input("accept", &[])), []);
    assert_eq!(said(&json!({"nftables": []})), []);
    assert_eq!(said(&Value::Null), []);
}

#[test]
fn established_alone_loses_it() {
    let established = json!([state(json!(["established", "related"])), accept()]);
    assert_eq!(
        said(&input("drop", std::slice::from_ref(&established))),
        policy_of_input()
    );
    assert_eq!(
        said(&input("accept", std::slice::from_ref(&established))),
        []
    );
    let invalid = json!([state(json!("invalid")), {"counter": {}}, drop_()]);
    assert_eq!(
        said(&input("accept", &[established.clone(), invalid])),
        [(
            "the rule with handle 2 in inet filter input".to_owned(),
            false
        )]
    );
    let map = json!([{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [
        ["established", accept()], ["invalid", drop_()]]}}}]);
    assert_eq!(
        said(&input("accept", &[map])),
        [(
            "the rule with handle 1 in inet filter input".to_owned(),
            false
        )]
    );
}

#[test]
fn a_rule_for_echo_replies_lets_it_in() {
    let established = json!([state(json!(["established", "related"])), accept()]);
    for rule in [
        json!([icmp(json!("echo-reply")), accept()]),
        json!([
            icmp(json!({"set": ["echo-request", "echo-reply"]})),
            accept()
        ]),
        json!([icmp(json!({"range": ["echo-request", 130]})), accept()]),
        json!([
            matches(json!({"meta": {"key": "l4proto"}}), json!("ipv6-icmp")),
            accept()
        ]),
    ] {
        assert_eq!(
            said(&input("drop", &[established.clone(), rule.clone()])),
            [],
            "{rule}"
        );
    }
    for rule in [
        json!([icmp(json!("echo-request")), accept()]),
        json!([icmp(json!({"set": [1, 2, 3, 4, 135, 136]})), accept()]),
        json!([
            matches(
                json!({"payload": {"protocol": "tcp", "field": "dport"}}),
                json!(22)
            ),
            accept()
        ]),
        json!([
            matches(json!({"meta": {"key": "iifname"}}), json!("lo")),
            accept()
        ]),
        json!([
            matches(json!({"meta": {"key": "nfproto"}}), json!("ipv4")),
            accept()
        ]),
    ] {
        let found = said(&input("drop", &[established.clone(), rule.clone()]));
        assert_eq!(found, policy_of_input(), "{rule}");
    }
}

#[test]
fn what_cannot_be_judged_is_not_certain() {
    let limited = json!([icmp(json!("echo-reply")), {"limit": {"rate": 5}}, accept()]);
    let found = said(&input("drop", &[limited]));
    assert_eq!(
        found,
        [("the policy of inet filter input".to_owned(), true)]
    );
    let from = json!([
        matches(
            json!({"payload": {"protocol": "ip6", "field": "saddr"}}),
            json!("2001:db8::1")
        ),
        drop_()
    ]);
    assert_eq!(said(&input("accept", &[from])), []);
}

#[test]
fn chains_that_are_called_decide_too() {
    let call = json!([{"jump": {"target": "other"}}]);
    let accepts = json!([icmp(json!("echo-reply")), accept()]);
    let returns = json!([{ "return": null }]);
    let drops = json!([drop_()]);
    let of = |other: &[Value]| {
        said(&with_chains(
            "drop",
            &[("input", std::slice::from_ref(&call)), ("other", other)],
        ))
    };
    assert_eq!(of(&[accepts]), []);
    assert_eq!(of(&[returns, drops.clone()]), policy_of_input());
    assert_eq!(
        of(&[drops]),
        [(
            "the rule with handle 2 in inet filter other".to_owned(),
            false
        )]
    );
    // A chain that calls itself, which nft would refuse, ends here too.
    assert_eq!(
        of(&[json!([{"jump": {"target": "other"}}])]),
        policy_of_input()
    );
}

/// What an ordinary ping meets too is told from what only our probe does.
#[test]
fn a_filter_of_all_echo_replies_is_told_from_one_of_invalid_ones() {
    let ordinary = |rules: &[Value]| -> Vec<bool> {
        let losses = losses(&input("accept", rules));
        losses.iter().map(|loss| loss.ordinary).collect()
    };
    let all = json!([icmp(json!("echo-reply")), drop_()]);
    let invalid = json!([state(json!("invalid")), drop_()]);
    let established = json!([state(json!(["established", "related"])), accept()]);
    assert_eq!(ordinary(std::slice::from_ref(&all)), [true]);
    assert_eq!(ordinary(std::slice::from_ref(&invalid)), [false]);
    assert_eq!(ordinary(&[established, all.clone()]), [false]);
    assert_eq!(ordinary(&[invalid, all]), [true]);
}
