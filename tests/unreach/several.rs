//! Several addresses in one question.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use aarp_core::mapping::Answer;
use aarp_core::policy::{Interest, Patience, plan};
use aarp_core::settings::{Layer, Methods, Settings};
use aarp_lab::Filter;
use aarp_sys::ask::{ADDRESSES, AskError, Inquiry, Kind, Report, ask_all};
use aarp_sys::interrupt::Interruptible;
use aarp_sys::route::Origin;
use aarp_wire::probe::Method;

use crate::site::{A, Site, U1, U2};
use crate::user::seen;
use crate::with_site;

const BUDGET: Duration = Duration::from_secs(3);
const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);

fn silent(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, number)
}

fn unreachable(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, number)
}

/// Everything may be asked by both methods.
fn settings() -> Settings {
    let mut settings = Settings::DEFAULT;
    let everything = || {
        let mut set = aarp_core::prefix::PrefixSet::new();
        set.insert("::/0".parse().unwrap()).unwrap();
        set
    };
    settings.prefixes = everything();
    settings.trusted.set(Layer::System, everything());
    settings.methods = Methods::ECHO.with(Method::Unreach);
    settings
}

/// Asks on the client's host.
fn ask(
    site: &Site,
    addresses: &[Ipv6Addr],
    methods: Methods,
    origin: Origin,
) -> (Vec<Result<Report, AskError>>, Duration) {
    let addresses = addresses.to_vec();
    site.lab.host("client").unwrap().enter(move || {
        let settings = settings();
        let inquiries: Vec<_> = addresses
            .iter()
            .map(|a| {
                let mut plan = plan(&settings, *a, Interest::Configured, Patience::Blocking);
                plan.methods = methods;
                Inquiry {
                    settings: &settings,
                    a: *a,
                    scope: 0,
                    plan,
                    budget: BUDGET,
                    origin,
                    interruptible: Interruptible::Never,
                }
            })
            .collect();
        let mut reports = vec![Err(AskError::Interrupted); addresses.len()];
        let began = Instant::now();
        ask_all(&inquiries, &mut reports);
        (reports, began.elapsed())
    })
}

/// The router is silent about some addresses and says of others that they cannot be
/// reached; s2 has an anycast address of its own.
fn prepare(site: &Site) {
    let router = site.lab.host("router").unwrap();
    router.sysctl("net.ipv6.icmp.ratelimit", "0").unwrap();
    router.ip("-6 route add blackhole 2001:db8:b::/48").unwrap();
    router
        .ip("-6 route add unreachable 2001:db8:d::/48")
        .unwrap();
}

/// Each address gets its own answer, and all together take one budget.
#[test]
fn each_address_its_own_answer_within_one_budget() {
    with_site(|site, _| {
        prepare(site);
        let addresses = [
            silent(1),
            A,
            unreachable(1),
            U2,
            silent(2),
            CLIENT,
            unreachable(2),
            silent(3),
            silent(4),
            silent(5),
            silent(6),
            silent(7),
            silent(8),
            silent(9),
            silent(10),
            unreachable(3),
            silent(11),
        ];
        let all = Methods::ECHO.with(Method::Unreach);
        let unreach = all.without(Method::Echo);
        for methods in [Methods::ECHO, unreach, all] {
            let attempts = 3 * if methods == all { 2 } else { 1 };
            let ask = || ask(site, &addresses, methods, Origin::default());
            let ((reports, took), packets) = seen(site, "client", "eth0", ask);
            let (late, reports) = reports.split_last().unwrap();
            assert_eq!(*late, Err(AskError::TooMany));
            assert_eq!(reports.len(), ADDRESSES);
            for (a, report) in addresses.iter().zip(reports) {
                let context = format!("{methods:?}, {a}: {report:?}");
                if *a == CLIENT {
                    assert_eq!(*report, Err(AskError::Local), "{context}");
                    continue;
                }
                let report = report.unwrap();
                assert_eq!(report.ignored, [0; 6], "{context}");
                match report.answer {
                    Answer::Pinned { u, .. } => assert_eq!((*a, u), (A, U1), "{context}"),
                    Answer::Direct { .. } => assert_eq!(*a, U2, "{context}"),
                    Answer::Untrusted { .. } => panic!("{context}"),
                    Answer::None { .. } => {
                        let lost = a.segments()[2] == 0xd;
                        assert!(lost || a.segments()[2] == 0xb, "{context}");
                        assert_eq!(report.unreachable, lost, "{context}");
                        assert!(!lost || report.sent == attempts, "{context}");
                        // What the network says of one address is not said of another.
                        let to = packets.iter().filter(|packet| packet.outgoing);
                        let asked = Filter::any().dst(*a).count(to);
                        assert_eq!(asked, report.sent as usize, "{context}");
                    }
                }
                let by_unreach = report.method == Method::Unreach;
                assert_eq!(by_unreach, report.socket == Kind::Udp, "{context}");
            }
            // One after the other they would take eleven.
            assert!(took >= BUDGET && took < 5 * BUDGET, "{took:?}");
        }
    });
}

/// Nothing is asked of nobody.
#[test]
fn no_address_and_no_method() {
    with_site(|site, _| {
        let (reports, _) = ask(site, &[], Methods::ECHO, Origin::default());
        assert!(reports.is_empty());
        let (reports, _) = ask(site, &[A, U2], Methods::NONE, Origin::default());
        assert_eq!(reports, [Err(AskError::NoMethod); 2]);
    });
}

/// Source and flow label are those that are fixed, by both methods.
#[test]
fn source_and_flow_label_are_those_of_the_origin() {
    with_site(|site, _| {
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 7);
        let client = site.lab.host("client").unwrap();
        client
            .ip(&format!("addr add {other}/64 dev eth0 nodad"))
            .unwrap();
        let origin = Origin {
            source: Some(other),
            flow_label: 0xabcde,
            ..Origin::default()
        };
        let labels = "table ip6 labels {\nchain in { type filter hook input priority 0;\n\
             ip6 flowlabel 0xabcde meta l4proto { icmpv6, udp } counter\n}\n}\n";
        let s1 = site.lab.host("s1").unwrap();
        s1.nft(labels).unwrap();
        let all = Methods::ECHO.with(Method::Unreach);
        let ask = || ask(site, &[A], all, origin);
        let ((reports, _), packets) = seen(site, "s1", "eth0", ask);
        let report = reports[0].unwrap();
        assert!(matches!(report.answer, Answer::Pinned { u, .. } if u == U1));
        let asked = Filter::any().dst(A).src(other).count(&packets);
        assert_eq!(asked, Filter::any().dst(A).count(&packets));
        assert!(asked >= 2, "{asked}");
        let list = s1.command("nft").args(["list", "table", "ip6", "labels"]);
        let listed = list.output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(
            text.contains(&format!("packets {asked} ")),
            "{asked}: {text}"
        );
    });
}
