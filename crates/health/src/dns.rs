//! A DNS query, and whether some octets answer it (RFC 1035, section 4.1).

use std::fmt;

use thiserror::Error;

const HEADER: usize = 12;
/// The class IN.
const IN: u16 = 1;
/// The longest name, with its length octets (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 255;
const LABEL_MAX: usize = 63;

/// A domain name in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    text: String,
}

impl Name {
    /// From dotted labels, with or without the last dot; `.` is the root. `None`
    /// where a label is empty or longer than 63 octets, where the whole is longer
    /// than 255 on the wire, and where something is not visible ASCII.
    //= https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let root = text == ".";
        // Backslashes would be escapes in a zone file; nobody needs them here.
        let visible = |octet: u8| octet.is_ascii_graphic() && octet != b'\\';
        let fits = |label: &str| (1..=LABEL_MAX).contains(&label.len());
        let good = name.bytes().all(visible)
            && (root || name.split('.').all(fits))
            && name.len() + 2 <= NAME_MAX;
        good.then(|| Self {
            text: name.to_owned(),
        })
    }

    fn emit(&self, message: &mut Vec<u8>) {
        for label in self.text.split('.').filter(|label| !label.is_empty()) {
            // `parse` has seen to it that a length fits.
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() {
            "."
        } else {
            &self.text
        })
    }
}

/// Declares numbers that have names.
macro_rules! named {
    ($type:ident, $generic:literal, { $($name:ident = $value:literal),* $(,)? }) => {
        impl $type {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Self = Self($value);)*

            /// By its name, in capitals, or as a number.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ if text.bytes().all(|octet| octet.is_ascii_digit()) => {
                        text.parse().ok().map(Self).filter(|this| this.is_possible())
                    }
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(other) => write!(f, concat!($generic, "{}"), other),
                }
            }
        }
    };
}

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType(pub u16);

named!(RecordType, "TYPE", {
    A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, MX = 15, TXT = 16, AAAA = 28,
    SRV = 33, NAPTR = 35, DS = 43, DNSKEY = 48, SVCB = 64, HTTPS = 65, ANY = 255, CAA = 257,
});

impl RecordType {
    fn is_possible(self) -> bool {
        self.0 != 0
    }
}

/// A response code; four bits, as there is no EDNS in our queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcode(pub u8);

named!(Rcode, "RCODE", {
    NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5,
    YXDOMAIN = 6, YXRRSET = 7, NXRRSET = 8, NOTAUTH = 9, NOTZONE = 10,
});

impl Rcode {
    fn is_possible(self) -> bool {
        self.0 < 16
    }
}

/// What one query is: its answer must have all of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// Which query it is.
    pub id: u16,
    /// What is asked for.
    pub name: &'a Name,
    /// Of which type.
    pub record_type: RecordType,
}

impl Query<'_> {
    fn question(&self) -> Vec<u8> {
        let mut question = Vec::with_capacity(NAME_MAX + 4);
        self.name.emit(&mut question);
        question.extend_from_slice(&self.record_type.0.to_be_bytes());
        question.extend_from_slice(&IN.to_be_bytes());
        question
    }

    /// The query on the wire: one question, recursion desired.
    //= https://www.rfc-editor.org/rfc/rfc1035#section-4.1
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + NAME_MAX + 4);
        message.extend_from_slice(&self.id.to_be_bytes());
        // RD; one question and nothing else.
        message.extend_from_slice(&[0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&self.question());
        message
    }

    /// The response code, if these octets answer this query: whose id and question
    /// they have to repeat. A truncated answer is an answer. The source is for the
    /// caller to check. Whatever stands behind the question is not looked at.
    ///
    /// # Errors
    /// Why it is no answer to this query.
    //= https://www.rfc-editor.org/rfc/rfc5452#section-9.1
    pub fn answer(&self, octets: &[u8]) -> Result<Rcode, NoAnswer> {
        let (header, rest) = octets
            .split_first_chunk::<HEADER>()
            .ok_or(NoAnswer::Short)?;
        if header[..2] != self.id.to_be_bytes() {
            return Err(NoAnswer::Id);
        }
        // QR, and the opcode of a plain query.
        if header[2] & 0x80 == 0 || header[2] & 0x78 != 0 {
            return Err(NoAnswer::NoResponse);
        }
        let question = self.question();
        // Servers keep the case of names or do not (RFC 4343, section 3); the octets
        // of a length are below those of letters.
        let same = rest
            .get(..question.len())
            .is_some_and(|theirs| theirs.eq_ignore_ascii_case(&question));
        let fixed = question.len() - 4;
        if header[4..6] != [0, 1] || !same || rest[fixed..fixed + 4] != question[fixed..] {
            return Err(NoAnswer::Question);
        }
        Ok(Rcode(header[3] & 0x0f))
    }
}

/// Why some octets do not answer a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// There is no whole header.
    #[error("shorter than a DNS header")]
    Short,
    /// Another id.
    #[error("another id than asked")]
    Id,
    /// A query, or another operation.
    #[error("a query, or another operation")]
    NoResponse,
    /// Another question, or not exactly one.
    #[error("another question than asked")]
    Question,
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
