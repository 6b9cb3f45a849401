//! Responders and an agent with a network between them, in virtual time.

mod world;

use proptest::prelude::*;

use self::world::{FAIR, Weather, World};
use super::*;

const LIFETIME: Duration = Duration::from_secs(60);
/// Three quarters of it.
const REFRESH: Duration = Duration::from_secs(45);

fn standby() -> Settings {
    Settings::DEFAULT
}

/// Settled, and stays so for ten intervals.
fn check_settled(world: &mut World) -> Result<(), TestCaseError> {
    prop_assert!(
        world.is_settled(),
        "{:?} {:?} {:?}",
        world.owner(),
        world.states(),
        world.owners
    );
    let owners = world.owners.len();
    world.run(10 * REFRESH);
    prop_assert!(
        world.is_settled(),
        "{:?} {:?}",
        world.owner(),
        world.states()
    );
    prop_assert_eq!(world.owners.len(), owners, "{:?}", &world.owners);
    Ok(())
}

proptest! {
    /// Whatever the network does to the packets of the beginning, one responder has A
    /// in the end, the others know that they do not, and it stays so.
    #[test]
    fn one_owner_in_the_end(
        seed: u64, count in 2..5usize, authenticated: bool,
        loss in 0..400u64, duplicates in 0..300u64, delay in 0..3000u64,
        starts in prop::collection::vec(0..100_000u64, 5),
    ) {
        let mut world = World::new(count, standby(), authenticated, seed);
        world.weather = Weather { loss, duplicates, delay: ms(delay) };
        let mut order: Vec<(u64, usize)> = starts.into_iter().zip(0..count).collect();
        order.sort_unstable();
        let begin = world.now;
        for (start, n) in order {
            let wait = (begin + ms(start)).saturating_sub(world.now);
            world.run(wait);
            world.register(n);
        }
        world.run(secs(600));
        world.weather = FAIR;
        world.run(3 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// Duplicates and reordering alone move A only with the first registrations.
    #[test]
    fn no_flapping_without_loss(
        seed: u64, authenticated: bool, duplicates in 0..500u64, delay in 0..900u64,
    ) {
        let mut world = World::new(3, standby(), authenticated, seed);
        world.weather = Weather { loss: 0, duplicates, delay: ms(delay) };
        for n in 0..3 {
            world.register(n);
            world.run(secs(20));
        }
        world.run(3 * LIFETIME);
        prop_assert_eq!(world.owner(), Some(2), "{:?}", &world.owners);
        check_settled(&mut world)?;
    }

    /// The owner dies: another has A as soon as the binding is over, but for the
    /// rounding, the jitter and the way.
    #[test]
    fn an_owner_dies(seed: u64, count in 2..6usize, authenticated: bool, after in 0..200_000u64) {
        let mut world = World::new(count, standby(), authenticated, seed);
        for n in 0..count {
            world.register(n);
            world.run(secs(1));
        }
        world.run(LIFETIME + ms(after));
        prop_assert!(world.is_settled(), "{:?} {:?}", world.states(), &world.owners);
        let owner = world.owner().unwrap();
        world.kill(owner);
        // What it sent may be on its way.
        world.run(ms(100));
        let left = world.cache.lookup(world.now, A).unwrap().expiry() - world.now;
        world.run(left);
        prop_assert_eq!(world.owner(), None);
        let took = world.until_served(LIFETIME);
        prop_assert!(took < secs(4 + 1) + ms(100), "{:?}", took);
        world.run(2 * LIFETIME);
        check_settled(&mut world)?;
        // It comes back and, this being a first registration, takes over.
        world.restart(owner, seed % 2 == 0);
        world.run(secs(2));
        prop_assert_eq!(world.owner(), Some(owner));
        world.run(2 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// The agent forgets everything: A is served again within one refresh interval.
    #[test]
    fn the_agent_restarts(seed: u64, authenticated: bool, last: bool, after in 0..200_000u64) {
        let ownership = if last { Ownership::Last } else { Ownership::Standby };
        let settings = Settings { ownership, ..standby() };
        let mut world = World::new(2, settings, authenticated, seed);
        world.register(0);
        world.run(secs(1));
        world.register(1);
        world.run(LIFETIME + ms(after));
        world.restart_agent();
        let took = world.until_served(2 * LIFETIME);
        prop_assert!(took <= REFRESH + ms(100), "{:?}", took);
        if !last {
            world.run(2 * LIFETIME);
            check_settled(&mut world)?;
        }
    }

    /// The owner restarts, with or without its number: A is served at once.
    #[test]
    fn a_responder_restarts(seed: u64, authenticated: bool, remembers: bool, down in 0..200_000u64) {
        let mut world = World::new(2, standby(), authenticated, seed);
        world.register(0);
        world.run(LIFETIME);
        world.kill(0);
        world.run(ms(down));
        world.restart(0, remembers);
        world.run(ms(200));
        prop_assert_eq!(world.states()[0], State::Registered);
        world.register(1);
        world.run(2 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// Everybody is cut off from the agent: A is served with the next try.
    #[test]
    fn the_path_is_cut(seed: u64, authenticated: bool, cut in 0..2000u64) {
        let mut world = World::new(2, standby(), authenticated, seed);
        for n in 0..2 {
            world.register(n);
            world.run(LIFETIME);
        }
        world.responders.iter_mut().for_each(|responder| responder.connected = false);
        world.run(secs(cut));
        world.responders.iter_mut().for_each(|responder| responder.connected = true);
        let took = world.until_served(2 * LIFETIME);
        prop_assert!(took <= MAX_TIMEOUT + ms(100), "{:?}", took);
        world.run(3 * LIFETIME);
        check_settled(&mut world)?;
    }

    /// Only the owner is cut off: the other takes over, and the first stands by when
    /// it is back.
    #[test]
    fn the_owner_is_cut_off(seed: u64, authenticated: bool, cut in 130..2000u64) {
        let mut world = World::new(2, standby(), authenticated, seed);
        for n in 0..2 {
            world.register(n);
            world.run(LIFETIME);
        }
        prop_assert_eq!(world.owner(), Some(1));
        world.responders[1].connected = false;
        world.run(secs(cut));
        prop_assert_eq!(world.owner(), Some(0));
        let owners = world.owners.len();
        world.responders[1].connected = true;
        world.run(secs(40));
        prop_assert_eq!(world.owners.len(), owners, "{:?}", &world.owners);
        check_settled(&mut world)?;
    }

    /// Two who both think to own A and are at the same number: one of them learns
    /// better, and A does not go to and fro.
    #[test]
    fn equal_numbers_part(seed: u64, authenticated: bool, apart in 0..3000u64) {
        let mut world = World::new(2, standby(), authenticated, seed);
        let number = world.responders[0].registration.upcoming();
        world.responders[1].registration = Registration::new(A, standby(), number);
        world.register(0);
        world.run(ms(apart).max(ms(100)));
        world.restart_agent();
        world.register(1);
        world.run(ms(100));
        prop_assert_eq!(world.states(), [State::Registered; 2]);
        world.run(6 * LIFETIME);
        check_settled(&mut world)?;
        prop_assert!(world.owners.len() <= 8, "{:?}", &world.owners);
    }

    /// Whoever registers last has A: two who refresh alternate, once for each refresh.
    #[test]
    fn the_last_ones_alternate(seed: u64, authenticated: bool, apart in 1000..40_000u64) {
        let settings = Settings { ownership: Ownership::Last, ..standby() };
        let mut world = World::new(2, settings, authenticated, seed);
        world.register(0);
        world.run(ms(apart));
        world.register(1);
        world.run(10 * REFRESH);
        // Where the two refresh at the same time, one turn is too short to be seen.
        let turns = |n| world.owners.iter().filter(|(_, owner)| *owner == n).count();
        prop_assert!(turns(0) >= 4 && turns(1) >= 4, "{:?}", &world.owners);
    }
}
