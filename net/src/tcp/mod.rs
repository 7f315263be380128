//! TCP: listeners and streams.

mod listener;
mod read_half;
mod split;
mod stream;
mod write_half;

pub use listener::{ListenOptions, Reservation, TcpListener};
pub use read_half::ReadHalf;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use stream::TcpStream;
pub use write_half::WriteHalf;
