//! Users by name, as in /etc/passwd: a user of the system's own stands there.

use crate::file;

/// Octets that are read at a time, on the stack of whoever asks.
const ROOM: usize = 512;
/// How often: what stands behind eight million octets is not found.
const TURNS: usize = 16 * 1024;

/// The number of a user that is given by name or number; `None` where nobody is called
/// so.
#[must_use]
pub fn user(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let file = file::open("/etc/passwd").ok()??;
    let mut search = Search::of(name);
    let mut room = [0; ROOM];
    for _ in 0..TURNS {
        let read = file.read_next(&mut room).ok()?;
        if read == 0 {
            break;
        }
        if let Some(number) = search.take(&room[..read]) {
            return Some(number);
        }
    }
    None
}

/// A search in a file of which there is a part at a time.
struct Search<'n> {
    name: &'n [u8],
    /// Which field of a line it is in: name, password, number, and those behind.
    field: u32,
    /// Octets of the name that were the same so far; `None` for another name.
    same: Option<usize>,
    number: Option<u32>,
}

impl<'n> Search<'n> {
    fn of(name: &'n str) -> Self {
        Self {
            name: name.as_bytes(),
            field: 0,
            same: Some(0),
            number: None,
        }
    }

    /// Takes what comes next; the number, once it has been found.
    fn take(&mut self, octets: &[u8]) -> Option<u32> {
        for octet in octets {
            match (octet, self.field) {
                (b'\n', _) => {
                    *self = Self {
                        name: self.name,
                        field: 0,
                        same: Some(0),
                        number: None,
                    }
                }
                (b':', 2) if self.same.is_some() && self.number.is_some() => return self.number,
                (b':', field) => {
                    let is_whole = self.same == Some(self.name.len());
                    self.same = self.same.filter(|_| field != 0 || is_whole);
                    self.field = field.saturating_add(1);
                }
                (octet, 0) => {
                    let same = self.same.filter(|same| self.name.get(*same) == Some(octet));
                    self.same = same.map(|same| same + 1);
                }
                (digit @ b'0'..=b'9', 2) if self.same.is_some() => {
                    let digit = u32::from(digit - b'0');
                    let number = self.number.unwrap_or(0).checked_mul(10);
                    self.number = number.and_then(|number| number.checked_add(digit));
                    // A number that is none counts for nobody.
                    self.same = self.same.filter(|_| self.number.is_some());
                }
                (_, 2) => self.same = None,
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_numbers() {
        let file = "root:x:0:0:root:/root:/bin/sh\naarp:x:990:990::/:/bin/false\nbad:x\n\
                    no:x:a:\nmuch:x:4294967296:1:\nmost:x:4294967295:1:\nnone:x::1:\n:x:7:7:";
        // However the file is cut when it is read.
        for room in [1, 2, 3, 7, 512] {
            let number_of = |name: &str| {
                let mut search = Search::of(name);
                let mut parts = file.as_bytes().chunks(room);
                parts.find_map(|part| search.take(part))
            };
            assert_eq!(number_of("root"), Some(0));
            assert_eq!(number_of("aarp"), Some(990));
            assert_eq!(number_of("most"), Some(u32::MAX));
            for name in [
                "aar", "aarp:x", "aarpd", "bad", "no", "much", "none", "x", "root:x:0",
            ] {
                assert_eq!(number_of(name), None, "{name}");
            }
        }
        assert_eq!((user("root"), user("17")), (Some(0), Some(17)));
        assert_eq!(user("nobody of this name"), None);
    }
}
