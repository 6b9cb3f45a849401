use super::*;

fn query(name: &Name) -> Query<'_> {
    Query {
        id: 0xbeef,
        name,
        record_type: RecordType::AAAA,
    }
}

/// A query as it stands in RFC 1035, section 4.1, octet by octet.
const QUERY: &[u8] = b"\xbe\xef\x01\x00\0\x01\0\0\0\0\0\0\x07example\x04test\0\0\x1c\0\x01";

fn response(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = QUERY.to_vec();
    octets[2] |= 0x80;
    change(&mut octets);
    octets
}

#[test]
fn a_query_is_a_header_and_a_question() {
    for text in ["example.test", "example.test."] {
        let name = Name::parse(text).unwrap();
        assert_eq!(query(&name).emit(), QUERY);
        assert_eq!(name.to_string(), "example.test");
    }
    let root = Name::parse(".").unwrap();
    assert_eq!(query(&root).emit()[12..], *b"\0\0\x1c\0\x01");
    assert_eq!(root.to_string(), ".");
}

#[test]
fn names_have_labels_of_1_to_63_octets_and_255_in_all() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    let parsed = Name::parse(&longest).unwrap();
    assert_eq!(query(&parsed).emit().len(), 12 + NAME_MAX + 4);
    for bad in [
        String::new(),
        "..".into(),
        ".test".into(),
        "a..test".into(),
        "a b.test".into(),
        "ä.test".into(),
        "a\\.test".into(),
        format!("{label}a.test"),
        format!("{longest}a"),
    ] {
        assert_eq!(Name::parse(&bad), None, "{bad}");
    }
}

#[test]
fn types_and_codes_have_names_and_numbers() {
    assert_eq!(RecordType::parse("SOA"), Some(RecordType(6)));
    assert_eq!(RecordType::parse("65280"), Some(RecordType(65280)));
    assert_eq!(RecordType(65280).to_string(), "TYPE65280");
    assert_eq!(Rcode::parse("NXDOMAIN"), Some(Rcode(3)));
    assert_eq!(Rcode::parse("15"), Some(Rcode(15)));
    for bad in ["", "soa", "0", "65536", "-1", "+1"] {
        assert_eq!(RecordType::parse(bad), None, "{bad:?}");
    }
    for bad in ["", "noerror", "16", "256"] {
        assert_eq!(Rcode::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn an_answer_repeats_the_id_and_the_question() {
    //= https://www.rfc-editor.org/rfc/rfc5452#section-9.1
    //= type=test
    let name = Name::parse("example.test").unwrap();
    let answer = |octets: &[u8]| query(&name).answer(octets);
    assert_eq!(answer(&response(|_| {})), Ok(Rcode::NOERROR));
    assert_eq!(answer(&response(|o| o[3] |= 2)), Ok(Rcode::SERVFAIL));
    // In other letters, truncated, authoritative, with records.
    let loose = response(|octets| {
        octets[2] |= 0x06;
        octets[7] = 1;
        octets[13..20].copy_from_slice(b"eXaMPLe");
        octets.extend_from_slice(b"\xc0\x0c whatever");
    });
    assert_eq!(answer(&loose), Ok(Rcode::NOERROR));

    assert_eq!(answer(&[]), Err(NoAnswer::Short));
    assert_eq!(answer(&response(|_| {})[..11]), Err(NoAnswer::Short));
    assert_eq!(answer(&response(|o| o[1] ^= 1)), Err(NoAnswer::Id));
    assert_eq!(answer(QUERY), Err(NoAnswer::NoResponse));
    assert_eq!(
        answer(&response(|o| o[2] |= 0x28)),
        Err(NoAnswer::NoResponse)
    );
    let wrong: [fn(&mut Vec<u8>); 6] = [
        // Another name, type and class; none and two questions; half of one.
        |octets| octets[13] = b'f',
        |octets| octets[27] = 1,
        |octets| octets[29] = 3,
        |octets| octets[5] = 0,
        |octets| octets[5] = 2,
        |octets| octets.truncate(28),
    ];
    for (which, change) in wrong.into_iter().enumerate() {
        let octets = response(change);
        assert_eq!(
            answer(&octets),
            Err(NoAnswer::Question),
            "{which}: {octets:?}"
        );
    }
}

#[test]
fn the_type_and_the_class_have_no_letters() {
    // Type 0x41 is not type 0x61, although A is a.
    let name = Name::parse("example.test").unwrap();
    let mut octets = response(|octets| octets[27] = 0x61);
    let query = Query {
        record_type: RecordType(0x41),
        ..query(&name)
    };
    assert_eq!(query.answer(&octets), Err(NoAnswer::Question));
    octets[27] = 0x41;
    assert_eq!(query.answer(&octets), Ok(Rcode::NOERROR));
}
