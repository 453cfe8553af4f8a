//! How a thread wakes the replica's, which waits for descriptors and nothing else.
//!
//! Invariant: a waking is counted before the descriptor is readable because of it. So as long as that is readable, more was counted than
//! was read, and quieting it reads; and once all was read that was counted, nobody asks the system in vain.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};

/// A descriptor that is readable from [`Wake::wake`] to [`Wake::quiet`]. Clones are of one descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Wake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    descriptor: OwnedFd,
    /// How often anybody has woken, and how many of these were read. One thread reads.
    counted: AtomicU64,
    read: AtomicU64,
}

impl Wake {
    /// Not woken so far.
    ///
    /// # Errors
    /// If the system gives no descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { descriptor, counted: AtomicU64::new(0), read: AtomicU64::new(0) })))
    }

    /// Wakes who waits for the descriptor: called when there is something for it to take.
    pub(crate) fn wake(&self) {
        self.0.counted.fetch_add(1, Ordering::Release);
        // It adds up, and no sum of ones fills it.
        let _ = rustix::io::write(&self.0.descriptor, &1_u64.to_le_bytes());
    }

    /// Forgets that anybody has woken: called before it is looked at what there is to take, so that what comes meanwhile wakes anew.
    /// Without a system call if nobody has.
    pub(crate) fn quiet(&self) {
        let read = self.0.read.load(Ordering::Relaxed);
        if self.0.counted.load(Ordering::Acquire) == read {
            return;
        }
        let mut count = [0; 8];
        // Nothing to read means that who has counted has not woken yet.
        if rustix::io::read(&self.0.descriptor, &mut count).is_ok() {
            self.0.read.store(read.wrapping_add(u64::from_le_bytes(count)), Ordering::Relaxed);
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc::channel};

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        io::Errno,
    };

    use super::*;

    fn is_readable(wake: &Wake, patience_s: i64) -> bool {
        let patience = Timespec { tv_sec: patience_s, tv_nsec: 0 };
        poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&patience)) == Ok(1)
    }

    #[test]
    fn it_is_readable_from_a_waking_to_a_quieting_however_many_woke() {
        let wake = Wake::new().unwrap();
        for times in [1, 2, 5] {
            assert!(!is_readable(&wake, 0));
            wake.quiet();
            (0..times).for_each(|_| wake.clone().wake());
            assert!(is_readable(&wake, 0));
            wake.quiet();
            assert_eq!(rustix::io::read(&wake, &mut [0; 8]), Err(Errno::AGAIN));
        }
    }

    #[test]
    fn nothing_that_came_before_a_waking_is_left_behind() {
        const THREADS: usize = 3;
        const EACH: usize = 20_000;
        let wake = Wake::new().unwrap();
        let (sender, came) = channel();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let (wake, sender) = (wake.clone(), sender.clone());
                scope.spawn(move || {
                    for number in 0..EACH {
                        sender.send(number).unwrap();
                        wake.wake();
                    }
                });
            }
            let mut taken = 0;
            while taken < THREADS * EACH {
                assert!(is_readable(&wake, 60), "{taken} were taken, and nobody wakes for the others");
                wake.quiet();
                taken += came.try_iter().count();
            }
        });
    }

    #[test]
    fn it_comes_to_rest_whoever_woke_while_it_was_quieted() {
        const THREADS: usize = 2;
        const ROUNDS: usize = 5_000;
        let wake = Wake::new().unwrap();
        let together = Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        together.wait();
                        wake.wake();
                        together.wait();
                    }
                });
            }
            let restless = (0..ROUNDS).filter(|_| {
                together.wait();
                wake.quiet();
                together.wait();
                wake.quiet();
                is_readable(&wake, 0)
            });
            assert_eq!(restless.count(), 0);
        });
    }
}
