//! Addresses of the loopback that nobody else is given, for who listens later, or again.
//!
//! A port that the system picked is free for whoever asks next once its listener is closed. So each process of tests has a
//! host of its own below 127.128.0.0/9, by its number, and counts the ports of that. The system gives none of them away:
//! what dials without naming a host does so from 127.0.0.1.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
};

/// So many addresses; each is given once.
pub(crate) fn own_addresses(count: usize) -> Vec<SocketAddr> {
    // Below the ports that are handed out, and above those that need a right.
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let [high, rest @ ..] = std::process::id().to_be_bytes();
    assert!(high == 0 && rest[0] < 128, "the number of a process has 22 bits at most");
    let host = Ipv4Addr::new(127, 128 | rest[0], rest[1], rest[2]);
    (0..count).map(|_| (host, NEXT.fetch_add(1, Ordering::Relaxed)).into()).collect()
}
