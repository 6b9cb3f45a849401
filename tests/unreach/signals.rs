//! Signals while the network is asked: the sockets are closed for their handlers, and
//! what was asked before is answered all the same.

use std::time::Duration;

use crate::site::{A, U1, Variant};
use crate::stage::{has, python};
use crate::user::{BOTH, User, seen, unreachable};
use crate::with_variant;

/// Connects while an alarm rings every ten milliseconds, which does not interrupt.
const PROGRAM: &str = "
import signal, socket, sys
rung = 0
def ring(number, frame):
    global rung
    rung += 1
signal.signal(signal.SIGALRM, ring)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
s = socket.create_connection((sys.argv[1], 80))
signal.setitimer(signal.ITIMER_REAL, 0)
print(s.getpeername()[0], rung)
";

/// The one error that answers comes to a socket that was not there when the datagram
/// left, but has its port.
#[test]
fn an_answer_reaches_the_socket_that_was_opened_again() {
    if !has(&[python()]) {
        return;
    }
    let variant = Variant {
        delay: Duration::from_millis(150),
        ..Variant::default()
    };
    with_variant(variant, |site, programs| {
        let variables = [BOTH[0], BOTH[1], ("AARP_RETRANSMIT", "30s")];
        let words = ["-c", PROGRAM, &A.to_string()].map(str::to_owned);
        let run = || programs.run(site, User::Nobody, python(), &words, &variables);
        let ((told, log), packets) = seen(site, "client", "eth0", run);
        let (peer, rung) = told.split_once(' ').expect("two words");
        assert_eq!(peer, A.to_string(), "{log}");
        assert!(log.contains(&format!("pinned to {U1}")), "{log}");
        let rung: u32 = rung.parse().expect("a number");
        // However often it rang, Python says so once the call has returned.
        assert!(rung > 0, "{told}: {log}");
        // From one port, and once: the first datagram was answered.
        let mut asked = packets.iter().filter_map(crate::user::datagram);
        let payload = asked.next().expect("a datagram");
        assert_eq!(asked.next(), None, "{log}");
        let answers = packets.iter().filter(|packet| !packet.outgoing);
        let mut answers = answers.filter_map(|packet| unreachable(packet, payload));
        assert_eq!(answers.next(), Some((4, U1)), "{log}");
    });
}
