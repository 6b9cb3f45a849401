//! What other programs are to read in our packets, in their words.

use serde_json::{Value, json};

use aarp_wire::ipv6::Extension;
use aarp_wire::mobility::{BindingIdentifier, CareOf, Message, MobilityOption};

use crate::samples::Sample;

fn hex(octets: &[u8], between: &str) -> String {
    let octets: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(between)
}

/// A field of tshark, and its values in the order of the packet.
pub(crate) type Field = (&'static str, Vec<String>);

fn flags(names: &[&'static str], flags: u16, first: u16) -> Vec<Field> {
    let bit = |number: usize| u8::from(flags & (first >> number) != 0);
    let named = names.iter().enumerate();
    named
        .map(|(number, name)| (*name, vec![bit(number).to_string()]))
        .collect()
}

/// The fields of the headers before the Mobility Header.
fn tshark_headers(sample: &Sample) -> Vec<Field> {
    let datagram = &sample.datagram;
    let mut fields = vec![
        (
            "ipv6.tclass",
            vec![format!("0x{:08x}", datagram.traffic_class)],
        ),
        ("ipv6.flow", vec![format!("0x{:06x}", datagram.flow_label)]),
        ("ipv6.hlim", vec![datagram.hop_limit.to_string()]),
        ("ipv6.src", vec![datagram.source.to_string()]),
        ("ipv6.dst", vec![datagram.destination.to_string()]),
    ];
    match datagram.extension {
        None => fields.push(("ipv6.nxt", vec!["135".into()])),
        Some(Extension::HomeAddress(home)) => fields.extend([
            ("ipv6.nxt", vec!["60".into()]),
            ("ipv6.dstopts.nxt", vec!["135".into()]),
            ("ipv6.opt.mipv6.home_address", vec![home.to_string()]),
        ]),
        Some(Extension::Routing(home)) => fields.extend([
            ("ipv6.nxt", vec!["43".into()]),
            ("ipv6.routing.nxt", vec!["135".into()]),
            ("ipv6.routing.type", vec!["2".into()]),
            ("ipv6.routing.segleft", vec!["1".into()]),
            ("ipv6.routing.mipv6.home_address", vec![home.to_string()]),
        ]),
    }
    fields
}

pub(crate) fn tshark(sample: &Sample) -> Vec<Field> {
    let one = |name, value: u32| (name, vec![value.to_string()]);
    // Eight octets are a number to tshark.
    let cookie = |name, octets: [u8; 8]| (name, vec![format!("0x{}", hex(&octets, ""))]);
    let mut fields = tshark_headers(sample);
    fields.extend([
        one("mip6.proto", 59),
        one("mip6.mhtype", sample.message.mh_type().into()),
    ]);
    fields.extend(match sample.message {
        Message::BindingRefreshRequest => vec![],
        Message::HomeTestInit { cookie: value } => vec![cookie("mip6.hoti.cookie", value)],
        Message::CareOfTestInit { cookie: value } => vec![cookie("mip6.coti.cookie", value)],
        Message::HomeTest {
            nonce_index,
            cookie: value,
            token,
        } => vec![
            one("mip6.hot.nindex", nonce_index.into()),
            cookie("mip6.hot.cookie", value),
            cookie("mip6.hot.token", token),
        ],
        Message::CareOfTest {
            nonce_index,
            cookie: value,
            token,
        } => vec![
            one("mip6.cot.nindex", nonce_index.into()),
            cookie("mip6.cot.cookie", value),
            // tshark has one name for both tokens.
            cookie("mip6.hot.token", token),
        ],
        Message::BindingUpdate {
            sequence,
            flags: bits,
            lifetime,
        } => {
            let names = [
                "mip6.bu.a_flag",
                "mip6.bu.h_flag",
                "mip6.bu.l_flag",
                "mip6.bu.k_flag",
                "mip6.bu.m_flag",
                "mip6.nemo.bu.r_flag",
                "mip6.bu.p_flag",
                "mip6.bu.f_flag",
                "mip6.bu.t_flag",
                "mip6.bu.b_flag",
            ];
            let mut fields = flags(&names, bits.0, 0x8000);
            fields.push(one("mip6.bu.seqnr", sequence.into()));
            fields.push(one("mip6.bu.lifetime", lifetime.into()));
            fields
        }
        Message::BindingAcknowledgement {
            status,
            flags: bits,
            sequence,
            lifetime,
        } => {
            let names = ["mip6.ba.k_flag", "mip6.nemo.ba.r_flag", "mip6.ba.p_flag"];
            let mut fields = flags(&names, bits.0.into(), 0x80);
            fields.push(one("mip6.ba.status", status.0.into()));
            fields.push(one("mip6.ba.seqnr", sequence.into()));
            fields.push(one("mip6.ba.lifetime", lifetime.into()));
            fields
        }
        Message::BindingError {
            status,
            home_address,
        } => vec![
            one("mip6.be.status", status.0.into()),
            ("mip6.be.haddr", vec![home_address.to_string()]),
        ],
        Message::RevocationIndication {
            trigger,
            sequence,
            flags: bits,
        } => {
            let names = ["mip6.bri_ip", "mip6.bri_iv", "mip6.bri_ig"];
            let mut fields = flags(&names, bits.0, 0x8000);
            fields.push(one("mip6.bri_br.type", 1));
            fields.push(one("mip6.bri_r.trigger", trigger.0.into()));
            fields.push(one("mip6.bri_seqnr", sequence.into()));
            fields
        }
        Message::RevocationAcknowledgement {
            status,
            sequence,
            flags: bits,
        } => {
            let names = ["mip6.bri_ap", "mip6.bri_av", "mip6.bri_ag"];
            let mut fields = flags(&names, bits.0, 0x8000);
            fields.push(one("mip6.bri_br.type", 2));
            fields.push(one("mip6.bri_status", status.into()));
            fields.push(one("mip6.bri_seqnr", sequence.into()));
            fields
        }
    });
    for option in &sample.options {
        for (name, value) in tshark_option(option) {
            match fields.iter_mut().find(|(found, _)| *found == name) {
                Some((_, values)) => values.push(value),
                None => fields.push((name, vec![value])),
            }
        }
    }
    fields
}

fn tshark_option(option: &MobilityOption<'_>) -> Vec<(&'static str, String)> {
    match *option {
        MobilityOption::RefreshAdvice { interval } => {
            vec![("mip6.bra.interval", interval.to_string())]
        }
        MobilityOption::AlternateCareOf(address) => {
            vec![("mip6.acoa.acoa", address.to_string())]
        }
        MobilityOption::NonceIndices { home, care_of } => vec![
            ("mip6.ni.hni", home.to_string()),
            ("mip6.ni.cni", care_of.to_string()),
        ],
        MobilityOption::AuthorizationData(code) => vec![("mip6.bad.auth", hex(&code, ":"))],
        MobilityOption::NodeIdentifier {
            subtype,
            identifier,
        } => {
            let raw = format!("08:{:02x}:{subtype:02x}:", 1 + identifier.len());
            let mut fields = vec![
                ("mip6.mnid.subtype", subtype.to_string()),
                ("mip6.options.mnid", raw + &hex(identifier, ":")),
            ];
            // Fewer than three octets it does not show as text.
            if identifier.len() > 2 {
                let text = String::from_utf8(identifier.to_vec()).expect("text");
                fields.push(("mip6.mnid.identifier", text));
            }
            fields
        }
        MobilityOption::MessageAuthentication { subtype, spi, code } => vec![
            ("mip6.auth.subtype", subtype.to_string()),
            ("mip6.auth.mobility_spi", spi.to_string()),
            // Its field for the code ends two octets early.
            (
                "mip6.options.auth",
                format!(
                    "09:11:{subtype:02x}:{}:{}",
                    hex(&spi.to_be_bytes(), ":"),
                    hex(code, ":")
                ),
            ),
        ],
        // Its field is a date.
        MobilityOption::MessageIdentification { timestamp } => vec![(
            "mip6.options.mseg_id",
            format!("0a:08:{}", hex(&timestamp.to_be_bytes(), ":")),
        )],
        MobilityOption::BindingIdentifier(option) => {
            let mut fields = vec![
                ("mip6.bi.bid", option.bid.to_string()),
                ("mip6.bi.status", option.status.0.to_string()),
                ("mip6.bi.h_flag", u8::from(option.at_home).to_string()),
            ];
            match option.care_of {
                None => {}
                Some(CareOf::V4(address)) => {
                    fields.push(("mip6.bi.coa_ipv4", address.to_string()));
                }
                Some(CareOf::V6(address)) => {
                    fields.push(("mip6.bi.coa_ipv6", address.to_string()));
                }
            }
            fields
        }
    }
}

/// The Mobility Header in Scapy's words, but for padding and checksum.
pub(crate) fn scapy(sample: &Sample) -> Value {
    let mut message = match sample.message {
        Message::BindingRefreshRequest => json!({"layer": "MIP6MH_BRR", "res2": 0}),
        Message::HomeTestInit { cookie } => {
            json!({"layer": "MIP6MH_HoTI", "reserved": "0000", "cookie": hex(&cookie, "")})
        }
        Message::CareOfTestInit { cookie } => {
            json!({"layer": "MIP6MH_CoTI", "reserved": "0000", "cookie": hex(&cookie, "")})
        }
        Message::HomeTest {
            nonce_index,
            cookie,
            token,
        } => json!({"layer": "MIP6MH_HoT", "index": nonce_index,
            "cookie": hex(&cookie, ""), "token": hex(&token, "")}),
        Message::CareOfTest {
            nonce_index,
            cookie,
            token,
        } => json!({"layer": "MIP6MH_CoT", "index": nonce_index,
            "cookie": hex(&cookie, ""), "token": hex(&token, "")}),
        Message::BindingUpdate {
            sequence,
            flags,
            lifetime,
        } => {
            // It knows the first seven flags, the first of them as the lowest bit or the
            // highest: as it prints a 7-bit number, the highest.
            json!({"layer": "MIP6MH_BU", "seq": sequence, "flags": flags.0 >> 9,
                "reserved": flags.0 & 0x1ff, "mhtime": lifetime})
        }
        Message::BindingAcknowledgement {
            status,
            flags,
            sequence,
            lifetime,
        } => json!({"layer": "MIP6MH_BA", "status": status.0, "flags": flags.0 >> 5,
            "res2": flags.0 & 0x1f, "seq": sequence, "mhtime": lifetime}),
        Message::BindingError {
            status,
            home_address,
        } => json!({"layer": "MIP6MH_BE", "status": status.0, "reserved": 0,
            "ha": home_address.to_string()}),
        // A type that it does not know.
        Message::RevocationIndication { trigger, .. } => {
            json!({"layer": "MIP6MH_Generic", "msg": format!("01{:02x}", trigger.0)})
        }
        Message::RevocationAcknowledgement { status, .. } => {
            json!({"layer": "MIP6MH_Generic", "msg": format!("02{status:02x}")})
        }
    };
    message["nh"] = 59.into();
    message["mhtype"] = sample.message.mh_type().into();
    message["res"] = 0.into();
    if message["layer"] != "MIP6MH_Generic" {
        message["options"] = sample.options.iter().map(scapy_option).collect();
    }
    message
}

fn scapy_option(option: &MobilityOption<'_>) -> Value {
    let kind = option.kind();
    let named = |layer: &str, olen: usize, fields: Value| {
        let mut option = json!({"layer": layer, "otype": kind, "olen": olen});
        for (name, value) in fields.as_object().expect("an object") {
            option[name] = value.clone();
        }
        option
    };
    match *option {
        MobilityOption::RefreshAdvice { interval } => {
            named("MIP6OptBRAdvice", 2, json!({"rinter": interval}))
        }
        MobilityOption::AlternateCareOf(address) => {
            named("MIP6OptAltCoA", 16, json!({"acoa": address.to_string()}))
        }
        MobilityOption::NonceIndices { home, care_of } => named(
            "MIP6OptNonceIndices",
            4,
            json!({"hni": home, "coni": care_of}),
        ),
        // Compared as text: it is a number of 96 bits to Scapy.
        MobilityOption::AuthorizationData(code) => {
            let number = code
                .iter()
                .fold(0u128, |sum, octet| sum << 8 | u128::from(*octet));
            named(
                "MIP6OptBindingAuthData",
                12,
                json!({"authenticator": number.to_string()}),
            )
        }
        MobilityOption::NodeIdentifier {
            subtype,
            identifier,
        } => named(
            "MIP6OptMNID",
            1 + identifier.len(),
            json!({"subtype": subtype, "id": hex(identifier, "")}),
        ),
        MobilityOption::MessageAuthentication { subtype, spi, code } => named(
            "MIP6OptMsgAuth",
            5 + code.len(),
            json!({"subtype": subtype, "mspi": spi, "authdata": hex(code, "")}),
        ),
        MobilityOption::MessageIdentification { timestamp } => named(
            "MIP6OptReplayProtection",
            8,
            json!({"timestamp": timestamp}),
        ),
        MobilityOption::BindingIdentifier(BindingIdentifier {
            bid,
            status,
            at_home,
            priority,
            care_of,
        }) => {
            // A type that it does not know.
            let flags = priority | u8::from(at_home) << 7;
            let address = match care_of {
                None => vec![],
                Some(CareOf::V4(address)) => address.octets().to_vec(),
                Some(CareOf::V6(address)) => address.octets().to_vec(),
            };
            let data = format!(
                "{:04x}{:02x}{flags:02x}{}",
                bid.get(),
                status.0,
                hex(&address, "")
            );
            named("MIP6OptUnknown", 4 + address.len(), json!({"odata": data}))
        }
    }
}
