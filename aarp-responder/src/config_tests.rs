use super::*;

#[test]
fn whole_table() {
    let specs = parse(
        "[resolve]\nprefixes = [\"2001:db8:f::/48\"]\n\
         [[responder]]\nanycast = \"2001:db8:f::1\"\n\
         [[responder]]\nanycast = \"fd00:f::1\"\nunicast = \"fd00::2\"\ninterface = \"eth0\"\nrecipe = \"nft\"\nanswer = \"all\"\n",
    )
    .expect("parses");
    assert_eq!(specs.len(), 2);
    assert_eq!(
        (specs[0].recipe, specs[0].answer),
        (Recipe::Auto, Answer::Probes)
    );
    assert_eq!(specs[1].class, Class::UniqueLocal);
    assert_eq!(specs[1].unicast, "fd00::2".parse().ok());
    assert_eq!(specs[1].interface.as_deref(), Some("eth0"));
    assert_eq!(
        (specs[1].recipe, specs[1].answer),
        (Recipe::Nft, Answer::All)
    );
    assert_eq!(parse("").expect("an empty file is fine"), []);
}

#[test]
fn every_error_names_the_key_and_what_was_expected() {
    let a = "anycast = \"2001:db8:f::1\"\n";
    for (text, key, part) in [
        ("anycast = 1", "anycast", "unknown key"),
        ("[responder]\n", "responder", "[[responder]]"),
        ("responder = [1]", "responder[0]", "[[responder]]"),
        ("[[responder]]\n", "responder[0].anycast", "missing"),
        (
            "[[responder]]\nanycast = 7",
            "responder[0].anycast",
            "expected an IPv6 address",
        ),
        (
            "[[responder]]\nanycast = \"192.0.2.1\"",
            "responder[0].anycast",
            "expected an IPv6 address",
        ),
        (
            "[[responder]]\nanycast = \"ff02::1\"",
            "responder[0].anycast",
            "multicast",
        ),
        (
            "[[responder]]\nanycast = \"fe80::1\"",
            "responder[0].anycast",
            "link-local",
        ),
        (
            "[[responder]]\ndrain = \"5s\"",
            "responder[0].drain",
            "not supported yet",
        ),
        (
            "[[responder]]\ndrain = \"5s\"",
            "responder[0].drain",
            "not supported yet",
        ),
        (
            "[[responder]]\nannounce = 1",
            "responder[0].announce",
            "not supported yet",
        ),
        (
            "[[responder]]\nanicast = 1",
            "responder[0].anicast",
            "expected one of anycast,",
        ),
        (
            "[[responder]]\n\"a\\nb\" = 1",
            "responder[0].a\\nb",
            "unknown key",
        ),
        (
            "[[responder]]\nanycast = \"a\\nb\"",
            "responder[0].anycast",
            "not a\\nb",
        ),
        ("[[responder]\n", "line 1", "not TOML"),
        ("\n\n= 3\n", "line 3", "not TOML"),
    ] {
        let bad = parse(text).expect_err(text);
        assert_eq!(bad.key, key, "{text}: {bad}");
        assert!(bad.problem.contains(part), "{text}: {bad}");
        assert!(!bad.to_string().contains('\n'), "{bad}");
    }
    for (line, key, part) in [
        ("answer = \"some\"", "answer", "\"probes\" or \"all\""),
        ("recipe = 1", "recipe", "\"auto\" or \"nft\""),
        ("interface = \"\"", "interface", "name of an interface"),
        ("unicast = \"2001:db8:f::1\"", "unicast", "another address"),
        ("unicast = \"fd00::1\"", "unicast", "clients refuse"),
        ("unicast = \"::1\"", "unicast", "loopback"),
    ] {
        let bad = parse(&format!("[[responder]]\n{a}{line}")).expect_err(line);
        assert_eq!(bad.key, format!("responder[0].{key}"), "{bad}");
        assert!(bad.problem.contains(part), "{bad}");
    }
    let twice = parse(&format!("[[responder]]\n{a}[[responder]]\n{a}")).expect_err("twice");
    assert_eq!(twice.key, "responder[1].anycast");
}
