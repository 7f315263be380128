//! Bodies of the fuzz targets of this crate: each takes any bytes and panics if a promise breaks.

mod completions;
mod program;
mod queues;
#[path = "../../fuzz/refusal.rs"]
mod refusal;
#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
pub(crate) mod replay;
mod results;
mod timers;

pub use completions::completions;
pub use program::program;
pub use queues::queues;
pub use results::results;
pub use timers::timers;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpus_of_completions() {
        replay("completions", super::completions, 1000);
    }

    #[test]
    fn the_corpus_of_queues() {
        replay("queues", super::queues, 300);
    }

    #[test]
    fn the_corpus_of_timers() {
        replay("timers", super::timers, 1000);
    }

    #[test]
    fn the_corpus_of_results() {
        replay("results", super::results, 1000);
    }

    #[test]
    fn the_corpus_of_programs() {
        replay("program", super::program, 100);
    }
}
