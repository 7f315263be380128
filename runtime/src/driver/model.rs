//! The driver of models: it executes nothing, and sleeps until it is rung.
//!
//! A core that sleeps while there is work, because a wake went astray, is a deadlock to loom. To
//! ring a core that has gone fails the model.

use super::{Bell, Facts, Tally};
use crate::sync::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// The driver of one core in a model.
pub(crate) struct Model {
    bell: Arc<ModelBell>,
}

pub(crate) struct ModelBell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    rung: bool,
    rings: usize,
    gone: bool,
}

impl Model {
    pub(crate) fn new() -> (Model, Facts) {
        let facts = Facts {
            driver: "model",
            fallback_reason: None,
            nonblocking_sockets: false,
            lends_buffers: false,
            features: Vec::new(),
        };
        (Model { bell: ModelBell::new() }, facts)
    }

    pub(crate) fn bell(&self) -> Arc<dyn Bell> {
        self.bell.clone()
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally::default()
    }

    pub(crate) fn wait(&mut self, limit: Option<Duration>) {
        if limit != Some(Duration::ZERO) {
            self.bell.sleep();
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.bell.state.lock().expect("loom poisons nothing").gone = true;
    }
}

impl ModelBell {
    pub(crate) fn new() -> Arc<ModelBell> {
        Arc::new(ModelBell { state: Mutex::new(State::default()), rung: Condvar::new() })
    }

    pub(crate) fn sleep(&self) {
        let mut state = self.state.lock().expect("loom poisons nothing");
        while !state.rung {
            state = self.rung.wait(state).expect("loom poisons nothing");
        }
        state.rung = false;
    }

    #[cfg(test)]
    pub(crate) fn rings(&self) -> usize {
        self.state.lock().expect("loom poisons nothing").rings
    }
}

impl Bell for ModelBell {
    fn ring(&self) {
        let mut state = self.state.lock().expect("loom poisons nothing");
        assert!(!state.gone, "a core that has gone was rung");
        state.rung = true;
        state.rings += 1;
        drop(state);
        self.rung.notify_one();
    }
}
