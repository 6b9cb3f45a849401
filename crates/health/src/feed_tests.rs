use std::io::{BufRead, BufReader};

use super::*;

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0xa);
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0xb);
const NOW: Duration = Duration::from_secs(100);

fn statement(condition: Condition) -> Statement {
    Statement {
        condition,
        reason: format!("because it is {condition}"),
    }
}

fn condition(follower: &Follower, anycast: Ipv6Addr) -> Option<Condition> {
    follower.statement(anycast).map(|said| said.condition)
}

#[test]
fn who_follows_hears_each_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("responder.sock");
    let mut follower = Follower::new(&path).unwrap();
    assert_eq!(follower.follow(NOW), [], "there is nobody");
    assert_eq!(follower.deadline(), Some(NOW + RETRY));
    let mut feed = Feed::bind(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    feed.tell(A, statement(Condition::Up));
    // Not before it is due.
    assert_eq!(follower.follow(NOW), []);
    assert_eq!(follower.follow(NOW + RETRY), [News::Found]);
    assert_eq!(condition(&follower, A), None, "it has not been let in");
    assert!(follower.is_about_to_hear());
    // Not for ever.
    assert_eq!(follower.deadline(), Some(NOW + 2 * RETRY));
    assert_eq!(follower.follow(NOW + 2 * RETRY), []);
    assert!(!follower.is_about_to_hear());
    assert_eq!(follower.deadline(), None);
    feed.admit().unwrap();
    let news = follower.follow(NOW + RETRY);
    assert_eq!(news, [News::Changed(A, statement(Condition::Up))]);
    assert_eq!(follower.deadline(), None, "what comes next is heard");
    assert!(!follower.is_about_to_hear());
    // The same again is nothing new; another is, once.
    feed.tell(A, statement(Condition::Up));
    assert_eq!(follower.follow(NOW + RETRY), []);
    feed.tell(A, statement(Condition::Maintenance));
    feed.tell(B, statement(Condition::Down));
    let news = follower.follow(NOW + RETRY);
    let expected = [
        News::Changed(A, statement(Condition::Maintenance)),
        News::Changed(B, statement(Condition::Down)),
    ];
    assert_eq!(news, expected);
    assert_eq!(condition(&follower, B), Some(Condition::Down));
}

#[test]
fn what_was_said_holds_while_a_responder_is_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("responder.sock");
    let mut feed = Feed::bind(&path).unwrap();
    feed.tell(A, statement(Condition::Down));
    let mut follower = Follower::new(&path).unwrap();
    assert_eq!(follower.follow(NOW), [News::Found]);
    feed.admit().unwrap();
    follower.follow(NOW);
    drop(feed);
    let lost = NOW + Duration::from_secs(1);
    assert_eq!(follower.follow(lost), [News::Lost]);
    assert_eq!(condition(&follower, A), Some(Condition::Down));
    // Another is there before it is forgotten, and says the same: nothing has changed.
    let mut feed = Feed::bind(&path).unwrap();
    feed.tell(A, statement(Condition::Unknown));
    let later = lost + RETRY;
    assert_eq!(follower.follow(later), [News::Found]);
    // Who has connected and has not been answered knows what it knew.
    assert_eq!(condition(&follower, A), Some(Condition::Down));
    feed.admit().unwrap();
    assert_eq!(follower.follow(later), []);
    // Nor while it does not know itself.
    assert_eq!(condition(&follower, A), Some(Condition::Down));
    feed.tell(A, statement(Condition::Down));
    assert_eq!(follower.follow(later), []);
    assert_eq!(follower.deadline(), None);
    // And when none comes, it is as if there had never been one.
    drop(feed);
    assert_eq!(follower.follow(later), [News::Lost]);
    let mut now = later;
    while now + RETRY < later + HOLD {
        now = follower.deadline().unwrap();
        assert_eq!(follower.follow(now), []);
    }
    assert_eq!(condition(&follower, A), Some(Condition::Down), "{now:?}");
    follower.follow(later + HOLD);
    assert_eq!(condition(&follower, A), None);
}

#[test]
fn followers_that_do_not_read_are_let_go_and_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("responder.sock");
    let mut feed = Feed::bind(&path).unwrap();
    assert!(matches!(Feed::bind(&path), Err(FeedError::Busy(_))));
    let mut idle: Vec<_> = (0..FOLLOWERS + 3).map(|_| dial(&path).unwrap()).collect();
    feed.admit().unwrap();
    assert_eq!(feed.followers.len(), FOLLOWERS);
    // Those that are gone make room.
    idle.clear();
    idle.push(dial(&path).unwrap());
    feed.admit().unwrap();
    assert_eq!(feed.followers.len(), 1);
    for turn in 0..10_000 {
        let mut statement = statement(Condition::Up);
        statement.reason = format!("{turn} {}", "x".repeat(200));
        feed.tell(A, statement);
    }
    assert!(feed.followers.is_empty());
    // What it was told in time it can read, whole lines but for the last.
    let lines = BufReader::new(idle.remove(0)).split(b'\n');
    let records = lines.map(|line| serde_json::from_slice::<Record>(&line.unwrap()));
    let whole = records.filter(Result::is_ok).count();
    assert!(whole > 100, "{whole}");
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("responder.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut follower = Follower::new(&path).unwrap();
    let mut follow = |said: &[u8]| {
        follower.next = NOW;
        let found = follower.link.is_none().then_some(News::Found);
        let mut news = follower.follow(NOW);
        assert_eq!(news.first().filter(|n| **n == News::Found), found.as_ref());
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(said).unwrap();
        news = follower.follow(NOW);
        drop(stream);
        if follower.link.is_some() {
            assert_eq!(follower.follow(NOW), [News::Lost]);
        }
        news
    };
    let namespace = namespace().unwrap();
    let record = |kind: &str, namespace: &str, rest: &str| {
        format!(
            "{{\"type\":\"{kind}\",\"schema\":1,\"namespace\":\"{namespace}\",\
             \"anycast\":\"{A}\",\"reason\":\"\",{rest}}}\n"
        )
    };
    for said in [
        "no JSON\n".to_owned(),
        "\n\n\n".to_owned(),
        record("responder", &namespace, "\"state\":\"down\""),
        record("responder-state", "0-0", "\"state\":\"down\""),
        record("responder-state", &namespace, "\"state\":7"),
        // Cut off.
        record("responder-state", &namespace, "\"state\":\"down\"")[..60].to_owned(),
    ] {
        assert_eq!(follow(said.as_bytes()), [], "{said}");
    }
    // Without an end: it is let go.
    assert_eq!(follow(&[b'x'; 3 * LINE_MAX]), [News::Lost]);
    // A state of a later version is none that stands for up.
    let said = record(
        "responder-state",
        &namespace,
        "\"state\":\"new\",\"more\":1",
    );
    let news = follow(said.as_bytes());
    let [News::Changed(A, statement)] = &news[..] else {
        panic!("{news:?}")
    };
    assert_eq!(statement.condition, Condition::Unknown);
}

/// Killed between fork and exec, a process leaves its sockets to the child for a moment.
#[test]
fn what_a_dead_process_left_to_its_child_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("responder.sock");
    // The child holds the socket until its input ends.
    let script = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\n\
         s.bind(sys.argv[1])\ns.listen()\nif os.fork() == 0: sys.stdin.read()\nos._exit(0)\n";
    let python = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .spawn();
    let Ok(mut parent) = python else {
        return eprintln!("SKIPPED: there is no python3");
    };
    let input = parent.stdin.take();
    assert!(parent.wait().unwrap().success());
    let stream = UnixStream::connect(&path).unwrap();
    assert!(!is_held(&stream), "the child is no server");
    assert!(Feed::bind(&path).is_ok());
    drop(input);
}

#[test]
fn what_a_dead_process_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("responder.sock");
    drop(UnixListener::bind(&path).unwrap());
    // A child that another test has begun may hold what was dropped, until it is a
    // program.
    let begun = std::time::Instant::now();
    let feed = loop {
        match Feed::bind(&path) {
            Err(FeedError::Busy(_)) if begun.elapsed() < Duration::from_secs(60) => {
                std::thread::yield_now();
            }
            feed => break feed.unwrap(),
        }
    };
    drop(feed);
    assert!(!path.exists());
}

/// One that has come back and takes long to find out how things stand says nothing by
/// that, neither at once nor when what was said before has run out.
#[test]
fn who_takes_long_to_find_out_leaves_it_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("responder.sock");
    let mut feed = Feed::bind(&path).unwrap();
    feed.tell(A, statement(Condition::Down));
    let mut follower = Follower::new(&path).unwrap();
    follower.follow(NOW);
    feed.admit().unwrap();
    follower.follow(NOW);
    drop(feed);
    follower.follow(NOW);
    let mut feed = Feed::bind(&path).unwrap();
    feed.tell(A, statement(Condition::Unknown));
    let later = NOW + RETRY;
    assert_eq!(follower.follow(later), [News::Found]);
    feed.admit().unwrap();
    assert_eq!(follower.follow(later), []);
    assert_eq!(condition(&follower, A), Some(Condition::Down));
    let news = follower.follow(NOW + HOLD);
    assert_eq!(news, [News::Changed(A, statement(Condition::Unknown))]);
    assert_eq!(condition(&follower, A), Some(Condition::Unknown));
    assert_eq!(follower.follow(NOW + 2 * HOLD), []);
    assert_eq!(condition(&follower, A), Some(Condition::Unknown));
    // However long the reason is, it is heard.
    feed.tell(
        A,
        Statement {
            condition: Condition::Down,
            reason: "\u{1}".repeat(100_000),
        },
    );
    follower.follow(NOW + 2 * HOLD);
    assert_eq!(condition(&follower, A), Some(Condition::Down));
}
