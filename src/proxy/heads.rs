//! What hyper does not tell of the heads it reads. Of one that says its length in two ways it keeps
//! `Transfer-Encoding` and forgets that there was a `Content-Length`; one whose first line is too
//! long it refuses with the status of one that is too long as a whole, and so one whose length is
//! beyond counting. So the bytes are looked at on their way to it: where a head begins and ends, and
//! the two fields in it that say where the next one begins. A body that has a length is stepped over.
//!
//! Nothing is decided here that hyper would let pass otherwise but this: a request with both lengths
//! is refused. Where the bytes make no sense, hyper refuses them, and no more is looked at.

use http::StatusCode;

use super::admit::{METHOD, Refusal, TARGET};

/// So much of a line tells what it is, and a length that can be counted.
const ENOUGH: usize = 64;
/// A first line of a method, a target and a version, and not one byte more.
const LINE: usize = METHOD + 1 + TARGET + " HTTP/1.1\r".len();

/// So far hyper counts; what is beyond it says is a head that is too large.
const COUNTED: u64 = u64::MAX - 2;

const BOTH: Refusal = Refusal::new(StatusCode::BAD_REQUEST, "length_and_coding");
const LONG_TARGET: Refusal = Refusal::new(StatusCode::URI_TOO_LONG, "long_target");
const LONG_METHOD: Refusal = Refusal::new(StatusCode::NOT_IMPLEMENTED, "long_method");
const BAD_LENGTH: Refusal = Refusal::new(StatusCode::BAD_REQUEST, "bad_length");

/// Follows the requests of one HTTP/1 connection.
#[derive(Debug, Default)]
pub struct Heads {
    at: At,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    /// All of its bytes so far.
    length: usize,
    fields: Fields,
    /// Heads that have ended.
    ended: u32,
    /// The first of them that says its length in two ways.
    both: Option<u32>,
    /// The head that has just come goes no further, and hyper would not say why.
    refusal: Option<Refusal>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// The first line of a head, or an empty one before it.
    #[default]
    Start,
    Fields,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    Trailers,
    /// Nothing is looked at any more.
    Lost,
}

/// What a head has said so far of its length.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    coded: bool,
}

impl Heads {
    /// Looks at bytes that hyper is about to read. Why it must not, where it would refuse them with
    /// another status: then they are the last of a head that nothing can be done about.
    pub fn see(&mut self, bytes: &[u8]) -> Option<Refusal> {
        let mut left = bytes;
        while !left.is_empty() && self.at != At::Lost {
            match &mut self.at {
                At::Body(rest) | At::Chunk(rest) => {
                    let step = usize::try_from(*rest).unwrap_or(usize::MAX).min(left.len());
                    *rest -= step as u64;
                    left = &left[step..];
                    if *rest == 0 {
                        let chunk = matches!(self.at, At::Chunk(_));
                        self.at = if chunk { At::ChunkSize } else { At::Start };
                    }
                }
                _ => left = self.line(left),
            }
        }
        self.refusal.take()
    }

    /// Whether the `nth` head, from 1 on, says its length in two ways: who reads on after it may
    /// read what another takes for a body (RFC 9112 6.1, 6.3).
    pub fn refuses(&self, nth: u32) -> Option<Refusal> {
        (self.both? <= nth).then_some(BOTH)
    }

    /// What follows is no HTTP any more.
    pub fn lose(&mut self) {
        self.at = At::Lost;
        self.begun = Vec::new();
    }

    /// How many have come to their end.
    pub fn ended(&self) -> u32 {
        self.ended
    }

    /// Takes a line, or what there is of it; returns what comes after it.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        self.length = self.length.saturating_add(piece.len());
        if self.at == At::Start && self.length > LINE {
            self.too_long(piece);
            return &[];
        }
        let room = ENOUGH.saturating_sub(self.begun.len()).min(piece.len());
        let Some(end) = end else {
            self.begun.extend_from_slice(&piece[..room]);
            return &[];
        };
        if self.begun.is_empty() {
            self.take(&piece[..room]);
        } else {
            let mut line = std::mem::take(&mut self.begun);
            line.extend_from_slice(&piece[..room]);
            self.take(&line);
        }
        self.length = 0;
        &bytes[end + 1..]
    }

    fn too_long(&mut self, piece: &[u8]) {
        let has_method = self.begun.iter().chain(piece).take(METHOD + 1).any(|byte| *byte == b' ');
        self.refusal = Some(if has_method { LONG_TARGET } else { LONG_METHOD });
        self.lose();
    }

    /// One line, without its LF, or as much of it as is enough.
    fn take(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.at {
            // An empty one before a head, or what ends the data of a chunk.
            At::Start | At::ChunkSize if line.is_empty() => {}
            At::Start => {
                self.at = At::Fields;
                self.fields = Fields::default();
            }
            At::Fields if line.is_empty() => self.head_ended(),
            At::Fields => self.field(line),
            At::ChunkSize => self.chunk(line),
            At::Trailers if line.is_empty() => self.at = At::Start,
            At::Trailers | At::Body(_) | At::Chunk(_) | At::Lost => {}
        }
    }

    fn field(&mut self, line: &[u8]) {
        // Few names begin so, and the rest is not even compared.
        match line[0] | 0x20 {
            b'c' => {
                let Some(value) = value_of(line, b"content-length:") else { return };
                let length = length(value);
                // Of no use, but there.
                self.fields.length = Some(length.unwrap_or(0));
                if length.is_some_and(|length| length > COUNTED) {
                    self.refusal = Some(BAD_LENGTH);
                    self.lose();
                } else if line.len() >= ENOUGH && !self.fields.coded {
                    // It may go on; too long for a number, hyper refuses it.
                    self.lose();
                }
            }
            b't' if value_of(line, b"transfer-encoding:").is_some() => self.fields.coded = true,
            _ => {}
        }
    }

    fn head_ended(&mut self) {
        self.ended = self.ended.saturating_add(1);
        let Fields { length, coded } = self.fields;
        if coded && length.is_some() {
            self.both = Some(self.ended);
            self.lose();
            return;
        }
        self.at = match length {
            _ if coded => At::ChunkSize,
            None | Some(0) => At::Start,
            Some(length) => At::Body(length),
        };
    }

    fn chunk(&mut self, line: &[u8]) {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).ok();
        let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
        self.at = match size {
            // There may be more digits than were kept.
            None => At::Lost,
            Some(_) if digits == ENOUGH => At::Lost,
            Some(0) => At::Trailers,
            Some(size) => At::Chunk(size),
        };
    }
}

/// The value of a field, if it is the one named.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (is, value) = line.split_at_checked(name.len())?;
    is.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Which heads are refused, and why the last bytes are; the same however they come.
    fn seen(text: &[u8]) -> (Option<u32>, Option<&'static str>) {
        let mut results = [1, 2, 3, 7, 100, text.len().max(1)].map(|piece| {
            let mut heads = Heads::default();
            let refused = text.chunks(piece).find_map(|piece| heads.see(piece));
            (heads.both, refused.map(|refusal| refusal.reason))
        });
        results.sort_unstable();
        assert_eq!(results[0], results[5], "{}", String::from_utf8_lossy(text));
        results[0]
    }

    const SIZED: &str = "POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 40\r\n\r\n\
                         x\r\nContent-Length: 1\r\nTransfer-Encoding: c";
    const CHUNKED: &str = "POST /a HTTP/1.1\nTRANSFER-ENCODING: chunked\r\n\r\n\
                           00f;a=\"\r\nContent-Length:\r\n0\r\nContent-Length: 3\r\n\r\n";
    const PLAIN: &str = "\r\nGET /a HTTP/1.1\r\nHost: t\r\n\r\n";
    const BOTH: &str =
        "GET /a HTTP/1.1\r\ncontent-LENGTH:\t3 \r\nX: y\r\nTransfer-encoding:z\r\n\r\n";

    #[test]
    fn both_lengths() {
        for before in [&[][..], &[PLAIN], &[SIZED], &[CHUNKED], &[PLAIN, CHUNKED, SIZED, CHUNKED]] {
            let mut text = before.concat();
            assert_eq!(seen(text.as_bytes()), (None, None), "{text}");
            text.push_str(BOTH);
            assert_eq!(seen(text.as_bytes()), (Some(before.len() as u32 + 1), None), "{text}");
        }
        let unread = BOTH.replace("\t3 ", "three");
        assert_eq!(seen(unread.as_bytes()), (Some(1), None));
        let other = BOTH.replace("content-LENGTH", "content_length");
        assert_eq!(seen(other.as_bytes()), (None, None));
    }

    #[test]
    fn what_hyper_would_say_otherwise() {
        let long = format!("GET /{}", "a".repeat(LINE));
        let method = "G".repeat(LINE + 1);
        let length =
            |length: &str| format!("{PLAIN}POST / HTTP/1.1\r\nContent-Length: {length}\r\n");
        for (text, refused) in [
            (long.clone(), Some("long_target")),
            (format!("{PLAIN}{long}"), Some("long_target")),
            (method, Some("long_method")),
            (format!("GET /{} HTTP/1.1\r\n", "a".repeat(TARGET - 1)), None),
            (length("18446744073709551615"), Some("bad_length")),
            (length("18446744073709551614"), Some("bad_length")),
            (length("18446744073709551613"), None),
            (length("99999999999999999999999"), None),
            (length("+3"), None),
            (length(""), None),
        ] {
            assert_eq!(seen(text.as_bytes()), (None, refused), "{text}");
        }
    }

    proptest! {
        /// Whatever comes, in whatever pieces, little of it is kept.
        #[test]
        fn bounded(pieces in proptest::collection::vec("[a-zA-Z0-9:; \r\n-]{0,200}", 0..20)) {
            let mut heads = Heads::default();
            for piece in pieces {
                heads.see(piece.as_bytes());
                prop_assert!(heads.begun.len() <= ENOUGH);
            }
        }
    }
}
