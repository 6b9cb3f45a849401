use std::time::Duration;

use aarp_core::binding::cache::{self, Cache};
use aarp_core::binding::keyring::{Freshness, Keyring};
use aarp_core::binding::timestamp::Stamps;
use aarp_core::binding::update_list::{Settings, State};
use aarp_core::prefix::Prefix;

use super::*;
use crate::registrar::{Outcome, Registrar};

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn agent() -> Ipv6Addr {
    ip("2001:db8:0:1::2")
}

fn anycast() -> Ipv6Addr {
    ip("2001:db8:0:1::a")
}

fn association() -> Association {
    Association::new(300, &[7; 16], b"ar1@test").unwrap()
}

fn registrant(association: Option<Association>) -> Registrant {
    let registration = Registration::new(anycast(), Settings::DEFAULT, Sequence(199));
    let peer = match association {
        Some(_) => Peer::authenticated(Stamps::new(None), Duration::from_secs(7)),
        None => Peer::new(),
    };
    Registrant::new(registration, agent(), peer, association)
}

fn at(seconds: u64) -> Moment {
    Moment {
        now: Duration::from_secs(1000 + seconds),
        wall: Timestamp::from_unix(Duration::from_secs(1_700_000_000 + seconds)),
        random: 1 << 63,
    }
}

fn home_agent(insecure: bool) -> (Registrar, Cache) {
    let mut keyring = Keyring::new(Freshness::DEFAULT);
    keyring
        .insert(association(), [Prefix::host(anycast())])
        .unwrap();
    let cache = Cache::new(cache::Settings {
        home: vec![Prefix::host(anycast())],
        own: vec![agent()],
        max_lifetime: Lifetime(900),
        refresh_advice: None,
        capacity: 4,
    });
    (Registrar::new(agent(), keyring, insecure), cache)
}

/// The packets that actions have sent.
fn packets(registrant: &Registrant, actions: &[Action]) -> Vec<Vec<u8>> {
    let updates = actions.iter().filter_map(|action| match action {
        Action::Send(update) => Some(update),
        _ => None,
    });
    updates
        .map(|update| {
            let mut room = [0xa5; sealed::ROOM];
            registrant.packet(update, &mut room).unwrap().to_vec()
        })
        .collect()
}

#[test]
fn a_registration_from_one_end_to_the_other() {
    for association in [None, Some(association())] {
        let (mut registrar, mut cache) = home_agent(association.is_none());
        let mut registrant = registrant(association);
        let care_of = ip("2001:db8:0:4::2");
        let actions = registrant.register(at(0), care_of);
        let [update] = &packets(&registrant, &actions)[..] else {
            panic!("{actions:?}");
        };
        let mut room = [0; sealed::ROOM];
        let moment = at(0);
        let outcome = registrar.receive(&mut cache, update, moment.now, moment.wall, &mut room);
        let Outcome::Judged { answer, .. } = outcome else {
            panic!("{outcome:?}");
        };
        let (heard, _) = registrant.hear(answer, at(0)).unwrap();
        assert_eq!(heard, Heard::Acknowledgement);
        assert_eq!(registrant.registration.state(), State::Registered);
        assert_eq!(
            cache.lookup(moment.now, anycast()).unwrap().care_of(),
            care_of
        );
        // The same once more answers nothing that waits.
        let answer = answer.to_vec();
        let again = registrant.hear(&answer, at(0)).map(|(heard, _)| heard);
        assert_eq!(again, Ok(Heard::Ignored));
        // And home again.
        let actions = registrant.deregister(at(1));
        let update = packets(&registrant, &actions).remove(0);
        let moment = at(1);
        let outcome = registrar.receive(&mut cache, &update, moment.now, moment.wall, &mut room);
        let Outcome::Judged { answer, .. } = outcome else {
            panic!("{outcome:?}");
        };
        registrant.hear(answer, at(1)).unwrap();
        assert_eq!(registrant.registration.state(), State::Idle);
        assert!(cache.is_empty());
    }
}

/// An acknowledgement of a forger who knows all but the key.
fn forged(routing: &str, source: &str, seal: Option<&Association>) -> Vec<u8> {
    let care_of = ip("2001:db8:0:4::2");
    let datagram = Datagram {
        extension: Some(Extension::Routing(ip(routing))),
        ..Datagram::new(ip(source), care_of)
    };
    let message = Message::BindingAcknowledgement {
        status: aarp_wire::mobility::Status(0),
        flags: aarp_wire::mobility::AcknowledgementFlags(0),
        sequence: 199,
        lifetime: 15,
    };
    let seal = seal.map(|association| Seal {
        association,
        identify: false,
        timestamp: None,
        care_of,
        home: ip(routing),
    });
    let mut room = [0; sealed::ROOM];
    sealed::emit(&datagram, message, &[], seal.as_ref(), &mut room)
        .unwrap()
        .to_vec()
}

#[test]
fn acknowledgements_of_others_are_not_heard() {
    let right = "2001:db8:0:1::a";
    let home = "2001:db8:0:1::2";
    let other = Association::new(300, &[8; 16], b"ar1@test").unwrap();
    let another = Association::new(301, &[7; 16], b"ar1@test").unwrap();
    for (packet, why) in [
        (forged(right, home, None), Unheard::Authentication),
        (forged(right, home, Some(&other)), Unheard::Authentication),
        (forged(right, home, Some(&another)), Unheard::Authentication),
        (
            forged(right, "2001:db8:0:1::3", Some(&association())),
            Unheard::Elsewhere,
        ),
        (
            forged("2001:db8:0:1::b", home, Some(&association())),
            Unheard::Elsewhere,
        ),
        (vec![0x60; 39], Unheard::Malformed),
    ] {
        let mut registrant = registrant(Some(association()));
        registrant.register(at(0), ip("2001:db8:0:4::2"));
        let heard = registrant.hear(&packet, at(0)).map(|(heard, _)| heard);
        assert_eq!(heard, Err(why));
        assert_eq!(registrant.registration.state(), State::Registering);
    }
    // The right one is heard, so that what was refused above was for its reason.
    let mut registrant = registrant(Some(association()));
    registrant.register(at(0), ip("2001:db8:0:4::2"));
    let packet = forged(right, home, Some(&association()));
    assert!(registrant.hear(&packet, at(0)).is_ok());
}

/// RFC 4285 §6: timestamps by one key at one agent rise, whatever they are about; RFC
/// 6275 §11.8: and no more updates a second go to it than to any node.
#[test]
fn registrations_by_one_key_at_one_agent_share_its_clock_and_its_limit() {
    let peer = Peer::authenticated(Stamps::new(None), Duration::from_secs(7));
    let peer = Rc::new(RefCell::new(peer));
    let homes: Vec<Ipv6Addr> = (1..6).map(|n| ip(&format!("2001:db8:0:1::a{n}"))).collect();
    let mut keyring = Keyring::new(Freshness::DEFAULT);
    let prefixes = homes.iter().map(|home| Prefix::host(*home));
    keyring.insert(association(), prefixes.clone()).unwrap();
    let mut cache = Cache::new(cache::Settings {
        home: prefixes.collect(),
        own: vec![agent()],
        max_lifetime: Lifetime(900),
        refresh_advice: None,
        capacity: 8,
    });
    let mut registrar = Registrar::new(agent(), keyring, false);
    let mut sent = 0;
    for home in homes {
        let registration = Registration::new(home, Settings::DEFAULT, Sequence(199));
        let mut registrant =
            Registrant::sharing(registration, agent(), Rc::clone(&peer), Some(association()));
        // All at the same moment.
        for action in registrant.register(at(0), ip("2001:db8:0:4::2")) {
            let Action::Send(update) = action else {
                continue;
            };
            sent += 1;
            let mut room = [0; sealed::ROOM];
            let packet = registrant.packet(&update, &mut room).unwrap();
            let mut answer = [0; sealed::ROOM];
            let (now, wall) = (at(0).now, at(0).wall);
            let outcome = registrar.receive(&mut cache, packet, now, wall, &mut answer);
            let Outcome::Judged { status, .. } = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(status.0, 0, "{home}");
        }
    }
    assert_eq!(sent, 3, "MAX_UPDATE_RATE");
}
