//! The route of an anycast address moves again and again, under load, with aarpd on the
//! client's host: no connection that is pinned is lost, and each new one goes to a
//! responder that was right within the TTL.
//!
//! What was right is judged by the moments at which the route was moved, and by captures
//! at the router; the daemon's events are held to the same captures.
#![allow(unreachable_pub)]

mod evidence;
mod load;
mod site;
#[path = "../availability/stage.rs"]
mod stage;
mod timeline;

use std::time::Duration;

use aarp_lab::rootless;

use crate::load::Load;
use crate::site::{A, PORT, Site};

/// What is started here.
const NEEDED: [&str; 4] = ["bash", "cc", "curl", "nft"];

/// A thousand moves, some of them faster than anybody can notice.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_thousand_moves_lose_no_connection() {
    moves(1000, Duration::from_millis(200));
}

#[test]
fn a_few_moves_lose_no_connection() {
    moves(20, Duration::from_millis(50));
}

fn moves(count: usize, ttl: Duration) {
    if !stage::has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let mut site = Site::new(ttl);
        let load = Load::drive(&mut site, count);
        let told = site.end();
        let seen = site.seen();
        println!("{count} moves, TTL {ttl:?}: {}", load.summary());
        seen.probes_went_where_the_route_led(&site.timeline);
        seen.every_connection_was_right(&load, &site.timeline, ttl);
        seen.pinned_connections_lasted(&load);
        seen.events_are_complete(&told);
    });
}

/// Without the library a connection to A does not survive a move: what is shown above is
/// not shown by a network in which nothing can be lost.
#[test]
fn a_connection_to_the_anycast_address_is_lost() {
    if !stage::has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let mut site = Site::new(Duration::from_secs(60));
        let mut native = site.client(&["long", &A.to_string(), &PORT.to_string()], false);
        native.wait_for("a first exchange", |line| line.starts_with("spoken 0 "));
        site.move_to(1);
        native.wait_for("its end", |line| line.starts_with("failed "));
    });
}
