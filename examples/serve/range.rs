//! Parts of a file: the `Range` header (RFC 9110, 14).

use crate::request::number;

/// What a client wants of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: nothing else was asked for, or in a way that a server may pass over.
    Whole,
    /// `len` bytes from `start` on; at least one, and all inside of the file.
    Part { start: u64, len: u64 },
    /// Bytes that the file does not have.
    Nothing,
}

/// Reads the value of `Range` for a file of `len` bytes. A client that asks for several parts gets
/// the whole file, as one whose header makes no sense does.
pub(crate) fn wanted(value: &[u8], len: u64) -> Wanted {
    let Some((first, last)) = split(value) else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Some(start), _) if start >= len && (last.is_empty() || number(last) >= Some(start)) => {
            Wanted::Nothing
        }
        (Some(start), None) if last.is_empty() => Wanted::Part { start, len: len - start },
        (Some(start), Some(end)) if start <= end => {
            Wanted::Part { start, len: end.min(len - 1) - start + 1 }
        }
        (None, Some(suffix)) if first.is_empty() => match suffix.min(len) {
            0 => Wanted::Nothing,
            suffix => Wanted::Part { start: len - suffix, len: suffix },
        },
        _ => Wanted::Whole,
    }
}

/// `a` and `b` of `bytes=a-b`.
fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (unit, range) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let range = range.trim_ascii();
    let dash = range.iter().position(|&byte| byte == b'-')?;
    Some((&range[..dash], &range[dash + 1..]))
}
