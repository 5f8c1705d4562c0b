//! What runs right now: one plan in one phase, its books, and the faults that are armed. A request
//! takes the stage once and keeps it; a change of state, phase or plan swaps the whole stage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bursts::Bursts;
use super::counters::{Active, Counters, OfFault, Ordinal, PerValue};
use crate::dice::{Even, Stream};
use crate::fault::Action;
use crate::plan::{AFTER, Asked, BEFORE, Fault, FaultId, Phase, Plan, RouteId, Selector, Who};
use crate::sli::ledger::Skip;
use crate::sli::{Books, Ledger};
use crate::units::Share;

use super::state::Position;

/// In billionths.
const WHOLE: u32 = Share::ONE.billionths();

/// A plan on stage. Who may fire on which route is worked out once, so that a request meets ids
/// only: neither names nor faults that are off.
#[derive(Debug)]
pub struct Stage {
    pub plan: Arc<Plan>,
    pub books: Arc<Books>,
    pub position: Position,
    /// False: nothing is injected, whatever is armed.
    pub injecting: bool,
    /// Held requests go on as if no fault had hit them.
    pub releasing: bool,
    /// By id: the faults, as they are in this phase.
    faults: Box<[Arc<Fault>]>,
    draws: Box<[Draw]>,
    /// By route: its draws, in file order of their first members.
    by_route: Box<[Box<[usize]>]>,
    ramp: Option<Ramp>,
    /// When the phase would have begun had it never been paused.
    began: Instant,
}

/// What a stage is made of, besides the plan.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// The run's seed.
    pub seed: u64,
    pub position: Position,
    pub injecting: bool,
    pub releasing: bool,
    /// When the phase would have begun had it never been paused.
    pub phase_began: Instant,
}

/// Probabilities climb in a straight line from 0 at `from` to what is asked for after `over`.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    from: Instant,
    over: Duration,
}

impl Ramp {
    /// `share`, as far as it has climbed; in billionths.
    #[inline(never)]
    fn climbed(self, share: u32, now: Instant) -> u32 {
        let part = now.saturating_duration_since(self.from);
        if part >= self.over {
            return share;
        }
        // Below `over`, which is therefore not zero; fits, as `share` is below 2^30.
        (u128::from(share) * part.as_nanos() / self.over.as_nanos()) as u32
    }
}

/// One draw a request: one fault's, or that of all members of a group.
#[derive(Debug)]
struct Draw {
    stream: Stream,
    even: Even,
    ordinal: Arc<Ordinal>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    id: FaultId,
    /// As the fault has it, without a step to get there.
    who: Who,
    /// Every request of its routes is eligible, whoever sends it and when: most faults are so.
    plain: bool,
    fault: Arc<Fault>,
    own: OfFault,
    /// When it comes and goes. Rare, and large: every draw passes by it.
    bursts: Option<Box<Bursts>>,
    /// For each value of its `per`: how many requests were eligible.
    per: Option<Arc<PerValue>>,
}

/// One fault's verdict on one request.
#[derive(Debug, PartialEq)]
pub struct Struck {
    pub fault: FaultId,
    /// The ordinal that decided.
    pub n: u64,
    /// By kind, in file order.
    pub actions: Vec<Action>,
    /// Its place under `max_active`.
    pub active: Option<Active>,
    /// The value of `per` it is counted for.
    per: Option<u64>,
}

/// One fault's draw for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    pub fault: FaultId,
    /// The request's place among those eligible for it, or for its group.
    pub n: u64,
    /// In billionths; `None`: no draw was needed.
    pub drawn: Option<u32>,
    /// It was struck, unless a limit was reached.
    pub hit: bool,
}

/// Sees every draw, also those that spare the request.
pub trait Witness {
    fn sees(&mut self, drawn: Drawn);
}

/// Nobody looks.
impl Witness for () {
    #[inline]
    fn sees(&mut self, _: Drawn) {}
}

impl Witness for Vec<Drawn> {
    fn sees(&mut self, drawn: Drawn) {
        self.push(drawn);
    }
}

/// What a position is booked under.
pub fn booked(plan: &Plan, position: Position) -> Arc<str> {
    match position {
        Position::Before => BEFORE.into(),
        Position::Phase(id) => Arc::clone(&plan.phases[usize::from(id)].name),
        Position::After => AFTER.into(),
    }
}

impl Stage {
    /// Arms the phase's enabled faults, if anything is injected. Counters go on by name.
    pub fn new(plan: Arc<Plan>, ledger: &Ledger, counters: &mut Counters, scene: Scene) -> Self {
        let Scene { seed, position, injecting, releasing, phase_began } = scene;
        let phase = position.phase().map(|id| &plan.phases[usize::from(id)]);
        let booked = booked(&plan, position);
        let mut faults: Vec<Arc<Fault>> = plan.faults.to_vec();
        let mut draws: Vec<Draw> = Vec::new();
        let mut by_stream: HashMap<&str, usize> = HashMap::new();
        let mut by_fault: Vec<Option<usize>> = vec![None; plan.faults.len()];
        for (id, fault) in phase.map_or(&[][..], |phase| &phase.faults) {
            faults[usize::from(*id)] = Arc::clone(fault);
            // A halt does not wait for what it puts out of action to be put together.
            if !injecting {
                continue;
            }
            // 0 % is the no-fault path: no ordinal is taken. A member of a group that is off
            // leaves its slice of the draw empty, because the others keep their `from`.
            let idle =
                matches!(fault.who, Who::Probability { share, .. } if share.billionths() == 0);
            if idle || !fault.enabled {
                continue;
            }
            let at = *by_stream.entry(&fault.stream).or_insert_with(|| {
                let stream = Stream::new(seed, &fault.stream);
                draws.push(Draw {
                    stream,
                    even: Even::new(stream),
                    ordinal: counters.ordinal(&booked, &fault.stream),
                    members: Vec::new(),
                });
                draws.len() - 1
            });
            let memory = counters.memory(&fault.name);
            fault.kinds.iter().for_each(|kind| kind.recall(memory));
            draws[at].members.push(Member {
                id: *id,
                who: fault.who,
                plain: fault.only.is_empty()
                    && fault.cohort.is_none()
                    && fault.per.is_none()
                    && fault.bursts.is_none(),
                fault: Arc::clone(fault),
                own: counters.of(&fault.name),
                bursts: fault.bursts.map(|bursts| Box::new(Bursts::new(seed, &fault.name, bursts))),
                per: fault.per.as_ref().map(|_| counters.per(&booked, &fault.name)),
            });
            by_fault[usize::from(*id)] = Some(at);
        }
        // Of each draw, the last route it was added to, from 1.
        let mut added = vec![0; draws.len()];
        let by_route = plan.routes.iter().zip(1..).map(|(route, number)| {
            let mut ats: Vec<usize> = Vec::new();
            for at in route.faults.iter().filter_map(|id| by_fault[usize::from(*id)]) {
                if added[at] != number {
                    added[at] = number;
                    ats.push(at);
                }
            }
            ats.into()
        });
        let by_route = by_route.collect();
        let ramp = phase.and_then(|phase| phase.ramp);
        let ramp = ramp.map(|over| Ramp { from: phase_began, over });
        let books = ledger.open(Arc::clone(&plan), &booked, phase.filter(|_| injecting)).into();
        let (faults, draws) = (faults.into(), draws.into());
        Self {
            plan,
            books,
            position,
            injecting,
            releasing,
            faults,
            draws,
            by_route,
            ramp,
            began: phase_began,
        }
    }

    /// The same place with the same books, and nothing armed: what a halt puts on stage, which has no
    /// time for a plan of any size to be put together.
    #[must_use]
    pub fn at_rest(&self, scene: Scene) -> Self {
        Self {
            plan: Arc::clone(&self.plan),
            books: Arc::clone(&self.books),
            position: self.position,
            injecting: false,
            releasing: scene.releasing,
            faults: self.faults.clone(),
            draws: Box::default(),
            by_route: self.by_route.iter().map(|_| Box::default()).collect(),
            ramp: self.ramp.map(|ramp| Ramp { from: scene.phase_began, ..ramp }),
            began: scene.phase_began,
        }
    }

    /// A fault as it is in this phase.
    pub fn fault(&self, id: FaultId) -> &Fault {
        &self.faults[usize::from(id)]
    }

    /// Whether a fault that comes and goes is in a burst; `None`: it does not, or is not armed.
    pub fn is_in_burst(&self, id: FaultId, now: Instant) -> Option<bool> {
        let mut members = self.draws.iter().flat_map(|draw| &draw.members);
        let bursts = members.find(|member| member.id == id)?.bursts.as_ref()?;
        Some(bursts.is_on(now.saturating_duration_since(self.began)))
    }

    pub fn phase(&self) -> Option<&Phase> {
        Some(&self.plan.phases[usize::from(self.position.phase()?)])
    }

    /// How far probabilities have climbed, from 0 to 1; `None`: they do not, or have arrived.
    pub fn climbed(&self, now: Instant) -> Option<f64> {
        let ramp = self.ramp?;
        let part = now.saturating_duration_since(ramp.from);
        (part < ramp.over).then(|| part.as_secs_f64() / ramp.over.as_secs_f64())
    }

    /// Nothing can hit a request of this route.
    pub fn is_quiet(&self, route: RouteId) -> bool {
        !self.injecting || self.by_route[route as usize].is_empty()
    }

    /// The faults that could fire on a route now.
    pub fn armed(&self, route: RouteId) -> impl Iterator<Item = FaultId> {
        let draws = self.by_route[route as usize].iter().map(|at| &self.draws[*at]);
        draws.flat_map(|draw| &draw.members).map(|member| member.id)
    }

    /// Lets every armed fault of the route decide; adds those that strike to `struck`, in file
    /// order. Allocates only for what hits.
    pub fn decide(
        &self,
        worker: usize,
        route: RouteId,
        asked: &Asked<'_>,
        now: Instant,
        struck: &mut Vec<Struck>,
        witness: &mut impl Witness,
    ) {
        if !self.injecting {
            return;
        }
        let before = struck.len();
        for &at in &self.by_route[route as usize] {
            let draw = &self.draws[at];
            let mut n = None;
            let mut drawn = None;
            for member in &draw.members {
                let key = if member.plain {
                    self.books.eligible(worker, route, member.id);
                    Keys::default()
                } else if let Some(key) = self.eligible(worker, route, member, asked, now) {
                    key
                } else {
                    continue;
                };
                let n = *n.get_or_insert_with(|| draw.ordinal.take());
                let mut draws = || {
                    *drawn.get_or_insert_with(|| match member.fault.cohort {
                        Some(_) if !member.plain => draw.stream.member(key.cohort),
                        _ => draw.stream.hit(n),
                    })
                };
                let place = || member.per.as_ref().map_or(n, |per| per.take(key.per));
                let hit = match member.who {
                    Who::All => match self.ramp {
                        Some(ramp) => draws() < ramp.climbed(WHOLE, now),
                        None => true,
                    },
                    Who::Probability { share, even: true, .. } => {
                        let climbed = self.ramp.map_or(WHOLE, |ramp| ramp.climbed(WHOLE, now));
                        draw.even.hits(n, share.billionths(), climbed)
                    }
                    Who::Probability { from, share, even: false } => {
                        let share = share.billionths();
                        let share = self.ramp.map_or(share, |ramp| ramp.climbed(share, now));
                        draws().checked_sub(from).is_some_and(|above| above < share)
                    }
                    Who::First(first) => place() < first,
                    Who::Every(every) => (place() + 1).is_multiple_of(every),
                };
                witness.sees(Drawn { fault: member.id, n, drawn, hit });
                if hit {
                    self.strike(worker, draw.stream, member, n, key, struck);
                }
            }
        }
        if struck.len() > before + 1 {
            // A group decides at its first member's place; file order is what counts later.
            struck[before..].sort_unstable_by_key(|struck| struck.fault);
        }
    }

    /// Whether a member could hit this request at all, counted; and what it goes by.
    #[inline(never)]
    fn eligible(
        &self,
        worker: usize,
        route: RouteId,
        member: &Member,
        asked: &Asked<'_>,
        now: Instant,
    ) -> Option<Keys> {
        let fault = &member.fault;
        if !fault.only.is_empty() && !fault.only.hold(asked) {
            return None;
        }
        if let Some(bursts) = &member.bursts
            && !bursts.is_on(now.saturating_duration_since(self.began))
        {
            return None;
        }
        let key = |selector: &Option<Selector>| match selector {
            None => Some(0),
            Some(selector) => selector.key(asked),
        };
        let keys = key(&fault.cohort).zip(key(&fault.per));
        let Some((cohort, per)) = keys else {
            self.books.skipped(worker, member.id, Skip::NoValue);
            return None;
        };
        self.books.eligible(worker, route, member.id);
        Some(Keys { cohort, per })
    }

    /// Verdicts that are not carried out do not count towards `limit`.
    pub fn take_back(&self, struck: &[Struck]) {
        for struck in struck {
            let mut members = self.draws.iter().flat_map(|draw| &draw.members);
            let Some(member) = members.find(|member| member.id == struck.fault) else { continue };
            if let Some(key) = struck.per {
                member.own.fired_per.give_back(key);
            }
            member.own.fired.give_back();
        }
    }

    #[inline(never)]
    fn strike(
        &self,
        worker: usize,
        stream: Stream,
        member: &Member,
        n: u64,
        key: Keys,
        struck: &mut Vec<Struck>,
    ) {
        let fault = &member.fault;
        let mut active = None;
        if let Some(most) = fault.max_active {
            active = Active::take(&member.own.busy, most);
            if active.is_none() {
                self.books.skipped(worker, member.id, Skip::MaxActive);
                return;
            }
        }
        // Counted without a limit too, and for all callers when each has its own: a reload may
        // bring a limit or take `per` away, and the count is the drill's.
        let limit = fault.limit.unwrap_or(u64::MAX);
        let per = member.per.as_ref().map(|_| key.per);
        let below = match per {
            Some(key) => {
                let below = member.own.fired_per.take_below(key, limit);
                below && member.own.fired.take_below(u64::MAX)
            }
            None => member.own.fired.take_below(limit),
        };
        if !below {
            self.books.skipped(worker, member.id, Skip::Limit);
            return;
        }
        let actions =
            fault.kinds.iter().map(|kind| kind.decide(&mut stream.dice(n, kind.kind()))).collect();
        struck.push(Struck { fault: member.id, n, actions, active, per });
    }
}

/// What a fault's cohort and its `per` go by for one request; 0 where it has none.
#[derive(Debug, Clone, Copy, Default)]
struct Keys {
    cohort: u64,
    per: u64,
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
