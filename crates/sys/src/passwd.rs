//! Users by name, as in /etc/passwd: a user of the system's own stands there.

use crate::file;
use crate::memory::with_scratch;

/// Octets of the longest file that is read.
const FILE: usize = 256 * 1024;

/// The number of a user that is given by name or number; `None` where nobody is called
/// so.
#[must_use]
pub fn user(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let file = file::open("/etc/passwd").ok()??;
    with_scratch::<u8, 1, _>(0, FILE, |_, octets| {
        number_of(name, file.read(octets).ok()?)
    })
    .ok()?
}

/// The number that a file gives to a user.
fn number_of(name: &str, file: &[u8]) -> Option<u32> {
    let number = |line: &[u8]| {
        let mut fields = line.split(|octet| *octet == b':');
        let is_named = fields.next() == Some(name.as_bytes());
        let number = fields.nth(1)?;
        is_named.then(|| core::str::from_utf8(number).ok()?.parse().ok())?
    };
    file.split(|octet| *octet == b'\n').find_map(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_numbers() {
        let file = b"root:x:0:0:root:/root:/bin/sh\naarp:x:990:990::/:/bin/false\nbad:x\nno:x:a\n";
        assert_eq!(number_of("root", file), Some(0));
        assert_eq!(number_of("aarp", file), Some(990));
        for name in ["aar", "aarp:x", "", "bad", "no", "x"] {
            assert_eq!(number_of(name, file), None, "{name}");
        }
        assert_eq!((user("root"), user("17")), (Some(0), Some(17)));
        assert_eq!(user("nobody of this name"), None);
    }
}
