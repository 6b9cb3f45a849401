//! Asking by `unreach`: where it gets through and echo does not, and whose answer it
//! never takes.
#![allow(unreachable_pub)]

mod errors;
mod reject;
mod several;
mod signals;
#[path = "../availability/site.rs"]
#[allow(dead_code)]
mod site;
#[path = "../availability/stage.rs"]
mod stage;
mod user;
mod walls;

use aarp_lab::rootless;
use site::{Site, Variant};
use user::Programs;

/// The programs that these tests start.
const NEEDED: [&str; 5] = ["cc", "nft", "nginx", "ip", "curl"];

/// Runs a test that needs a site, and a user without privileges.
fn with_site(body: impl FnOnce(&Site, &Programs)) {
    with_variant(Variant::default(), body);
}

/// The same, at a site that differs from the usual one.
fn with_variant(variant: Variant, body: impl FnOnce(&Site, &Programs)) {
    if !stage::has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        if !user::has_other_users() {
            stage::skip("a user namespace has no other user, who may not ping");
            return;
        }
        let site = Site::new(variant);
        warm(&site);
        let programs = Programs::new(&site);
        body(&site, &programs);
    });
}

/// The hosts get to know each other: no answer waits for that.
fn warm(site: &Site) {
    let seconds = site::PATIENCE.as_secs().to_string();
    let client = site.lab.host("client").unwrap();
    for address in [site::A, site::U1, site::U2] {
        let ping = client.command("ping").args(["-nc1", "-W", &seconds]);
        ping.arg(address.to_string()).run().unwrap();
    }
}
