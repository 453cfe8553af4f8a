//! What no cluster on this machine can beat: one durable write, and two round trips between client, primary and backup.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use chronon::{
    env::{DiskOperation, VirtualDisk},
    frame::{Frame, SECTOR_SIZE},
    process::Token,
};
use chronon_production::{DataFile, Disk, DiskChoice, DurableMode, HostDisk};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::Serialize;

use crate::program::{number::grouped, output::Trouble};

/// How often each is measured.
const ROUNDS: u64 = 1_000;

/// What is sent there and back.
const MESSAGE: usize = 256;

/// The file that is written to.
const SECTORS: u64 = 256;

/// Medians, in microseconds.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Limits {
    durable_write_us: u64,
    round_trip_us: u64,
    /// One durable write and two round trips.
    least_us: u64,
}

impl Limits {
    pub(super) fn words(&self, p50_us: u64) -> String {
        let thousandths = p50_us * 1_000 / self.least_us.max(1);
        format!(
            "\na durable write of 4 KiB takes {} us and a round trip {} us: one and two of them are {} us, of which the median \
             request takes {}.{:03} times as much",
            grouped(self.durable_write_us),
            grouped(self.round_trip_us),
            grouped(self.least_us),
            thousandths / 1_000,
            thousandths % 1_000
        )
    }
}

/// Measures both, in `folder` and on the loopback.
pub(super) fn measure(folder: &Path) -> Result<Limits, Trouble> {
    let durable_write_us = durable_write_us(folder)?;
    let round_trip_us = round_trip_us().map_err(|error| Trouble::machine(format!("no round trip: {error}")))?;
    Ok(Limits { durable_write_us, round_trip_us, least_us: durable_write_us + 2 * round_trip_us })
}

fn durable_write_us(folder: &Path) -> Result<u64, Trouble> {
    let path = folder.join(format!("chronon-limits-{}", std::process::id()));
    DataFile::create(&path, SECTORS * SECTOR_SIZE as u64, &[])?;
    let opened = DataFile::open(&path);
    // It lives on as long as it is open.
    std::fs::remove_file(&path).map_err(|error| Trouble::machine(format!("{}: {error}", path.display())))?;
    let (mut disk, why) = Disk::open(opened?, DiskChoice::Auto, DurableMode::default()).map_err(Trouble::machine)?;
    why.iter().for_each(|why| super::remark(why));
    median_us(|round| {
        let data = Frame::new(vec![round as u8; SECTOR_SIZE]);
        let offset = round % SECTORS * SECTOR_SIZE as u64;
        disk.submit(Token(round), DiskOperation::Write { offset, data, durable: true });
        disk.flush().map_err(Trouble::machine)?;
        let ended = wait_for(&mut disk)?;
        ended.map_err(|error| Trouble::machine(format!("a durable write failed: {error:?}")))
    })
}

fn wait_for(disk: &mut Disk) -> Result<Result<(), chronon::process::DiskError>, Trouble> {
    loop {
        disk.quiet();
        if let Some(completion) = disk.poll() {
            return Ok(completion.result.map(|_| ()));
        }
        disk.flush().map_err(Trouble::machine)?;
        let mut waited = [PollFd::from_borrowed_fd(disk.wake(), PollFlags::IN)];
        match poll(&mut waited, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Trouble::machine(error)),
        }
    }
}

fn round_trip_us() -> Result<u64, std::io::Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = std::thread::spawn(move || {
        let mut bytes = [0; MESSAGE];
        // Until the other end is closed.
        while far.read_exact(&mut bytes).is_ok() && far.write_all(&bytes).is_ok() {}
    });
    let mut bytes = [0; MESSAGE];
    let median = median_us(|_| near.write_all(&bytes.clone()).and_then(|()| near.read_exact(&mut bytes)));
    drop(near);
    // It does not panic.
    let _ = echo.join();
    median
}

/// The median of how long it takes.
fn median_us<E>(mut once: impl FnMut(u64) -> Result<(), E>) -> Result<u64, E> {
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        once(round)?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let median: Duration = took[took.len() / 2];
    Ok(u64::try_from(median.as_micros()).unwrap_or(u64::MAX))
}
