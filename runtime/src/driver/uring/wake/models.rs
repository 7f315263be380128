//! The end of a ring against those who ring it.

use super::Target;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, model, thread};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

#[test]
fn a_closed_ring_is_sent_nothing() {
    model("a closed ring is sent nothing", || {
        let target = Arc::new(Target(Mutex::new(Some(5))));
        let open = Arc::new(AtomicBool::new(true));
        let ringers = [(); 2].map(|()| {
            let (target, open) = (target.clone(), open.clone());
            thread::spawn(move || {
                target.reach(|fd| {
                    assert_eq!(fd, 5);
                    assert!(open.load(SeqCst), "a message to a descriptor that was closed");
                });
            })
        });
        target.silence();
        open.store(false, SeqCst);
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
    });
}

#[test]
fn an_open_ring_is_sent_everything() {
    model("an open ring is sent everything", || {
        let target = Arc::new(Target(Mutex::new(Some(5))));
        let messages = Arc::new(AtomicUsize::new(0));
        let ringers = [(); 2].map(|()| {
            let (target, messages) = (target.clone(), messages.clone());
            thread::spawn(move || {
                target.reach(|_| {
                    messages.fetch_add(1, SeqCst);
                });
            })
        });
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
        target.silence();
        target.reach(|_| panic!("sent after the end"));
        assert_eq!(messages.load(SeqCst), 2);
    });
}
