//! What the data files of replicas that no longer run hold.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use chronon::{
    storage::{
        journal::{PrepareRead, parse_prepare},
        layout::Layout,
    },
    types::Op,
};
use chronon_production::{DataFile, inspect};

use crate::cluster::CLUSTER;

/// All hold the same prepares, byte for byte: from the first op to `committed` as long as the journal has not come round, and then from the
/// latest checkpoint on; and of those that have the same checkpoint, all have the same root.
pub(crate) fn must_agree(paths: &[PathBuf], layout: &Layout, committed: u64) {
    let files: Vec<File> = paths.iter().map(|path| File::open(path).unwrap()).collect();
    let checkpoints = paths.iter().map(|path| {
        let superblock = inspect::opened(&DataFile::open_to_read(path).unwrap()).unwrap();
        (superblock.checkpoint.header.op, superblock.checkpoint.root)
    });
    let mut checkpoints: Vec<_> = checkpoints.collect();
    checkpoints.sort_unstable();
    checkpoints.dedup();
    let alike = checkpoints.windows(2).all(|pair| pair[0].0 < pair[1].0);
    assert!(alike, "one op has one checkpoint: {checkpoints:?}");
    let latest = checkpoints.last().expect("there are replicas").0.0;
    let first = if committed < u64::from(layout.slot_count) { 1 } else { latest + 1 };
    assert!(
        committed >= latest && committed > 0 && committed - latest < layout.slot_count.into(),
        "{committed}, {latest}"
    );
    for op in (first..=committed).map(Op) {
        let one = prepare(&files[0], layout, op, "r0");
        for (replica, file) in files.iter().enumerate().skip(1) {
            let other = prepare(file, layout, op, &format!("r{replica}"));
            assert!(one == other, "{op} differs between r0 and r{replica}");
        }
    }
}

/// The bytes of the prepare of `op`.
fn prepare(file: &File, layout: &Layout, op: Op, whose: &str) -> Vec<u8> {
    let slot = layout.slot(op);
    let mut bytes = vec![0; layout.message_size_max as usize];
    file.read_exact_at(&mut bytes, layout.prepare_offset(slot)).unwrap();
    match parse_prepare(&bytes, slot, layout, CLUSTER) {
        PrepareRead::Valid(header) if header.op == op => {
            bytes.truncate(header.size as usize);
            bytes
        }
        other => panic!("{whose} was to hold {op}, and its slot holds {other:?}"),
    }
}
