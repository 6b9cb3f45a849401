//! A GET in HTTP/1.1, and its response as it comes in piece by piece (RFC 9112).

use thiserror::Error;

/// The longest head of a response, all interim responses included.
pub const HEAD_MAX: usize = 16 * 1024;
/// So much of a body is kept and looked at.
pub const BODY_MAX: usize = 64 * 1024;
/// The longest line between chunks, and all trailer fields together.
const CHUNK_LINE_MAX: usize = 1024;

/// A request for `path`, after which the connection is closed. The caller sees to it
/// that neither has a space or a line break in it.
//= https://www.rfc-editor.org/rfc/rfc9112#section-3
#[must_use]
pub fn request(path: &str, host: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: aarp-health\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    )
}

/// Why some octets are no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It does not begin like `HTTP/1.1 200`.
    #[error("no HTTP status line")]
    StatusLine,
    /// A field without a name, or with a space before its colon.
    #[error("a malformed header field")]
    Field,
    /// A Content-Length that is no number, or two that differ.
    #[error("a malformed Content-Length")]
    ContentLength,
    /// A transfer coding other than chunked.
    #[error("an unknown transfer coding")]
    TransferCoding,
    /// No size where one should be, or no line break behind a chunk.
    #[error("a malformed chunk")]
    Chunk,
    /// The head is longer than [`HEAD_MAX`].
    #[error("a head longer than 16 KiB")]
    HeadTooLong,
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    StatusLine,
    Field,
    /// So many octets of a body.
    Sized(u64),
    /// A body that ends with the connection.
    UntilClose,
    ChunkSize,
    /// So many octets of a chunk.
    Chunk(u64),
    /// The line break behind a chunk.
    ChunkEnd,
    Trailer,
    End,
}

/// A response, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    part: Part,
    /// What has come of a line that is not complete.
    line: Vec<u8>,
    /// Octets of the head, or of all lines between chunks since the last data.
    head: usize,
    status: u16,
    length: Option<u64>,
    chunked: bool,
    body: Vec<u8>,
    is_cut: bool,
}

impl Default for Response {
    fn default() -> Self {
        Self::new()
    }
}

impl Response {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            part: Part::StatusLine,
            line: Vec::new(),
            head: 0,
            status: 0,
            length: None,
            chunked: false,
            body: Vec::new(),
            is_cut: false,
        }
    }

    /// Takes in what has come. How it is cut into pieces makes no difference.
    ///
    /// # Errors
    /// It is no response; nothing more is to be given to it.
    pub fn push(&mut self, mut octets: &[u8]) -> Result<(), Malformed> {
        while !octets.is_empty() {
            octets = match self.part {
                Part::End => return Ok(()),
                Part::Sized(left) => self.data(octets, left, Part::Sized, Part::End),
                Part::Chunk(left) => self.data(octets, left, Part::Chunk, Part::ChunkEnd),
                Part::UntilClose => self.data(octets, u64::MAX, |_| Part::UntilClose, Part::End),
                _ => self.line(octets)?,
            };
        }
        Ok(())
    }

    /// The status, once the head is complete.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        (!matches!(self.part, Part::StatusLine | Part::Field)).then_some(self.status)
    }

    /// What has come of the body, up to [`BODY_MAX`], without the chunks' framing.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether nothing more can come that matters: it is complete, or there is no
    /// room for more of the body.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.part == Part::End || self.is_cut
    }

    /// Whether the body is longer than [`BODY_MAX`].
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether it may end here, with the connection.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self.part, Part::End | Part::UntilClose)
    }

    /// Takes body out of `octets`, `left` at most.
    fn data<'a>(
        &mut self,
        octets: &'a [u8],
        left: u64,
        more: impl Fn(u64) -> Part,
        then: Part,
    ) -> &'a [u8] {
        let count = usize::try_from(left).map_or(octets.len(), |left| left.min(octets.len()));
        let (data, rest) = octets.split_at(count);
        let room = BODY_MAX - self.body.len();
        self.body.extend_from_slice(&data[..data.len().min(room)]);
        self.is_cut |= data.len() > room;
        self.part = match left - count as u64 {
            0 => then,
            left => more(left),
        };
        rest
    }

    /// Takes a line out of `octets`, or what there is of one.
    fn line<'a>(&mut self, octets: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let end = octets.iter().position(|octet| *octet == b'\n');
        let (piece, rest) = octets.split_at(end.map_or(octets.len(), |end| end + 1));
        let (limit, error) = match self.part {
            Part::StatusLine | Part::Field => (HEAD_MAX, Malformed::HeadTooLong),
            _ => (CHUNK_LINE_MAX, Malformed::Chunk),
        };
        self.head += piece.len();
        if self.head > limit {
            return Err(error);
        }
        self.line.extend_from_slice(piece);
        if end.is_some() {
            let mut line = std::mem::take(&mut self.line);
            // A bare LF will do as well.
            //= https://www.rfc-editor.org/rfc/rfc9112#section-2.2
            line.pop();
            line.pop_if(|octet| *octet == b'\r');
            self.part = self.complete_line(&line)?;
            line.clear();
            self.line = line;
        } else if self.part == Part::StatusLine {
            // What is no HTTP at all may never end its line.
            let prefix = self.line.len().min(STATUS_PREFIX.len());
            if self.line[..prefix] != STATUS_PREFIX[..prefix] {
                return Err(Malformed::StatusLine);
            }
        }
        Ok(rest)
    }

    fn complete_line(&mut self, line: &[u8]) -> Result<Part, Malformed> {
        match self.part {
            Part::StatusLine => {
                self.status = status_line(line).ok_or(Malformed::StatusLine)?;
                (self.length, self.chunked) = (None, false);
                Ok(Part::Field)
            }
            Part::Field if line.is_empty() => self.end_of_head(),
            Part::Field => self.field(line).map(|()| Part::Field),
            Part::ChunkSize => {
                let size = chunk_size(line).ok_or(Malformed::Chunk)?;
                Ok(if size == 0 {
                    Part::Trailer
                } else {
                    self.head = 0;
                    Part::Chunk(size)
                })
            }
            Part::ChunkEnd if line.is_empty() => Ok(Part::ChunkSize),
            Part::ChunkEnd => Err(Malformed::Chunk),
            Part::Trailer if line.is_empty() => Ok(Part::End),
            part => Ok(part),
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if matches!(line[0], b' ' | b'\t') {
            // A folded line goes on with the field before it.
            return Ok(());
        }
        let colon = line.iter().position(|octet| *octet == b':');
        let (name, value) = line.split_at(colon.ok_or(Malformed::Field)?);
        if name.is_empty() || !name.iter().all(|octet| is_token(*octet)) {
            return Err(Malformed::Field);
        }
        let value = value[1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).ok_or(Malformed::ContentLength)?;
            if self.length.is_some_and(|before| before != length) {
                return Err(Malformed::ContentLength);
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // We have asked for none but the one that must always be understood; it
            // cannot be applied twice.
            //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::TransferCoding);
            }
            self.chunked = true;
        }
        Ok(())
    }

    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    fn end_of_head(&mut self) -> Result<Part, Malformed> {
        Ok(match self.status {
            // Interim; we have asked for no switch of protocols, so 101 is final.
            //= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
            100 | 102..=199 => Part::StatusLine,
            101 | 204 | 304 => Part::End,
            _ if self.chunked => {
                self.head = 0;
                Part::ChunkSize
            }
            _ => match self.length {
                Some(0) => Part::End,
                Some(length) => Part::Sized(length),
                None => Part::UntilClose,
            },
        })
    }
}

const STATUS_PREFIX: &[u8] = b"HTTP/1.";

//= https://www.rfc-editor.org/rfc/rfc9112#section-4
fn status_line(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(STATUS_PREFIX)?;
    let (minor, rest) = rest.split_first()?;
    let (status, rest) = rest.strip_prefix(b" ")?.split_at_checked(3)?;
    // The space before an empty reason is often left out.
    let good = minor.is_ascii_digit() && (rest.is_empty() || rest[0] == b' ');
    let status = u16::try_from(decimal(status)?).ok()?;
    (good && status >= 100).then_some(status)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let good = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    good.then(|| str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

//= https://www.rfc-editor.org/rfc/rfc9112#section-7.1
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|octet| *octet == b';').next()?.trim_ascii_end();
    let good = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
    good.then(|| u64::from_str_radix(str::from_utf8(size).ok()?, 16).ok())
        .flatten()
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
