//! Real-time priority: on a busy machine what a sync takes is otherwise the time until its waiter is scheduled.

/// Puts the calling thread, and those it starts from now on, under `SCHED_RR`. `false`: it is not allowed to
/// (`CAP_SYS_NICE` or a limit on real-time priority is needed).
#[allow(unsafe_code)]
pub fn raise_priority() -> bool {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the pointer is to a live value of the type that the call reads; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameters) == 0 }
}
