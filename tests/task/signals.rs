//! Requests to end the process.

#[cfg(unix)]
use crate::support::*;

#[test]
#[cfg(unix)]
fn interrupts_and_terminations_wake_who_waits() {
    use ringbolt::{signal, timeout};
    if !alone(module_path!(), "interrupts_and_terminations_wake_who_waits") {
        return;
    }
    let raise = |number| {
        // SAFETY: the call names no memory; a handler is installed for the signal.
        let raised = unsafe { libc::raise(number) };
        assert_eq!(raised, 0);
    };
    on_every_driver(async |_| {
        let (first, second) = (signal::ctrl_c().unwrap(), signal::ctrl_c().unwrap());
        let mut end = signal::termination().unwrap();
        let waiting = ringbolt::spawn(second);
        turns(3).await;
        raise(libc::SIGINT);
        first.await;
        waiting.await.unwrap();
        (&mut end).await;
        // It counts what comes after it was made.
        let mut later = signal::ctrl_c().unwrap();
        assert!(timeout(SHORT, &mut later).await.is_err());
        let mut end = signal::termination().unwrap();
        assert!(timeout(SHORT, &mut end).await.is_err());
        raise(libc::SIGTERM);
        end.await;
        assert!(timeout(SHORT, &mut later).await.is_err(), "that was no interrupt");
    });
}
