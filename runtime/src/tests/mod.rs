//! Tests of the crate as a whole that need its inside.

mod errnos;
