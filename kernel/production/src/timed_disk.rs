//! A disk that says how long its durable writes took.

use std::{collections::BTreeMap, io, os::fd::BorrowedFd, time::Instant};

use chronon::{
    env::{DiskOperation, VirtualDisk},
    process::{Completion, Token},
};
use prometheus_client::metrics::histogram::Histogram;

use crate::{disk::HostDisk, uring::Ring};

/// A disk whose durable writes and barriers are timed, from when they were submitted to when their end was seen.
pub(crate) struct TimedDisk<D> {
    disk: D,
    /// By token: a process that names two operations alike has the later one timed.
    began: BTreeMap<Token, Instant>,
    /// How many operations of any kind were submitted and have not ended.
    under_way: u64,
    latency: Histogram,
}

impl<D> TimedDisk<D> {
    pub(crate) const fn new(disk: D, latency: Histogram) -> Self {
        Self { disk, began: BTreeMap::new(), under_way: 0, latency }
    }

    /// How many operations were submitted and have not ended.
    pub(crate) const fn under_way(&self) -> u64 {
        self.under_way
    }
}

impl<D: VirtualDisk> VirtualDisk for TimedDisk<D> {
    fn submit(&mut self, token: Token, operation: DiskOperation) {
        if matches!(operation, DiskOperation::Barrier | DiskOperation::Write { durable: true, .. }) {
            self.began.insert(token, Instant::now());
        }
        self.under_way += 1;
        self.disk.submit(token, operation);
    }

    fn poll(&mut self) -> Option<Completion> {
        let completion = self.disk.poll()?;
        self.under_way -= 1;
        if let Some(began) = self.began.remove(&completion.token) {
            self.latency.observe(began.elapsed().as_secs_f64());
        }
        Some(completion)
    }
}

impl<D: HostDisk> HostDisk for TimedDisk<D> {
    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }

    fn ring(&self) -> Option<Ring> {
        self.disk.ring()
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.disk.wake()
    }

    fn quiet(&mut self) {
        self.disk.quiet();
    }
}
