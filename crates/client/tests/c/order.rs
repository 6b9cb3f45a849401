//! Whom these programs ask, for how long, and whom they leave alone: the library's order
//! (docs/adr/0005-aarpd.md).

use std::time::Duration;

use aarp_lab::{Signal, rootless};

use crate::site::{A, Linked, Site, u};
use crate::{WHOLE, results};

/// Its sign of life is late: it is given a part of the time, and what is left is for the
/// network.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_daemon_that_may_be_stuck_leaves_time_for_the_network() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let daemon = site.start();
        daemon.signal(Signal::STOP).unwrap();
        site.age(Duration::from_secs(8));
        let said = site.results("client", &results, &[(A, WHOLE)]);
        assert_eq!(said, [format!("0, {}, 4, fine", u(1))]);
        daemon.signal(Signal::KILL).unwrap();
    });
}
