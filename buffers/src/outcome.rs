//! The result of an operation, with the buffer that it worked on.

use std::io;

/// What an operation returns: its result, and the buffer, which is yours again.
///
/// The buffer comes back whether the operation succeeded or not. After an error its content beyond
/// what was there before is unspecified.
///
/// Take it apart as a tuple, or use [`into_result`](Self::into_result) with `?` when the buffer is
/// not needed after an error.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// use ringbolt_buffers::BufResult;
///
/// fn write(buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
///     BufResult(Ok(buf.len()), buf)
/// }
///
/// fn main() -> io::Result<()> {
///     let BufResult(result, buf) = write(vec![0; 10]);
///     assert_eq!(result?, 10);
///
///     let (written, _buf) = write(buf).into_result()?;
///     assert_eq!(written, 10);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "the operation may have failed, and the buffer is in here"]
pub struct BufResult<T, B>(pub io::Result<T>, pub B);

impl<T, B> BufResult<T, B> {
    /// Whether the operation succeeded.
    pub fn is_ok(&self) -> bool {
        self.0.is_ok()
    }

    /// Whether the operation failed.
    pub fn is_err(&self) -> bool {
        self.0.is_err()
    }

    /// Changes the value of a success; the buffer passes through.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> BufResult<U, B> {
        BufResult(self.0.map(f), self.1)
    }

    /// Changes the buffer; the result passes through. `buf.map_buf(Slice::into_inner)` undoes a
    /// slice.
    pub fn map_buf<C>(self, f: impl FnOnce(B) -> C) -> BufResult<T, C> {
        BufResult(self.0, f(self.1))
    }

    /// Goes on with the value and the buffer of a success; an error passes through with the buffer.
    pub fn and_then<U>(self, f: impl FnOnce(T, B) -> BufResult<U, B>) -> BufResult<U, B> {
        let BufResult(result, buf) = self;
        match result {
            Ok(value) => f(value, buf),
            Err(error) => BufResult(Err(error), buf),
        }
    }

    /// The value and the buffer of a success, for use with `?`.
    ///
    /// # Errors
    ///
    /// The operation's error. The buffer is dropped then; keep it by taking the tuple apart.
    pub fn into_result(self) -> io::Result<(T, B)> {
        let BufResult(result, buf) = self;
        result.map(|value| (value, buf))
    }

    /// The value and the buffer of a success.
    ///
    /// # Panics
    ///
    /// If the operation failed, with its error.
    #[track_caller]
    pub fn unwrap(self) -> (T, B) {
        match self.0 {
            Ok(value) => (value, self.1),
            Err(error) => panic!("the operation failed: {error:?}"),
        }
    }

    /// The value and the buffer of a success.
    ///
    /// # Panics
    ///
    /// If the operation failed, with `message` and its error.
    #[track_caller]
    pub fn expect(self, message: &str) -> (T, B) {
        match self.0 {
            Ok(value) => (value, self.1),
            Err(error) => panic!("{message}: {error:?}"),
        }
    }
}

impl<T, B> From<(io::Result<T>, B)> for BufResult<T, B> {
    fn from((result, buf): (io::Result<T>, B)) -> Self {
        BufResult(result, buf)
    }
}

impl<T, B> From<BufResult<T, B>> for (io::Result<T>, B) {
    fn from(BufResult(result, buf): BufResult<T, B>) -> Self {
        (result, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> BufResult<usize, Vec<u8>> {
        BufResult(Err(io::ErrorKind::TimedOut.into()), vec![7])
    }

    #[test]
    fn an_error_keeps_the_buffer() {
        let BufResult(result, buf) =
            failed().map(|n| n + 1).and_then(|_, _| unreachable!()).map_buf(|buf| (buf, 'c'));
        let result: io::Result<()> = result;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(buf, (vec![7], 'c'));
        assert!(failed().is_err() && !failed().is_ok());
        assert_eq!(failed().into_result().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_success_goes_on() {
        let done = BufResult::from((Ok(2), vec![1, 2, 3]));
        assert!(done.is_ok() && !done.is_err());
        let next = done.map(|n| n * 2).and_then(|n, mut buf| {
            buf.push(n);
            BufResult(Ok(buf.len()), buf)
        });
        assert_eq!(next.unwrap(), (4, vec![1, 2, 3, 4]));
        let (result, buf) = BufResult(Ok(1), "b").into();
        assert_eq!((result.unwrap(), buf), (1, "b"));
    }

    #[test]
    #[should_panic(expected = "sending the greeting: Kind(TimedOut)")]
    fn expect_names_the_error() {
        failed().expect("sending the greeting");
    }
}
