//! The cache against a model of it.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A few addresses, nodes and numbers, so that they meet.
#[derive(Clone, Debug)]
struct Step {
    wait: u64,
    host: u16,
    care_of: u16,
    sequence: u16,
    lifetime: u16,
    node: Option<u32>,
    home_registration: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..40u64,
        0..5u16,
        0..3u16,
        prop_oneof![0..8u16, 32760..32776u16, 65530..=65535u16],
        prop_oneof![Just(0u16), 1..4u16, 140..160u16],
        prop::option::of(0..2u32),
        prop::bool::weighted(0.9),
    );
    let step = step.prop_map(
        |(wait, host, care_of, sequence, lifetime, node, home_registration)| Step {
            wait,
            host,
            care_of,
            sequence,
            lifetime,
            node,
            home_registration,
        },
    );
    prop::collection::vec(step, 1..60)
}

/// The model's binding: U, number, end, node.
type Known = (Ipv6Addr, u16, Duration, Option<u32>);

/// The rules again, with a plain map, no order of ends, and slow arithmetic. The
/// status, the number and the lifetime of the answer; none is silence.
fn model(
    known: &mut HashMap<Ipv6Addr, Known>,
    now: Duration,
    update: &Update,
    node: Option<u32>,
    capacity: usize,
) -> Option<(u8, u16, u16)> {
    known.retain(|_, (_, _, end, _)| now < *end);
    let number = update.sequence.0;
    let found = known.get(&update.anycast).copied();
    if let Some((_, last, end, _)) = found {
        let preceding = (0..=32768u32)
            .any(|back| (u32::from(last) + 65536 - back) % 65536 == u32::from(number));
        if preceding {
            let left = (end - now).as_millis().div_ceil(4000) as u16;
            return Some((135, last, left));
        }
    }
    if !update.flags.contains(UpdateFlags::HOME_REGISTRATION) {
        return found.map(|_| (139, number, 0));
    }
    if update.lifetime.0 == 0 {
        let owns = found.is_some_and(|(care_of, _, _, owner)| match (owner, node) {
            (Some(owner), Some(node)) => owner == node,
            _ => care_of == update.care_of,
        });
        if !owns {
            return Some((133, number, 0));
        }
        known.remove(&update.anycast);
        return Some((0, number, 0));
    }
    if found.is_none() && known.len() == capacity {
        return Some((130, number, 0));
    }
    let granted = update.lifetime.0.min(150);
    let end = now + secs(4 * u64::from(granted));
    known.insert(update.anycast, (update.care_of, number, end, node));
    Some((0, number, granted))
}

proptest! {
    /// The cache answers and knows what the model does, whatever comes.
    #[test]
    fn the_cache_is_its_model(steps in steps()) {
        let mut cache = cache(4);
        let mut known = HashMap::new();
        let mut now = secs(0);
        for step in steps {
            now += secs(step.wait);
            let flags = if step.home_registration { home_registration() } else { UpdateFlags::ACKNOWLEDGE };
            let update = Update {
                anycast: Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, step.host),
                care_of: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, step.care_of),
                sequence: Sequence(step.sequence),
                lifetime: Lifetime(step.lifetime),
                flags,
                timestamp: None,
            };
            let sender = step.node.map_or(ANY, node);
            let answered = match cache.receive(now, &update, sender) {
                Verdict::Acknowledge { acknowledgement: ack, change } => {
                    prop_assert_eq!(ack.status.is_accepted(), change != Change::None);
                    Some((ack.status.0, ack.sequence.0, ack.lifetime.0))
                }
                Verdict::Discard(_) => None,
            };
            prop_assert_eq!(answered, model(&mut known, now, &update, step.node, 4));
            // What was expired is removed only when it is asked for.
            for (a, (care_of, sequence, end, owner)) in &known {
                let binding = cache.lookup(now, *a);
                let found = binding.map(|b| (b.care_of(), b.sequence().0, b.expiry(), b.node().map(|n| n.0)));
                prop_assert_eq!(found, Some((*care_of, *sequence, *end, *owner)));
            }
            let living = cache.iter().filter(|binding| now < binding.expiry()).count();
            prop_assert_eq!(living, known.len());
            prop_assert_eq!(cache.ends.len(), cache.len());
            prop_assert!(cache.len() <= 4 && cache.slots.len() <= 4);
            if step.wait % 2 == 0 {
                while let Some(gone) = cache.expire(now) {
                    prop_assert!(gone.expiry() <= now);
                }
                prop_assert_eq!(cache.len(), known.len());
            }
        }
    }
}
