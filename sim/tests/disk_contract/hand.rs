//! A disk led by hand: the test begins and ends each operation when it likes.

use std::collections::BTreeSet;

use chronon::{
    env::DiskOperation,
    frame::{Frame, SECTOR_SIZE},
    process::{DiskError, Token},
};
use chronon_sim::disk::{Completed, DiskSettings, SimDisk};

pub(crate) const SECTOR: u64 = SECTOR_SIZE as u64;
pub(crate) const SEEDS: u64 = 300;

/// A disk whose operations the test ends by hand, in the order that it likes.
pub(crate) struct Hand {
    pub(crate) disk: SimDisk,
    pub(crate) now_ns: u64,
}

impl Hand {
    pub(crate) fn new(seed: u64) -> Self {
        Self { disk: SimDisk::new(seed, 0, DiskSettings::default()), now_ns: 0 }
    }

    pub(crate) fn begin(&mut self, operation: DiskOperation) -> u32 {
        self.disk.submit(self.now_ns, Token(1), operation).1
    }

    pub(crate) fn begin_write(&mut self, sector: u64, fills: &[u8], durable: bool) -> u32 {
        self.begin(write(sector, fills, durable))
    }

    pub(crate) fn end(&mut self, id: u32) -> Result<Frame, DiskError> {
        self.now_ns += 1;
        match self.disk.complete(self.now_ns, id) {
            Completed::Done(completion) => completion.result,
            other => panic!("the operation was due: {other:?}"),
        }
    }

    pub(crate) fn write(&mut self, sector: u64, fill: u8) -> Result<Frame, DiskError> {
        let id = self.begin_write(sector, &[fill], false);
        self.end(id)
    }

    pub(crate) fn write_durable(&mut self, sector: u64, fill: u8) -> Result<Frame, DiskError> {
        let id = self.begin_write(sector, &[fill], true);
        self.end(id)
    }

    pub(crate) fn barrier(&mut self) -> Result<Frame, DiskError> {
        let id = self.begin(DiskOperation::Barrier);
        self.end(id)
    }

    pub(crate) fn read(&mut self, sector: u64) -> Result<Frame, DiskError> {
        let id = self.begin(DiskOperation::Read { offset: sector * SECTOR, length: SECTOR as u32 });
        self.end(id)
    }

    pub(crate) fn seen(&mut self, sector: u64) -> Seen {
        Seen::of(&self.read(sector).expect("nothing makes this read fail"))
    }
}

/// A sector as tests tell it: filled with one byte, or a mix of several.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Seen {
    Whole(u8),
    Mix(Vec<u8>),
}

impl Seen {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let values: BTreeSet<u8> = bytes.iter().copied().collect();
        if values.len() == 1 { Self::Whole(bytes[0]) } else { Self::Mix(values.into_iter().collect()) }
    }
}

pub(crate) fn write(sector: u64, fills: &[u8], durable: bool) -> DiskOperation {
    let data = fills.iter().flat_map(|fill| [*fill; SECTOR_SIZE]).collect();
    DiskOperation::Write { offset: sector * SECTOR, data: Frame::new(data), durable }
}

/// Everything that the script comes to, over many seeds.
pub(crate) fn every<T: Ord>(script: impl Fn(&mut Hand) -> T) -> BTreeSet<T> {
    (0..SEEDS).map(|seed| script(&mut Hand::new(seed))).collect()
}

pub(crate) fn set<T: Ord, const N: usize>(items: [T; N]) -> BTreeSet<T> {
    items.into()
}
