//! Where the route of A led, and when: by the clock of captured packets.

use std::time::Duration;

/// A move of the route.
#[derive(Clone, Copy, Debug)]
struct Move {
    /// Before this moment the route was the one before, ...
    begin: Duration,
    /// ... and after this one it is that to `to`.
    end: Duration,
    to: usize,
}

/// Where the route led since the beginning.
#[derive(Debug, Default)]
pub struct Timeline(Vec<Move>);

impl Timeline {
    pub fn moved(&mut self, begin: Duration, end: Duration, to: usize) {
        self.0.push(Move { begin, end, to });
    }

    /// Whether the route may have led to this responder at some moment of a time.
    pub fn may_have_led(&self, to: usize, from: Duration, until: Duration) -> bool {
        self.last_led(to, until).is_some_and(|last| from <= last)
    }

    /// The last moment, up to `until`, at which the route may have led to this responder.
    pub fn last_led(&self, to: usize, until: Duration) -> Option<Duration> {
        let begun = self.0.iter().take_while(|a_move| a_move.begin <= until);
        let at = begun.enumerate().filter(|(_, a_move)| a_move.to == to);
        let (at, _) = at.last()?;
        let next = self.0.get(at + 1);
        Some(next.map_or(until, |next| next.end.min(until)))
    }
}

#[test]
fn the_route_led_there_until_it_was_moved_away() {
    let ms = Duration::from_millis;
    let mut timeline = Timeline::default();
    for (begin, end, to) in [(0, 1, 0), (10, 12, 1), (20, 21, 0)] {
        timeline.moved(ms(begin), ms(end), to);
    }
    assert_eq!(timeline.last_led(0, ms(5)), Some(ms(5)));
    // While it is moved it may still lead to the old one.
    assert_eq!(timeline.last_led(0, ms(11)), Some(ms(11)));
    assert_eq!(timeline.last_led(0, ms(15)), Some(ms(12)));
    assert_eq!(timeline.last_led(0, ms(25)), Some(ms(25)));
    assert_eq!(timeline.last_led(1, ms(5)), None);
    assert_eq!(timeline.last_led(1, ms(30)), Some(ms(21)));
    assert!(timeline.may_have_led(1, ms(21), ms(30)));
    assert!(!timeline.may_have_led(1, ms(22), ms(30)));
}
