//! A hierarchical timing wheel with ticks of a microsecond.
//!
//! Level `l` has 64 lists, each for 64^l ticks. A timer sits in the level of the highest group of
//! six bits in which its tick differs from the current one, and moves down as the current tick
//! comes near; a timer that is removed before that has never been touched. Deadlines beyond the
//! top level wait in its last list and are sorted in again.

use std::task::Waker;
use std::time::{Duration, Instant};

const BITS: u32 = 6;
const LISTS: usize = 1 << BITS;
const LEVELS: usize = 8;
const NONE: u32 = u32::MAX;
/// Ticks that the wheel spans.
const SPAN: u64 = 1 << (BITS * LEVELS as u32);

/// Names a timer that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

struct Timer {
    tick: u64,
    generation: u32,
    next: u32,
    previous: u32,
    /// Level and list, while it is set.
    place: (u8, u8),
    waker: Option<Waker>,
}

struct Level {
    occupied: u64,
    heads: [u32; LISTS],
}

/// The timers of one core.
pub(crate) struct Wheel {
    start: Instant,
    now: u64,
    levels: [Level; LEVELS],
    timers: Vec<Timer>,
    free: u32,
    set: usize,
}

impl Wheel {
    pub(crate) fn new(start: Instant) -> Wheel {
        Wheel {
            start,
            now: 0,
            levels: std::array::from_fn(|_| Level { occupied: 0, heads: [NONE; LISTS] }),
            timers: Vec::new(),
            free: NONE,
            set: 0,
        }
    }

    /// Timers that are set.
    pub(crate) fn len(&self) -> usize {
        self.set
    }

    /// Sets a timer that wakes `waker` at `deadline`.
    pub(crate) fn insert(&mut self, deadline: Instant, waker: Waker) -> TimerKey {
        let index = self.allocate();
        let tick = self.tick_after(deadline);
        let timer = &mut self.timers[index as usize];
        timer.tick = tick;
        timer.waker = Some(waker);
        let generation = timer.generation;
        self.link(index);
        self.set += 1;
        TimerKey { index, generation }
    }

    /// Removes a timer; its waker, if it had not fired.
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        self.find(key)?;
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Whether a timer wakes the same task as `waker`; `None` if it has fired.
    pub(crate) fn wakes(&mut self, key: TimerKey, waker: &Waker) -> Option<bool> {
        let timer = self.find(key)?;
        Some(timer.waker.as_ref().is_some_and(|old| old.will_wake(waker)))
    }

    /// Replaces the waker of a timer and returns the one that is not needed any more.
    pub(crate) fn replace_waker(&mut self, key: TimerKey, waker: Waker) -> Option<Waker> {
        match self.find(key) {
            Some(timer) => timer.waker.replace(waker),
            None => Some(waker),
        }
    }

    /// When the wheel has to be looked at next: at a deadline, or before one.
    pub(crate) fn next(&self) -> Option<Instant> {
        let tick = self.next_tick()?;
        Some(self.start + Duration::from_micros(tick))
    }

    /// Moves the wheel to `now` and hands the wakers of the timers that are due to `fire`.
    pub(crate) fn advance(&mut self, now: Instant, fire: &mut Vec<Waker>) {
        let target = now.saturating_duration_since(self.start).as_micros() as u64;
        while let Some(tick) = self.next_tick() {
            if tick > target {
                break;
            }
            self.now = tick;
            self.turn_to(tick, fire);
        }
        self.now = self.now.max(target);
    }

    /// Takes the lists that begin at `tick` apart: what is due fires, the rest moves down.
    fn turn_to(&mut self, tick: u64, fire: &mut Vec<Waker>) {
        for level in (0..LEVELS).rev() {
            let shift = BITS * level as u32;
            if tick & ((1 << shift) - 1) != 0 {
                continue;
            }
            let list = (tick >> shift) as usize & (LISTS - 1);
            let mut at = std::mem::replace(&mut self.levels[level].heads[list], NONE);
            self.levels[level].occupied &= !(1 << list);
            while at != NONE {
                let next = self.timers[at as usize].next;
                if self.timers[at as usize].tick <= tick {
                    fire.extend(self.release(at));
                } else {
                    self.link(at);
                }
                at = next;
            }
        }
    }

    /// The first tick at which a list that is not empty begins.
    fn next_tick(&self) -> Option<u64> {
        if self.set == 0 {
            return None;
        }
        (0..LEVELS).filter_map(|level| self.next_in(level)).min()
    }

    fn next_in(&self, level: usize) -> Option<u64> {
        let occupied = self.levels[level].occupied;
        if occupied == 0 {
            return None;
        }
        let shift = BITS * level as u32;
        let current = (self.now >> shift) as u32 & (LISTS as u32 - 1);
        // Lists behind the current one belong to the next round; the current one is behind as
        // well, unless the wheel stands at its very beginning.
        let ahead = occupied.rotate_right(current).trailing_zeros();
        let base = self.now >> shift << shift;
        let mut tick = base + (u64::from(ahead) << shift);
        if tick < self.now || (ahead == 0 && tick <= self.now && level > 0) {
            tick += 1 << (shift + BITS);
        }
        Some(tick)
    }

    /// The tick at or after `deadline`, so that no timer fires early.
    fn tick_after(&self, deadline: Instant) -> u64 {
        let since = deadline.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
    }

    fn link(&mut self, index: u32) {
        let timer = &self.timers[index as usize];
        // A list of the current tick has been emptied already, so what is due waits for the next.
        let tick = timer.tick.max(self.now + 1).min(self.now + SPAN - SPAN / LISTS as u64);
        let differs = tick ^ self.now;
        let level = ((63 - differs.leading_zeros()) / BITS) as usize;
        let level = level.min(LEVELS - 1);
        let list = (tick >> (BITS * level as u32)) as usize & (LISTS - 1);
        let head = self.levels[level].heads[list];
        let timer = &mut self.timers[index as usize];
        timer.place = (level as u8, list as u8);
        timer.previous = NONE;
        timer.next = head;
        if head != NONE {
            self.timers[head as usize].previous = index;
        }
        self.levels[level].heads[list] = index;
        self.levels[level].occupied |= 1 << list;
    }

    fn unlink(&mut self, index: u32) {
        let Timer { next, previous, place: (level, list), .. } = self.timers[index as usize];
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
        if previous != NONE {
            self.timers[previous as usize].next = next;
            return;
        }
        let level = &mut self.levels[level as usize];
        level.heads[list as usize] = next;
        if next == NONE {
            level.occupied &= !(1 << list);
        }
    }

    fn allocate(&mut self) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.timers[index as usize].next;
            return index;
        }
        self.timers.push(Timer {
            tick: 0,
            generation: 0,
            next: NONE,
            previous: NONE,
            place: (0, 0),
            waker: None,
        });
        (self.timers.len() - 1) as u32
    }

    /// Gives an unlinked timer back.
    fn release(&mut self, index: u32) -> Option<Waker> {
        let free = std::mem::replace(&mut self.free, index);
        let timer = &mut self.timers[index as usize];
        timer.generation = timer.generation.wrapping_add(1);
        timer.next = free;
        self.set -= 1;
        timer.waker.take()
    }

    fn find(&mut self, key: TimerKey) -> Option<&mut Timer> {
        let timer = &mut self.timers[key.index as usize];
        (timer.generation == key.generation && timer.waker.is_some()).then_some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    struct Fired(Arc<AtomicU64>);
    impl Wake for Fired {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn micros(start: Instant, n: u64) -> Instant {
        start + Duration::from_micros(n)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// The wheel fires exactly what a sorted map says, at the first advance at or after the
        /// deadline, and `next` never lies behind the earliest deadline.
        #[test]
        fn agrees_with_a_sorted_map(
            steps in proptest::collection::vec((0u8..4, 0u32..40, any::<u64>()), 1..120)
        ) {
            let start = Instant::now();
            let mut wheel = Wheel::new(start);
            let mut model: BTreeMap<(u64, u64), (TimerKey, Arc<AtomicU64>)> = BTreeMap::new();
            let (mut now, mut serial) = (0u64, 0u64);
            for (what, bits, noise) in steps {
                let distance = noise & ((1u64 << bits) - 1);
                match what {
                    0 | 1 => {
                        let count = Arc::new(AtomicU64::new(0));
                        let waker = Waker::from(Arc::new(Fired(count.clone())));
                        let key = wheel.insert(micros(start, now + distance), waker);
                        serial += 1;
                        model.insert((now + distance, serial), (key, count));
                    }
                    2 => {
                        let at = noise as usize % model.len().max(1);
                        if let Some(name) = model.keys().nth(at).copied() {
                            let (key, _) = model.remove(&name).unwrap();
                            prop_assert!(wheel.remove(key).is_some());
                            prop_assert!(wheel.remove(key).is_none());
                        }
                    }
                    _ => {
                        now += distance;
                        let mut fired = Vec::new();
                        wheel.advance(micros(start, now), &mut fired);
                        fired.drain(..).for_each(Waker::wake);
                    }
                }
                // A timer that was due when it was set fires at the next advance.
                if what == 3 {
                    let mut late = Vec::new();
                    wheel.advance(micros(start, now + 1), &mut late);
                    now += 1;
                    late.drain(..).for_each(Waker::wake);
                    while let Some((&(due, id), _)) = model.first_key_value() {
                        if due > now { break; }
                        let (_, count) = model.remove(&(due, id)).unwrap();
                        prop_assert_eq!(count.load(Ordering::Relaxed), 1);
                    }
                }
                for (_, count) in model.values() {
                    prop_assert_eq!(count.load(Ordering::Relaxed), 0);
                }
                prop_assert_eq!(wheel.len(), model.len());
                let earliest = model.first_key_value().map(|(&(due, _), _)| due);
                if let (Some(next), Some(due)) = (wheel.next(), earliest) {
                    prop_assert!(next <= micros(start, due.max(now + 1)));
                }
                prop_assert_eq!(wheel.next().is_some(), !model.is_empty());
            }
        }
    }

    #[test]
    fn a_deadline_between_two_ticks_is_not_early() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.insert(start + Duration::from_nanos(1500), Waker::noop().clone());
        let mut fired = Vec::new();
        wheel.advance(start + Duration::from_nanos(1400), &mut fired);
        assert!(fired.is_empty());
        wheel.advance(start + Duration::from_nanos(2000), &mut fired);
        assert_eq!(fired.len(), 1);
    }

    #[test]
    fn deadlines_beyond_the_span_are_kept() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let far = start + Duration::from_secs(60 * 60 * 24 * 365 * 30);
        let key = wheel.insert(far, Waker::noop().clone());
        let mut fired = Vec::new();
        wheel.advance(start + Duration::from_secs(60 * 60 * 24 * 365 * 15), &mut fired);
        assert!(fired.is_empty());
        wheel.advance(far + Duration::from_secs(1), &mut fired);
        assert_eq!(fired.len(), 1);
        assert!(wheel.remove(key).is_none());
    }
}
