//! The conformance suites against the real clock and the real disks: the same that the simulated ones are held to.

use std::{
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use chronon::env::{Clock, VirtualDisk};
use chronon_production::{DataFile, SyncDisk, SystemClock};
use chronon_sim::conformance::{ClockRig, DISK_CAPACITY_MIN, DiskRig, check_clock, check_disk, submit_unaligned};

struct Clocks(SystemClock);

impl ClockRig for Clocks {
    fn clock(&mut self) -> &mut dyn Clock {
        &mut self.0
    }

    fn pass(&mut self, duration_ns: u64) {
        sleep(Duration::from_nanos(duration_ns));
    }
}

#[test]
fn the_systems_clocks_keep_the_contract() {
    check_clock(&mut Clocks(SystemClock));
}

/// A data file in the build's own folder, which is on a real file system; gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, size: u64) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        DataFile::create(&path, size, &[]).expect("there is room for a data file");
        Self(path)
    }

    fn open(&self) -> DataFile {
        DataFile::open(&self.0).expect("nobody else has it open")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct SyncRig {
    scratch: Scratch,
    disk: Option<SyncDisk>,
}

impl SyncRig {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name, DISK_CAPACITY_MIN);
        let disk = Some(SyncDisk::new(scratch.open()).expect("a thread"));
        Self { scratch, disk }
    }
}

impl DiskRig for SyncRig {
    fn disk(&mut self) -> &mut dyn VirtualDisk {
        self.disk.as_mut().expect("it is open")
    }

    fn capacity(&self) -> u64 {
        DISK_CAPACITY_MIN
    }

    fn wait(&mut self) {
        sleep(Duration::from_micros(200));
    }

    fn reopen(&mut self) {
        // The lock goes with the disk.
        self.disk = None;
        self.disk = Some(SyncDisk::new(self.scratch.open()).expect("a thread"));
    }
}

#[test]
fn the_sync_disk_keeps_the_contract() {
    check_disk(&mut SyncRig::new("sync-disk"));
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn the_sync_disk_refuses_half_a_sector() {
    submit_unaligned(&mut SyncRig::new("sync-disk-unaligned"));
}
