//! Where a body is cut off: how much of it may still come.

use std::time::Instant;

use super::timer::Wait;
use super::websocket::Frames;
use super::worker::Worker;
use crate::fault::After;
use crate::sli::ledger::Skip;

/// What may still come before the cut.
#[derive(Debug)]
pub enum Left {
    Bytes(u64),
    Events(Events),
    Messages(Messages),
    Frames { left: u64, frames: Frames },
    Time(Wait),
}

/// What the bytes are that may be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// A body, of a length that was declared or not.
    Body {
        length: Option<u64>,
    },
    /// A tunnel's, of a protocol nobody here knows.
    Tunnel,
    WebSocket,
}

impl Left {
    /// Or why it makes no sense for these bytes.
    pub fn of(after: After, carried: Carried, worker: &Worker, now: Instant) -> Result<Self, Skip> {
        Ok(match (after, carried) {
            (After::Bytes(bytes), _) => Self::Bytes(bytes),
            (After::Share(share), Carried::Body { length: Some(length) }) => {
                let bytes = u128::from(length) * u128::from(share.billionths()) / 1_000_000_000;
                // Of a 64-bit length, at most the whole.
                Self::Bytes(bytes as u64)
            }
            (After::Share(_), _) => return Err(Skip::NoLength),
            (After::Messages(left), Carried::WebSocket) => {
                Self::Frames { left, frames: Frames::default() }
            }
            (After::Messages(left), Carried::Body { .. }) => {
                Self::Messages(Messages { left, ..Messages::default() })
            }
            (After::Events(left), Carried::Body { .. }) => {
                Self::Events(Events { left, ..Events::default() })
            }
            (After::Messages(_) | After::Events(_), _) => return Err(Skip::Tunnel),
            (After::Time(time), _) => {
                Self::Time(worker.timer.wait_until(now.checked_add(time).unwrap_or(now)))
            }
        })
    }

    /// Nothing at all.
    pub fn is_none(&self) -> bool {
        match self {
            Self::Bytes(left) | Self::Frames { left, .. } => *left == 0,
            Self::Events(events) => events.left == 0,
            Self::Messages(messages) => messages.left == 0,
            Self::Time(_) => false,
        }
    }

    /// Sees `data` pass; how much of it may, when that is not all.
    pub fn pass(&mut self, data: &[u8]) -> Option<usize> {
        match self {
            Self::Bytes(left) => {
                let upto = *left;
                *left = left.saturating_sub(data.len() as u64);
                (*left == 0).then_some(upto as usize)
            }
            Self::Events(events) => events.pass(data),
            Self::Messages(messages) => messages.pass(data),
            Self::Frames { left, frames } => {
                let mut at = 0;
                while let Some(ended) = frames.next(&data[at..]) {
                    at += ended.at;
                    *left = left.saturating_sub(u64::from(ended.message));
                    if *left == 0 || at == data.len() {
                        return (*left == 0).then_some(at);
                    }
                }
                None
            }
            Self::Time(_) => None,
        }
    }
}

/// Counts server-sent events: blocks of lines with some `data`, each ended by an empty line.
#[derive(Debug, Default)]
pub struct Events {
    left: u64,
    /// Bytes of the line so far, and whether they are those of `data`.
    line: u64,
    other: bool,
    /// The block has data.
    data: bool,
    /// The last byte was a CR; a LF now belongs to it.
    cr: bool,
}

impl Events {
    fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            let after_cr = std::mem::take(&mut self.cr);
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    self.cr = *byte == b'\r';
                    let empty = self.line == 0;
                    self.data |= self.line >= 4 && !self.other;
                    (self.line, self.other) = (0, false);
                    if empty && std::mem::take(&mut self.data) {
                        self.left = self.left.saturating_sub(1);
                        if self.left == 0 {
                            let crlf = self.cr && bytes.get(at + 1) == Some(&b'\n');
                            return Some(at + 1 + usize::from(crlf));
                        }
                    }
                }
                _ => {
                    let expected = usize::try_from(self.line).ok().and_then(|at| b"data:".get(at));
                    self.other |= expected.is_some_and(|expected| expected != byte);
                    self.line += 1;
                }
            }
        }
        None
    }
}

/// Counts gRPC messages: a flag, a length of four bytes, and so many more.
#[derive(Debug, Default)]
pub struct Messages {
    left: u64,
    /// Bytes of the prefix so far, and the length they make.
    prefix: u8,
    length: u32,
    body: u32,
}

impl Messages {
    fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.prefix < 5 {
                if self.prefix > 0 {
                    self.length = self.length << 8 | u32::from(bytes[at]);
                }
                self.prefix += 1;
                at += 1;
                self.body = self.length;
            } else {
                let some = (self.body as usize).min(bytes.len() - at);
                self.body -= some as u32;
                at += some;
            }
            if self.prefix == 5 && self.body == 0 {
                (self.prefix, self.length) = (0, 0);
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    return Some(at);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_at(mut left: Left, text: &[u8], piece: usize) -> Option<usize> {
        let mut before = 0;
        for piece in text.chunks(piece) {
            if let Some(at) = left.pass(piece) {
                return Some(before + at);
            }
            before += piece.len();
        }
        None
    }

    /// However the network cuts the stream up, it is cut at the same byte.
    fn cuts(left: impl Fn() -> Left, text: &[u8], want: Option<usize>) {
        for piece in [1, 2, 3, 7, text.len()] {
            assert_eq!(cut_at(left(), text, piece), want, "pieces of {piece}");
        }
    }

    #[test]
    fn bytes_are_counted() {
        cuts(|| Left::Bytes(4), b"0123456789", Some(4));
        cuts(|| Left::Bytes(10), b"0123456789", Some(10));
        cuts(|| Left::Bytes(11), b"0123456789", None);
    }

    #[test]
    fn events_end_at_empty_lines_and_have_data() {
        let events = |left| move || Left::Events(Events { left, ..Events::default() });
        let text = b": ping\n\nid: 1\ndata: a\n\ndatabase: no\n\ndata\n\n\ndata:b\n\n";
        let end = |of: &str| {
            let text = std::str::from_utf8(text).unwrap();
            Some(text.find(of).unwrap() + of.len())
        };
        cuts(events(1), text, end("data: a\n\n"));
        cuts(events(2), text, end("data\n\n"));
        cuts(events(3), text, Some(text.len()));
        cuts(events(4), text, None);
        cuts(events(2), b"data: a\r\rdata: b\r\rx", Some(18));
        assert_eq!(cut_at(events(1)(), b"data: a\r\n\r\ndata: b", 100), Some(11));
    }

    /// Pings are none, and one in fragments ends with its last.
    #[test]
    fn messages_of_a_websocket() {
        let frames = |left| move || Left::Frames { left, frames: Frames::default() };
        let text = b"\x81\x02ab\x89\x00\x01\x01c\x89\x00\x80\x01d\x82\x00\x88\x00";
        cuts(frames(1), text, Some(4));
        cuts(frames(2), text, Some(14));
        cuts(frames(3), text, Some(16));
        cuts(frames(4), text, None);
    }

    #[test]
    fn messages_are_counted_by_their_prefixes() {
        let messages = |left| move || Left::Messages(Messages { left, ..Messages::default() });
        let text = b"\0\0\0\0\x02ab\0\0\0\0\0\x01\0\0\x01\0";
        cuts(messages(1), text, Some(7));
        cuts(messages(2), text, Some(12));
        cuts(messages(3), text, None);
    }
}
