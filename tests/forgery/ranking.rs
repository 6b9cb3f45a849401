//! Both methods in flight, and what comes of answers that differ.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_lab::rootless;

use crate::frame::Message;
use crate::path::{A, PATIENCE, Path, Socket, U};
use crate::{record, stage};

/// Another address that is trusted.
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x52, 0, 0, 0, 0, 2);

/// An answer, and from where.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Echo(Ipv6Addr),
    Unreach(Ipv6Addr),
}

/// Gives these answers, one behind the other, and returns the state, the unicast
/// address and the method that came of them.
fn outcome(path: &mut Path, answers: &[Answer]) -> (String, Option<String>, String) {
    let (process, request, unreachable) = path.ask_by_both();
    // As long as an answer takes, so long is a better one waited for: the next one,
    // which comes right behind it, is not late on any machine.
    std::thread::sleep(Duration::from_secs(1));
    for answer in answers {
        assert!(process.try_wait().unwrap().is_none(), "{answers:?}");
        let message = match *answer {
            Answer::Echo(source) => request.reply(source),
            Answer::Unreach(source) => Message {
                source,
                ..unreachable.clone()
            },
        };
        path.send([message].into_iter());
    }
    process.wait(PATIENCE).unwrap();
    let record = record(&process);
    assert_eq!(record["probes"], 2, "{record}");
    let text = |key: &str| record[key].as_str().map(str::to_owned);
    (
        text("state").expect("a state"),
        text("unicast"),
        text("method").expect("a method"),
    )
}

#[test]
fn the_ranking_of_answers() {
    use Answer::{Echo, Unreach};
    if !stage::has(&["ip"]) {
        return;
    }
    rootless::test(|| {
        let mut path = Path::new(Socket::Ping).expect("an ordinary socket");
        for (answers, state, unicast, method) in [
            (&[Echo(U)][..], "pinned", Some(U), "echo"),
            (&[Unreach(U)], "pinned", Some(U), "unreach"),
            (&[Unreach(OTHER), Echo(U)], "pinned", Some(U), "echo"),
            // U of one counts more than A of the other, whichever comes first.
            (&[Echo(A), Unreach(U)], "pinned", Some(U), "unreach"),
            (&[Unreach(U), Echo(A)], "pinned", Some(U), "unreach"),
            (&[Unreach(A), Echo(U)], "pinned", Some(U), "echo"),
            // Direct once both have said so: the budget is 300 s.
            (&[Unreach(A), Echo(A)], "direct", None, "echo"),
            (&[Echo(A), Unreach(A)], "direct", None, "echo"),
        ] {
            let unicast = unicast.map(|unicast| unicast.to_string());
            let expected = (state.to_owned(), unicast, method.to_owned());
            assert_eq!(outcome(&mut path, answers), expected, "{answers:?}");
        }
    });
}
