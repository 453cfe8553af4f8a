//! What the data files of replicas that no longer run hold.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use chronon::{
    storage::journal::{PrepareRead, parse_prepare},
    types::Op,
};

use crate::cluster::{CLUSTER, LAYOUT};

/// All hold the same prepares from the first op to `committed`, byte for byte.
pub(crate) fn must_agree(paths: &[PathBuf], committed: u64) {
    assert!(committed > 0 && committed < u64::from(LAYOUT.slot_count), "{committed} ops fit the journal");
    let files: Vec<File> = paths.iter().map(|path| File::open(path).unwrap()).collect();
    for op in (1..=committed).map(Op) {
        let first = prepare(&files[0], op, "r0");
        for (replica, file) in files.iter().enumerate().skip(1) {
            let other = prepare(file, op, &format!("r{replica}"));
            assert!(first == other, "{op} differs between r0 and r{replica}");
        }
    }
}

/// The bytes of the prepare of `op`.
fn prepare(file: &File, op: Op, whose: &str) -> Vec<u8> {
    let slot = LAYOUT.slot(op);
    let mut bytes = vec![0; LAYOUT.message_size_max as usize];
    file.read_exact_at(&mut bytes, LAYOUT.prepare_offset(slot)).unwrap();
    match parse_prepare(&bytes, slot, &LAYOUT, CLUSTER) {
        PrepareRead::Valid(header) if header.op == op => {
            bytes.truncate(header.size as usize);
            bytes
        }
        other => panic!("{whose} was to hold {op}, and its slot holds {other:?}"),
    }
}
