//! Parts of buffers, parts of parts, and several of them in one operation.

use crate::fuzzing::refusal::accepted;
use crate::{IoBuf, IoBufMut, IoVectored, IoVectoredMut, Pages, Slice};
use arbitrary::{Result, Unstructured};
use bytes::BytesMut;
use std::ops::Bound;
use std::ptr::NonNull;

/// Views of one buffer, read into and advanced, and then several buffers in one operation.
pub fn slices(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // Running out of bytes is the end.
    let _ = one(&mut input);
    let _ = several(&mut input);
}

/// A buffer as it should be: all of its memory, and how much of that is content.
#[derive(Clone, Debug)]
struct Memory {
    bytes: Vec<u8>,
    len: usize,
    fixed: bool,
}

/// A view of a buffer, or of the view around it.
#[derive(Clone, Copy, Debug)]
struct View {
    begin: usize,
    end: Option<usize>,
}

/// A buffer and the views of it, from the outside in.
#[derive(Clone, Debug)]
struct Model {
    memory: Memory,
    views: Vec<View>,
}

impl Model {
    /// Where the innermost view begins in the memory, its content's length and its capacity.
    fn parts(&self) -> (usize, usize, usize) {
        let (mut begin, mut len, mut capacity) = (0, self.memory.len, self.memory.bytes.len());
        for view in &self.views {
            let within = |limit: usize| view.end.map_or(limit, |end| end.min(limit));
            begin += view.begin;
            (len, capacity) = (within(len) - view.begin, within(capacity) - view.begin);
        }
        (begin, len, capacity)
    }

    fn content(&self) -> &[u8] {
        let (begin, len, _) = self.parts();
        &self.memory.bytes[begin..begin + len]
    }

    /// The first `n` bytes of the innermost view have been filled with `seed`.
    fn fill(&mut self, seed: u8, n: usize) {
        let (begin, ..) = self.parts();
        self.memory.bytes[begin..begin + n].copy_from_slice(&pattern(seed, n));
        self.set_init(n);
    }

    fn set_init(&mut self, n: usize) {
        // Each view passes on where its content ends now; one with an end shortens nothing.
        let mut total = n;
        for depth in (0..self.views.len()).rev() {
            let view = self.views[depth];
            let outer = Model { memory: self.memory.clone(), views: self.views[..depth].to_vec() };
            let (_, before, _) = outer.parts();
            total += view.begin;
            if view.end.is_some() {
                total = total.max(before);
            }
        }
        if !self.memory.fixed {
            self.memory.len = total;
        }
    }
}

fn pattern(seed: u8, n: usize) -> Vec<u8> {
    (0..n).map(|i| seed.wrapping_add((i as u8).wrapping_mul(7))).collect()
}

/// Writes `bytes` as the kernel does, without telling the buffer.
fn write<B: IoBufMut>(buf: &mut B, bytes: &[u8]) {
    let (start, capacity) = buf.io_parts_mut();
    assert!(bytes.len() <= capacity, "{} bytes into {capacity}", bytes.len());
    let source = NonNull::from(bytes).cast();
    // SAFETY: there is room, as checked, and the two do not overlap.
    unsafe { start.copy_from_nonoverlapping(source, bytes.len()) };
}

/// A buffer of which every byte is known, also behind its content.
fn known<B: IoBufMut>(mut buf: B, len: usize, fixed: bool) -> (B, Model) {
    let bytes = pattern(1, buf.io_parts_mut().1);
    write(&mut buf, &bytes);
    let len = if fixed { bytes.len() } else { len };
    // SAFETY: all bytes were just written, and `len` is within the capacity.
    unsafe { buf.set_init(len) };
    (buf, Model { memory: Memory { bytes, len, fixed }, views: vec![] })
}

fn one(input: &mut Unstructured<'_>) -> Result<()> {
    let (kind, capacity) = (input.arbitrary::<u8>()?, input.int_in_range(0..=48)?);
    let len = input.int_in_range(0..=capacity)?;
    match kind % 4 {
        0 => outer(input, known(Vec::with_capacity(capacity), len, false)),
        1 => outer(input, known(BytesMut::with_capacity(capacity), len, false)),
        2 => outer(input, known(vec![0; capacity].into_boxed_slice(), len, true)),
        _ => {
            let pages = Pages::new(capacity.max(1), 8).expect("a little memory");
            outer(input, known(pages, len, true))
        }
    }
}

fn outer<B: IoBufMut>(input: &mut Unstructured<'_>, (buf, mut model): (B, Model)) -> Result<()> {
    let buf = view(input, buf, &mut model, &mut |input, buf, model| {
        view(input, buf, model, &mut |input, buf, model| {
            view(input, buf, model, &mut |_, buf, _| Ok(buf))
        })
    })?;
    if let Some(buf) = buf {
        same(&buf, &model);
    }
    Ok(())
}

/// What is done with a view inside of a view; `None` where the buffer went with a refusal.
type Inside<'a, B> =
    dyn FnMut(&mut Unstructured<'_>, Option<B>, &mut Model) -> Result<Option<B>> + 'a;

/// Makes a view of `buf`, works on it, and takes it off again.
fn view<B: IoBufMut>(
    input: &mut Unstructured<'_>,
    buf: impl Into<Option<B>>,
    model: &mut Model,
    inside: &mut Inside<'_, Slice<B>>,
) -> Result<Option<B>> {
    let Some(buf) = buf.into() else { return Ok(None) };
    let (_, len, capacity) = model.parts();
    let (read_only, begin, end) = (input.arbitrary()?, bound(input)?, bound(input)?);
    let first = match begin {
        Bound::Included(n) => Some(n),
        Bound::Excluded(n) => n.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let last = match end {
        Bound::Included(n) => n.checked_add(1).map(Some),
        Bound::Excluded(n) => Some(Some(n)),
        Bound::Unbounded if read_only => Some(Some(len)),
        Bound::Unbounded => Some(None),
    };
    let fits = first.zip(last).filter(|&(first, last)| {
        let limit = if read_only { len } else { capacity };
        first <= last.unwrap_or(limit) && first <= len && last.unwrap_or(limit) <= limit
    });
    let sliced =
        accepted(|| if read_only { buf.slice((begin, end)) } else { buf.slice_mut((begin, end)) });
    assert_eq!(sliced.is_some(), fits.is_some(), "{begin:?}, {end:?} of {len}, {capacity}");
    let (Some(mut slice), Some((begin, end))) = (sliced, fits) else { return Ok(None) };
    model.views.push(View { begin, end });
    same_mut(&mut slice, model);
    let steps = input.int_in_range(0..=6)?;
    for _ in 0..steps {
        let (_, len, capacity) = model.parts();
        if input.arbitrary()? {
            let (seed, n) = (input.arbitrary()?, input.int_in_range(0..=capacity)?);
            write(&mut slice, &pattern(seed, n));
            // SAFETY: `n` bytes were just written, within the capacity.
            unsafe { slice.set_init(n) };
            model.fill(seed, n);
        } else {
            let n = input.int_in_range(0..=len + 1)?;
            let advanced = accepted(|| slice.advance(n)).is_some();
            assert_eq!(advanced, n <= len, "advance {n} of {len}");
            if advanced {
                model.views.last_mut().expect("pushed above").begin += n;
            }
        }
        same_mut(&mut slice, model);
    }
    let Some(slice) = inside(input, Some(slice), model)? else { return Ok(None) };
    same(&slice, model);
    model.views.pop();
    Ok(Some(slice.into_inner()))
}

fn bound(input: &mut Unstructured<'_>) -> Result<Bound<usize>> {
    let kind = input.arbitrary::<u8>()?;
    let near = usize::from(input.arbitrary::<u8>()? % 64);
    let n = if kind >= 0xf0 { usize::MAX - near } else { near };
    Ok(match kind % 4 {
        0 => Bound::Excluded(n),
        1 => Bound::Unbounded,
        _ => Bound::Included(n),
    })
}

fn same<B: IoBuf>(buf: &B, model: &Model) {
    let (start, len) = buf.io_parts();
    // SAFETY: an `IoBuf` promises that these bytes are initialised.
    let seen = unsafe { std::slice::from_raw_parts(start.as_ptr(), len) };
    assert_eq!(seen, model.content(), "{model:?}");
}

fn same_mut<B: IoBufMut>(buf: &mut B, model: &Model) {
    assert_eq!(buf.io_parts_mut().1, model.parts().2, "capacity of {model:?}");
    assert_eq!(buf.io_parts_mut().0, buf.io_parts().0, "both sides see the same memory");
    same(buf, model);
}

/// Several parts in one operation: filled in order, read in order.
fn several(input: &mut Unstructured<'_>) -> Result<()> {
    let count = input.int_in_range(0..=5)?;
    let (mut bufs, mut models) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let capacity = input.int_in_range(0..=16)?;
        let len = input.int_in_range(0..=capacity)?;
        let (buf, mut model) = known(Vec::with_capacity(capacity), len, false);
        let begin = input.int_in_range(0..=len)?;
        let end =
            if input.arbitrary()? { Some(input.int_in_range(begin..=capacity)?) } else { None };
        let end = end.map(|end| end.max(begin));
        model.views.push(View { begin, end });
        bufs.push(match end {
            Some(end) => buf.slice_mut(begin..end),
            None => buf.slice_mut(begin..),
        });
        models.push(model);
    }
    let room: usize = models.iter().map(|model| model.parts().2).sum();
    let (seed, n) = (input.arbitrary()?, input.int_in_range(0..=room)?);
    let bytes = pattern(seed, n);
    // As a receive does: into a vector, or into a pair and a triple, which are walks of their own.
    match <[_; 2]>::try_from(bufs) {
        Ok([a, b]) if seed % 2 == 0 => {
            let mut pair = (a, b);
            receive(&mut pair, &bytes);
            bufs = vec![pair.0, pair.1];
        }
        Ok(pair) => {
            let mut pair = pair;
            receive(&mut pair, &bytes);
            bufs = pair.into();
        }
        Err(list) => match <[_; 3]>::try_from(list) {
            Ok([a, b, c]) => {
                let mut triple = (a, b, c);
                receive(&mut triple, &bytes);
                bufs = vec![triple.0, triple.1, triple.2];
            }
            Err(mut list) => {
                receive(&mut list, &bytes);
                bufs = list;
            }
        },
    }
    let mut left = &bytes[..];
    for model in &mut models {
        let (begin, _, capacity) = model.parts();
        let (now, later) = left.split_at(left.len().min(capacity));
        model.memory.bytes[begin..begin + now.len()].copy_from_slice(now);
        model.set_init(now.len());
        left = later;
    }
    let total: usize = models.iter().map(|model| model.content().len()).sum();
    assert_eq!(bufs.total_len(), total);
    bufs.iter().zip(&models).for_each(|(buf, model)| same(buf, model));
    for (buf, model) in bufs.into_iter().zip(&models) {
        assert_eq!(buf.into_inner(), model.memory.bytes[..model.memory.len]);
    }
    Ok(())
}

fn receive<V: IoVectoredMut>(parts: &mut V, bytes: &[u8]) {
    let mut left = bytes;
    parts.for_each_part_mut(&mut |start, capacity| {
        let (now, later) = left.split_at(left.len().min(capacity));
        // SAFETY: at most the capacity is written, and the two do not overlap.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(now).cast(), now.len()) };
        left = later;
    });
    assert!(left.is_empty(), "the parts have less room than they said");
    // SAFETY: these bytes were just written, in order, within the capacities.
    unsafe { parts.set_init_total(bytes.len()) };
}
