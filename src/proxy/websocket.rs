//! WebSocket's framing (RFC 6455 5.2), as far as a tunnel that is to be cut off has to know it:
//! where frames end, and which of them end a message.

/// A frame's head is two bytes, then up to eight more of the length, then four of a mask.
const LONGEST_HEAD: usize = 14;
/// Control frames have opcodes from this one on.
const CONTROL: u8 = 0x8;

/// Where in its frames a stream of bytes is.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// What of the current frame's head has been seen.
    head: [u8; LONGEST_HEAD],
    seen: usize,
    /// What of its payload is still to come; told when the head is complete.
    left: Option<u64>,
}

/// The end of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How many bytes were read, the frame's last one included.
    pub at: usize,
    /// It was the last frame of a message.
    pub message: bool,
}

impl Frames {
    /// Reads on to the end of the current frame; `None`: it is not among these bytes.
    pub fn next(&mut self, bytes: &[u8]) -> Option<Ended> {
        let mut at = 0;
        loop {
            if self.left.is_none() {
                self.left = self.length();
            }
            if let Some(left) = &mut self.left {
                let some = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= some as u64;
                at += some;
                if *left > 0 {
                    return None;
                }
                let message = self.head[0] & 0x80 != 0 && self.head[0] & 0x0f < CONTROL;
                (self.seen, self.left) = (0, None);
                return Some(Ended { at, message });
            }
            let byte = bytes.get(at)?;
            self.head[self.seen] = *byte;
            self.seen += 1;
            at += 1;
        }
    }

    /// Reads over all of it.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some(ended) = self.next(bytes) {
            bytes = &bytes[ended.at..];
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// No frame has begun that has not ended.
    pub fn is_between(&self) -> bool {
        self.seen == 0
    }

    /// The payload's length, once the head is complete.
    fn length(&self) -> Option<u64> {
        let second = *self.head.get(1).filter(|_| self.seen >= 2)?;
        let wide = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.seen < 2 + wide + mask {
            return None;
        }
        let said = self.head[2..2 + wide].iter();
        let said = said.fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some(if wide == 0 { u64::from(second & 0x7f) } else { said })
    }
}

/// A Close frame with this code and no reason, as a server sends it.
pub fn close(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame: FIN and opcode, the length said in so many bytes more, masked or not.
    fn frame(first: u8, length: usize, wide: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let said = match wide {
            0 => length as u8,
            2 => 126,
            _ => 127,
        };
        let mut bytes = vec![first, said | mask];
        bytes.extend(&(length as u64).to_be_bytes()[8 - wide..]);
        bytes.extend(vec![0x81; if masked { 4 } else { 0 } + length]);
        bytes
    }

    #[test]
    fn frames_end_where_they_say_however_they_come() {
        let parts = [
            (frame(0x81, 0, 0, false), true),
            (frame(0x01, 125, 0, true), false),
            // A ping in the middle of a message in fragments.
            (frame(0x89, 3, 0, false), false),
            (frame(0x80, 126, 2, false), true),
            (frame(0x82, 70_000, 8, true), true),
            (close(1011).to_vec(), false),
        ];
        let all: Vec<u8> = parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        for piece in [1, 2, 3, 1000, all.len()] {
            let (mut frames, mut ended, mut before) = (Frames::default(), Vec::new(), 0);
            for mut piece in all.chunks(piece) {
                while let Some(end) = frames.next(piece) {
                    ended.push((before + end.at, end.message));
                    before += end.at;
                    piece = &piece[end.at..];
                    if piece.is_empty() {
                        break;
                    }
                }
                before += piece.len();
            }
            let mut at = 0;
            let wanted = parts.iter().map(|(bytes, message)| {
                at += bytes.len();
                (at, *message)
            });
            assert_eq!(ended, wanted.collect::<Vec<_>>());
            assert!(frames.is_between());
        }
    }

    /// The longest length there is, and garbage, end nowhere and panic nowhere.
    #[test]
    fn any_bytes_are_read_over() {
        let mut frames = Frames::default();
        assert_eq!(frames.next(&[0xff; 14]), None);
        frames.pass(&[0; 1000]);
        assert!(!frames.is_between());
    }
}
