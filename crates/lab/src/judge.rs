//! Whether what a scenario promised is what was seen.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use sha2::{Digest, Sha256};

use crate::Result;
use crate::error::Context;
use crate::run::{Runner, size};
use crate::scenario::Expect;

impl Runner {
    /// Whether an expectation holds, and what was seen.
    pub(crate) fn judge(&self, expect: &Expect) -> Result<(bool, String)> {
        if let Some(capture) = expect.capture.as_ref().filter(|_| !expect.order.is_empty()) {
            return self.in_order(capture, expect);
        }
        if let (Some(capture), Some(count)) = (&expect.capture, expect.count) {
            let number = match &expect.decoded {
                Some(filter) => {
                    let none = BTreeMap::new();
                    self.decoded(capture, filter, &none, &expect.since, &expect.until)?
                        .len()
                }
                None => {
                    let packets = self.packets(capture, &expect.since, &expect.until)?;
                    expect.packets.count(&packets)
                }
            };
            return Ok((
                count.allows(number),
                format!("{number} packet{}", if number == 1 { "" } else { "s" }),
            ));
        }
        if let Some([one, other]) = &expect.same {
            let (a, b) = (digest(one)?, digest(other)?);
            let seen = match a == b {
                true => format!("both {} octets, SHA-256 {}…", a.0, &a.1[..12]),
                false => format!("{} and {} octets, which differ", a.0, b.0),
            };
            return Ok((a == b, seen));
        }
        if let (Some(file), Some(of), Some([low, high])) =
            (&expect.file, &expect.of, expect.fraction)
        {
            let part = size(file)? as f64 / size(of)?.max(1) as f64;
            let seen = format!("{:.0} %", part * 100.0);
            return Ok(((low..=high).contains(&part), seen));
        }
        let text = match (&expect.stdout, &expect.file) {
            (Some(process), _) => self.process(process)?.stdout()?,
            (None, Some(file)) => {
                std::fs::read_to_string(file).context(|| format!("read {file}"))?
            }
            (None, None) => String::new(),
        };
        let wanted = expect.contains.as_deref().unwrap_or_default();
        Ok((text.contains(wanted), quote(&text, wanted)))
    }
}

/// Octets of a line that is shown as it is.
const SHOWN: usize = 100;

/// The line that has what was wanted, or else the first one; of a long one what was
/// wanted alone, or else its beginning.
fn quote(text: &str, wanted: &str) -> String {
    let having = text.lines().find(|line| line.contains(wanted));
    let line = having.or(text.lines().next()).unwrap_or("nothing");
    match (line.len() <= SHOWN, having) {
        (true, _) => format!("{line:?}"),
        (false, Some(_)) => format!("… {wanted} …"),
        (false, None) => format!("{:?} …", &line[..line.floor_char_boundary(SHOWN)]),
    }
}

impl Runner {
    /// Whether packets came in an order, and when.
    fn in_order(&self, capture: &str, expect: &Expect) -> Result<(bool, String)> {
        let number = BTreeMap::from([("number".to_owned(), "frame.number".to_owned())]);
        let mut last = 0;
        let mut start = None;
        let mut times = Vec::new();
        // At once: starting tshark takes longer than its work.
        let decoded =
            |filter: &String| self.decoded(capture, filter, &number, &expect.since, &expect.until);
        let found = std::thread::scope(|scope| {
            let started: Vec<_> = expect
                .order
                .iter()
                .map(|filter| scope.spawn(move || decoded(filter)))
                .collect();
            let ended = started.into_iter().map(|thread| {
                let panicked = |panic| std::panic::resume_unwind(panic);
                thread.join().unwrap_or_else(panicked)
            });
            ended.collect::<Result<Vec<_>>>()
        })?;
        for (filter, found) in expect.order.iter().zip(found) {
            let next = found.iter().find_map(|packet| {
                let frame: u64 = packet.fields.first()?.parse().ok()?;
                (frame > last).then_some((frame, packet.time))
            });
            let Some((frame, time)) = next else {
                let (at, all) = (times.len() + 1, expect.order.len());
                return Ok((false, format!("number {at} of {all} is missing: {filter}")));
            };
            last = frame;
            let start = *start.get_or_insert(time);
            times.push(format!("{:.3}", (time - start).as_secs_f64()));
        }
        Ok((true, format!("at {} s", times.join(", "))))
    }
}

/// The size and SHA-256 of a file.
fn digest(path: &str) -> Result<(u64, String)> {
    let what = || format!("read {path}");
    let mut file = File::open(path).context(what)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let n = file.read(&mut block).context(what)?;
        if n == 0 {
            break;
        }
        hash.update(&block[..n]);
        length += n as u64;
    }
    let hex = hash
        .finalize()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    Ok((length, hex))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn what_was_wanted_is_quoted() {
        let long = "x".repeat(200);
        assert_eq!(quote("one\ntwo", "two"), "\"two\"");
        assert_eq!(quote("one\ntwo", "three"), "\"one\"");
        assert_eq!(quote("", "three"), "\"nothing\"");
        assert_eq!(quote(&format!("{long} two"), "two"), "… two …");
        let start = format!("\"{}\" …", &long[..100]);
        assert_eq!(quote(&long, "two"), start);
    }
}
