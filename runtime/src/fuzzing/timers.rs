//! The timing wheel beside a sorted map, over any span of time.

use crate::timer::{Sleep, TimerKey, Wheel};
use arbitrary::{Result, Unstructured};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// About nine thousand years, in microseconds.
const LIFE: u64 = 1 << 58;

/// Timers that are set, moved, removed and fired.
pub fn timers(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let start = Instant::now();
    let mut model = Model {
        start,
        wheel: Wheel::new(start),
        now: 0,
        set: BTreeMap::new(),
        gone: vec![],
        serial: 0,
    };
    // Running out of bytes is the end.
    let _ = model.run(&mut input);
}

/// Where a waker leaves its number.
#[derive(Debug, Default)]
struct Note(AtomicU64);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Model {
    start: Instant,
    wheel: Wheel,
    /// The tick to which the wheel was moved.
    now: u64,
    /// By the tick at which they fire, in the order in which they were set.
    set: BTreeMap<(u64, u64), (TimerKey, Arc<Note>)>,
    gone: Vec<TimerKey>,
    serial: u64,
}

impl Model {
    fn run(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        while !input.is_empty() {
            match input.arbitrary::<u8>()? % 10 {
                0..=3 => self.insert(input)?,
                4 => self.remove(input)?,
                5 => self.change_waker(input)?,
                6 => self.touch_the_gone(input)?,
                7 => self.advance_to_next(),
                8 => clamp(input)?,
                _ => {
                    let n = self.now.saturating_add(distance(input)?);
                    let part = input.int_in_range(0..=999)?;
                    self.advance(n.min(LIFE), part);
                }
            }
            self.check();
        }
        Ok(())
    }

    fn at(&self, tick: u64, nanos: u32) -> Option<Instant> {
        let since = Duration::from_micros(tick) + Duration::from_nanos(nanos.into());
        self.start.checked_add(since)
    }

    fn insert(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        // From before the beginning to the end of what the clock can say.
        let (mode, far) = (input.arbitrary::<u8>()?, distance(input)?);
        let nanos = u32::from(input.arbitrary::<u16>()? % 1000);
        let (tick, deadline) = match mode % 8 {
            0 => (0, self.start.checked_sub(Duration::from_micros(far))),
            1 => (far, self.at(far, 0)),
            2 => (u64::MAX, self.start.checked_add(Duration::from_secs(far | 1 << 50))),
            _ => {
                let tick = self.now.saturating_add(far);
                (tick.saturating_add(u64::from(nanos > 0)), self.at(tick, nanos))
            }
        };
        let Some(deadline) = deadline else { return Ok(()) };
        let note = Arc::new(Note::default());
        let key = self.wheel.insert(deadline, Waker::from(note.clone()));
        // What is due already waits for the next tick.
        let fires = tick.max(self.now + 1);
        self.serial += 1;
        self.set.insert((fires, self.serial), (key, note));
        Ok(())
    }

    fn pick(&self, input: &mut Unstructured<'_>) -> Result<Option<(u64, u64)>> {
        if self.set.is_empty() {
            return Ok(None);
        }
        let at = input.choose_index(self.set.len())?;
        Ok(self.set.keys().nth(at).copied())
    }

    fn remove(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let Some(name) = self.pick(input)? else { return Ok(()) };
        let (key, note) = self.set.remove(&name).expect("it was picked");
        let waker = self.wheel.remove(key).expect("it has not fired");
        assert!(waker.will_wake(&Waker::from(note.clone())));
        assert_eq!(note.0.load(Ordering::Relaxed), 0);
        self.gone.push(key);
        Ok(())
    }

    fn change_waker(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let Some(name) = self.pick(input)? else { return Ok(()) };
        let (key, note) = self.set.get_mut(&name).expect("it was picked");
        assert_eq!(self.wheel.wakes(*key, &Waker::from(note.clone())), Some(true));
        let new = Arc::new(Note::default());
        let waker = Waker::from(new.clone());
        assert_eq!(self.wheel.wakes(*key, &waker), Some(false));
        let old = self.wheel.replace_waker(*key, waker).expect("the one before");
        assert!(old.will_wake(&Waker::from(note.clone())));
        *note = new;
        Ok(())
    }

    /// A key of a timer that has fired, or was removed, means nothing, whoever has its place now.
    fn touch_the_gone(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if self.gone.is_empty() {
            return Ok(());
        }
        let key = self.gone[input.choose_index(self.gone.len())?];
        let note = Arc::new(Note::default());
        assert!(self.wheel.remove(key).is_none());
        assert!(self.wheel.wakes(key, Waker::noop()).is_none());
        let back = self.wheel.replace_waker(key, Waker::from(note.clone()));
        assert!(back.is_some_and(|back| back.will_wake(&Waker::from(note.clone()))));
        Ok(())
    }

    /// As the turn loop does: sleeps until the wheel wants to be looked at.
    fn advance_to_next(&mut self) {
        let Some(next) = self.wheel.next() else { return };
        let tick = next.saturating_duration_since(self.start).as_micros() as u64;
        assert!(tick > self.now, "the core would spin: {tick}, now {}", self.now);
        if tick <= LIFE {
            self.advance(tick, 0);
        }
    }

    fn advance(&mut self, tick: u64, nanos: u32) {
        let Some(to) = self.at(tick, nanos) else { return };
        let mut fired = Vec::new();
        self.wheel.advance(to, &mut fired);
        self.now = self.now.max(tick);
        // Those of one tick fire in any order, and those of different ticks in theirs.
        let mut done = 0;
        while let Some(first) = self.set.first_entry() {
            let fires = first.key().0;
            if fires > self.now {
                break;
            }
            let same = self.set.range((fires, 0)..=(fires, u64::MAX)).count();
            assert!(done + same <= fired.len(), "timers of tick {fires} have not fired");
            fired[done..done + same].iter().for_each(Waker::wake_by_ref);
            done += same;
            for _ in 0..same {
                let (_, (key, note)) = self.set.pop_first().expect("just counted");
                assert_eq!(note.0.load(Ordering::Relaxed), 1, "of tick {fires}");
                self.gone.push(key);
            }
        }
        assert_eq!(done, fired.len(), "some fired early");
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.set.len());
        let next = self.wheel.next();
        assert_eq!(next.is_some(), !self.set.is_empty());
        if let (Some(next), Some((&(fires, _), _))) = (next, self.set.first_key_value())
            && let Some(fires) = self.at(fires, 0)
        {
            assert!(next <= fires, "{next:?} is after {fires:?}");
        }
    }
}

/// A number of any magnitude.
fn distance(input: &mut Unstructured<'_>) -> Result<u64> {
    let bits = input.int_in_range(0..=58)?;
    Ok(input.arbitrary::<u64>()? & ((1 << bits) - 1))
}

/// A delay may be any; one that the clock cannot express becomes a long one.
fn clamp(input: &mut Unstructured<'_>) -> Result<()> {
    let delay = match input.arbitrary::<u8>()? {
        0..=31 => Duration::MAX,
        _ => Duration::new(input.arbitrary()?, input.arbitrary::<u32>()? % 1_000_000_000),
    };
    let before = Instant::now();
    let deadline = Sleep::new(delay).deadline();
    let year = Duration::from_secs(60 * 60 * 24 * 365);
    assert!(deadline >= before + delay.min(year * 29), "{delay:?} ends too early");
    Ok(())
}
