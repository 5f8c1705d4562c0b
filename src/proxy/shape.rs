//! What faults do to a body on its way: slowed down, cut off, damaged. It holds at most the piece
//! that the other side sent last; who sends is kept waiting.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use rand::RngExt;

use super::body::Payload;
use super::content::Undamaged;
use super::cut::{Carried, Left};
use super::exchange::Exchange;
use super::inflow::BodyError;
use super::prescription::{Changes, Deed};
use super::timer::{Wait, Wake};
use super::worker::{Taken, Worker};
use crate::dice::Dice;
use crate::fault::{Codes, How, Shape};
use crate::plan::RouteId;
use crate::sli::ledger::Skip;
use crate::units::{Bandwidth, Share};

/// A throttled body comes in pieces of so much time, as far as its rate allows.
const PIECE: Duration = Duration::from_millis(20);
const LARGEST_PIECE: u64 = 64 * 1024;
/// What a reader that had stopped may catch up on at once.
const CREDIT: Duration = Duration::from_millis(100);

/// What comes next.
#[derive(Debug)]
pub enum Shaped {
    Frame(Frame<Bytes>),
    End,
    /// All that was to come first has been handed over.
    Cut {
        deed: Deed,
        how: How,
        codes: Codes,
    },
    /// The sender broke off.
    Failed(BodyError),
}

#[derive(Debug)]
pub struct Shaper {
    worker: Rc<Worker>,
    stage: Rc<Taken>,
    route: RouteId,
    effects: Vec<Effect>,
    /// Came in, and may go out when its time is come.
    data: Bytes,
    /// When `data` came in.
    since: Instant,
    /// Comes after a cut, and so never; unless a halt ends all faults before.
    beyond: Bytes,
    /// The effect that cuts after `data`.
    cut: Option<usize>,
    /// The size of the next piece of `data`, and when it goes out.
    next: Option<(usize, Instant)>,
    wait: Option<Wait>,
    /// Bytes are not what they were.
    pub damaged: bool,
    /// Sees them before.
    pub own: Option<Undamaged>,
    /// Something was done to it, if only a wait.
    pub touched: bool,
}

#[derive(Debug)]
struct Effect {
    deed: Deed,
    done: bool,
    act: Act,
}

#[derive(Debug)]
enum Act {
    /// `paid`: up to when what went out has been waited for.
    Throttle {
        rate: Bandwidth,
        paid: Option<Instant>,
    },
    Drip {
        chunk: u64,
        pause: Duration,
        next: Option<Instant>,
    },
    Cut {
        left: Left,
        how: How,
        codes: Codes,
    },
    /// `gap`: so many bytes until the next that is hit.
    Flip {
        share: f64,
        dice: Dice,
        gap: u64,
    },
}

impl Shaper {
    /// `None`: nothing is to be done.
    pub fn new(
        worker: &Rc<Worker>,
        exchange: &Exchange,
        changes: &Changes,
        carried: Carried,
    ) -> Option<Box<Self>> {
        if changes.shapes.is_empty() {
            return None;
        }
        let now = crate::clock::now();
        let effects = changes.shapes.iter().filter_map(|(deed, shape)| {
            let skipped = |why| exchange.stage.books.skipped(worker.id, deed.fault, why);
            let act = match shape {
                Shape::Throttle(rate) => Act::Throttle { rate: *rate, paid: None },
                Shape::Drip { chunk, pause } => {
                    Act::Drip { chunk: *chunk, pause: *pause, next: None }
                }
                Shape::Cut { after, how, codes } => {
                    let left = Left::of(*after, carried, worker, now).map_err(skipped).ok()?;
                    Act::Cut { left, how: *how, codes: *codes }
                }
                Shape::Flip { share, dice } if matches!(carried, Carried::Body { .. }) => {
                    Act::flip(*share, dice.clone())
                }
                // What a tunnel carries has a framing of its own, which damage would not spare.
                Shape::Flip { .. } | Shape::Replace(_) => {
                    skipped(Skip::Tunnel);
                    return None;
                }
            };
            Some(Effect { deed: *deed, done: false, act })
        });
        let effects: Vec<Effect> = effects.collect();
        let cut = effects.iter().position(|effect| effect.act.cuts_at_once());
        Some(Box::new(Self {
            worker: Rc::clone(worker),
            stage: Rc::clone(&exchange.stage),
            route: exchange.outcome.route,
            effects,
            data: Bytes::new(),
            since: now,
            beyond: Bytes::new(),
            cut,
            next: None,
            wait: None,
            damaged: false,
            own: None,
            touched: false,
        }))
    }

    /// The next piece of `source`. Waits are `exchange`'s, where one is given.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Payload,
        mut exchange: Option<&mut Exchange>,
    ) -> Poll<Shaped> {
        loop {
            if self.worker.shared.stage.load().releasing {
                self.open();
            }
            if let Poll::Ready(cut) = self.poll_time(context) {
                return Poll::Ready(self.cut_off(cut));
            }
            if let Some(wait) = &mut self.wait {
                let wake = ready!(Pin::new(wait).poll(context));
                self.wait = None;
                if let Some(exchange) = &mut exchange {
                    exchange.let_go(crate::clock::now());
                }
                if wake == Wake::Released {
                    self.open();
                }
            }
            if self.data.is_empty() {
                if let Some(cut) = self.cut {
                    return Poll::Ready(self.cut_off(cut));
                }
                match ready!(source.poll(context)) {
                    None => return Poll::Ready(Shaped::End),
                    Some(Err(error)) => return Poll::Ready(Shaped::Failed(error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            if let Some(own) = &mut self.own {
                                own.saw(&data);
                            }
                            self.take(data, source);
                        }
                        Err(trailers) => return Poll::Ready(Shaped::Frame(trailers)),
                    },
                }
                continue;
            }
            let now = crate::clock::now();
            let (size, due) = match self.next {
                Some(next) => next,
                None => self.next_piece(now),
            };
            if due > now {
                self.next = Some((size, due));
                self.wait = Some(self.worker.timer.wait_until(due));
                self.touched = true;
                if let Some(exchange) = &mut exchange {
                    exchange.hold(now);
                }
                continue;
            }
            self.next = None;
            for effect in &mut self.effects {
                effect.act.went(due, now);
            }
            return Poll::Ready(Shaped::Frame(Frame::data(self.data.split_to(size))));
        }
    }

    /// Nothing is left here; when nothing more comes either, there is nothing to cut off.
    pub fn is_idle(&self) -> bool {
        self.data.is_empty() && self.beyond.is_empty()
    }

    /// `inner`, and what is held here.
    pub fn size_hint(&self, inner: &SizeHint) -> SizeHint {
        let held = (self.data.len() + self.beyond.len()) as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }

    /// All effects end; what is held here goes on as it is.
    pub fn open(&mut self) {
        if self.effects.is_empty() {
            return;
        }
        self.effects.clear();
        (self.cut, self.next, self.wait) = (None, None, None);
        if !self.beyond.is_empty() {
            let mut whole = BytesMut::from(&self.data[..]);
            whole.extend_from_slice(&self.beyond);
            (self.data, self.beyond) = (whole.freeze(), Bytes::new());
        }
    }

    /// A piece came in: damages it, and sees where it is cut.
    fn take(&mut self, data: Bytes, source: &Payload) {
        self.data = data;
        self.since = crate::clock::now();
        let mut limit: Option<(usize, usize)> = None;
        for at in 0..self.effects.len() {
            match &mut self.effects[at].act {
                Act::Flip { share, dice, gap } => {
                    if let Some(flipped) = flip(&self.data, *share, dice, gap) {
                        self.data = flipped;
                        (self.damaged, self.touched) = (true, true);
                        self.count(at);
                    }
                }
                Act::Cut { left, .. } => {
                    if let Some(upto) = left.pass(&self.data)
                        && limit.is_none_or(|(least, _)| upto < least)
                    {
                        limit = Some((upto, at));
                    }
                }
                Act::Throttle { .. } | Act::Drip { .. } => {}
            }
        }
        if let Some((upto, at)) = limit
            // Cut where it would end anyway is not cut.
            && (upto < self.data.len() || !source.is_end())
        {
            self.beyond = self.data.split_off(upto);
            self.cut = Some(at);
        }
    }

    /// How much of `data` goes out next, and when.
    fn next_piece(&mut self, now: Instant) -> (usize, Instant) {
        let whole = self.data.len() as u64;
        let size = self.effects.iter().fold(whole, |size, effect| size.min(effect.act.piece()));
        let mut due = now;
        for at in 0..self.effects.len() {
            let time = self.effects[at].act.due(size, self.since, now);
            if time > now {
                self.count(at);
                due = due.max(time);
            }
        }
        (size as usize, due)
    }

    /// The time of a cut has come: which.
    fn poll_time(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let mut released = false;
        for (at, effect) in self.effects.iter_mut().enumerate() {
            if let Act::Cut { left: Left::Time(wait), .. } = &mut effect.act {
                match Pin::new(wait).poll(context) {
                    Poll::Ready(Wake::Elapsed) => return Poll::Ready(at),
                    Poll::Ready(Wake::Released) => released = true,
                    Poll::Pending => {}
                }
            }
        }
        if released {
            self.open();
        }
        Poll::Pending
    }

    /// The cut is to be made; counted when it is.
    fn cut_off(&mut self, at: usize) -> Shaped {
        let Effect { deed, act, .. } = &self.effects[at];
        match act {
            Act::Cut { how, codes, .. } => Shaped::Cut { deed: *deed, how: *how, codes: *codes },
            _ => Shaped::End,
        }
    }

    fn count(&mut self, at: usize) {
        let effect = &mut self.effects[at];
        if !effect.done {
            effect.done = true;
            let Deed { fault, kind } = effect.deed;
            self.stage.books.injected(self.worker.id, self.route, fault, kind);
        }
    }
}

impl Act {
    fn flip(share: Share, mut dice: Dice) -> Self {
        let share = share.as_f64();
        let gap = gap(share, &mut dice);
        Self::Flip { share, dice, gap }
    }

    /// The most that goes out at once.
    fn piece(&self) -> u64 {
        match self {
            Self::Throttle { rate, .. } => {
                let bits = u128::from(rate.bits_per_second()) * PIECE.as_millis() / 1000;
                u64::try_from(bits / 8).unwrap_or(u64::MAX).clamp(1, LARGEST_PIECE)
            }
            Self::Drip { chunk, .. } => *chunk,
            Self::Cut { .. } | Self::Flip { .. } => u64::MAX,
        }
    }

    /// When a piece of `size` may go, of data that came in at `since`.
    fn due(&self, size: u64, since: Instant, now: Instant) -> Instant {
        match self {
            Self::Throttle { rate, paid } => {
                let credit = now.checked_sub(CREDIT).unwrap_or(now);
                let from = paid.map_or(since, |paid| paid.max(since)).max(credit);
                from.checked_add(rate.time_for(size)).unwrap_or(now)
            }
            Self::Drip { next, .. } => next.unwrap_or(now),
            Self::Cut { .. } | Self::Flip { .. } => now,
        }
    }

    /// A piece that was due goes out.
    fn went(&mut self, due: Instant, now: Instant) {
        match self {
            // As if it had gone in time: a timer that is late does not slow the whole down.
            Self::Throttle { paid, .. } => *paid = Some(due),
            Self::Drip { pause, next, .. } => *next = now.checked_add(*pause),
            Self::Cut { .. } | Self::Flip { .. } => {}
        }
    }

    fn cuts_at_once(&self) -> bool {
        match self {
            Self::Cut { left, .. } => left.is_none(),
            _ => false,
        }
    }
}

/// Bytes that are spared until the next that is hit.
fn gap(share: f64, dice: &mut Dice) -> u64 {
    let u: f64 = dice.rng().random();
    // Geometric; 0 for a share of 1, where the quotient is -0.
    ((1.0 - u).ln() / (1.0 - share).ln()) as u64
}

/// `data` with some bits turned over; `None`: none is hit.
fn flip(data: &Bytes, share: f64, dice: &mut Dice, next: &mut u64) -> Option<Bytes> {
    let length = data.len() as u64;
    if *next >= length {
        *next -= length;
        return None;
    }
    let mut bytes = BytesMut::from(&data[..]);
    let mut at = *next;
    while at < length {
        bytes[at as usize] ^= 1 << dice.rng().random_range(0..8);
        at = at.saturating_add(1).saturating_add(gap(share, dice));
    }
    *next = at - length;
    Some(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes are hit however the network cut the body up; the share is what was asked.
    #[test]
    fn flips_depend_on_the_place_in_the_body_alone() {
        let body = Bytes::from(vec![0_u8; 100_000]);
        let flipped = |piece: usize, share: f64| {
            let Act::Flip { mut dice, mut gap, share } = Act::flip(
                Share::from_billionths((share * 1e9) as u32).unwrap(),
                Dice::new(7, "a", 1, "corrupt"),
            ) else {
                panic!()
            };
            let pieces = body.chunks(piece).map(|piece| {
                let piece = Bytes::copy_from_slice(piece);
                flip(&piece, share, &mut dice, &mut gap).unwrap_or(piece)
            });
            pieces.collect::<Vec<_>>().concat()
        };
        for share in [0.001, 0.3, 1.0] {
            let whole = flipped(body.len(), share);
            assert_eq!(flipped(7, share), whole);
            assert!(whole.iter().all(|byte| byte.count_ones() < 2), "one bit a byte");
            let hit = whole.iter().filter(|byte| **byte != 0).count() as f64;
            let sigma = (1e5 * share * (1.0 - share)).sqrt();
            assert!((hit - 1e5 * share).abs() <= 4.0 * sigma, "{share}: {hit}");
        }
    }
}
