//! `inspect superblock`: each copy, and what a replica would make of them.

use std::fs;

use chronon::{
    storage::{Superblock, layout::SUPERBLOCK_COPY_SIZE},
    types::Checksum,
};
use serde_json::{Value, json};

use crate::{
    served::serve,
    support::{Folder, LAYOUT, flip, format, inspect, read, write},
};

const COPY: usize = SUPERBLOCK_COPY_SIZE as usize;

fn states(report: &Value) -> Vec<&str> {
    report["copies"].as_array().unwrap().iter().map(|copy| copy["state"].as_str().unwrap()).collect()
}

#[test]
fn a_replica_that_served_left_four_copies_in_force() {
    let folder = Folder::new("superblock-served");
    let file = folder.formatted(1);
    serve(&file, 5);
    serve(&file, 5);
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (0, vec!["in_force"; 4]));
    text.assert_says(&["replica 0 of 1 in cluster 7", "64 slots of 32 KiB", "no damage"]);
    let held = &report["in_force"];
    assert_eq!(held["view"], held["log_view"]);
    assert!(held["head"].as_u64().unwrap() >= 6 && held["view"].as_u64().unwrap() >= 2, "{held}");
    let last = held["suffix"].as_array().unwrap().last().unwrap();
    assert_eq!(last["op"], held["head"]);
}

#[test]
fn each_kind_of_damage_to_a_copy_is_named() {
    let folder = Folder::new("superblock-damage");
    let file = folder.formatted(3);
    flip(&file, 8);
    flip(&file, COPY as u64 + 140);
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (1, vec!["damaged", "damaged", "in_force", "in_force"]));
    text.assert_says(&["the copy does not match its checksum", "the content does not match its checksum", "DAMAGED"]);
    assert_eq!((&report["replaced_at_start"], &report["refusal"]), (&json!([0, 1]), &Value::Null));

    write(&file, 2 * COPY as u64, &read(&file, 3 * COPY as u64, COPY));
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (1, vec!["damaged", "damaged", "misdirected", "valid"]));
    text.assert_says(&["this is copy 3, in another's place", "no two copies of the superblock agree"]);
    assert_eq!(report["in_force"], Value::Null);

    write(&file, 0, &vec![0; 4 * COPY]);
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (1, vec!["blank"; 4]));
    text.assert_says(&["unless the file was never formatted it is lost", "do not format it again"]);
    let start = ["start", "--addresses", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", "--data", file.to_str().unwrap()];
    let started = crate::support::chronon(&start);
    assert_eq!(started.status, 2, "{started:?}");
    started.assert_says(&["`chronon recover` makes a new one through the other replicas"]);
}

/// A whole file that another program wrote is not damaged, whatever is asked of it: nobody is to put it aside for that.
#[test]
fn a_file_of_another_format_is_named_and_not_called_damaged() {
    let folder = Folder::new("superblock-format");
    let file = folder.formatted(3);
    for copy in 0..4 {
        let mut bytes = read(&file, copy * COPY as u64, COPY);
        bytes[72] = 9;
        let content = 512 + 128 * usize::from(bytes[32]);
        for (place, from, to) in [(16, 64, content), (0, 16, 64)] {
            let checksum = Checksum::of(&bytes[from..to]).0.to_le_bytes();
            bytes[place..place + 16].copy_from_slice(&checksum);
        }
        write(&file, copy * COPY as u64, &bytes);
    }
    for what in ["journal", "checkpoint"] {
        let told = crate::support::chronon(&["inspect", what, file.to_str().unwrap()]);
        assert_eq!(told.status, 2, "{told:?}");
        told.assert_says(&["the data file has format 9", "use the program that wrote it"]);
        assert!(!told.out.contains("DAMAGED"), "{told:?}");
    }
}

#[test]
fn what_an_update_that_was_cut_off_leaves_is_no_damage() {
    let folder = Folder::new("superblock-update");
    let file = folder.formatted(3);
    let first = Superblock::decode(&read(&file, 0, COPY), 0).unwrap();
    let second = Superblock { view: chronon::types::View(4), ..first.successor() };
    write(&file, 0, &second.encode(0));
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (0, vec!["newer", "in_force", "in_force", "in_force"]));
    text.assert_says(&["the next one, whose update got no further"]);

    write(&file, COPY as u64, &second.encode(1));
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (0, vec!["in_force", "in_force", "older", "older"]));
    assert_eq!((&report["in_force"]["view"], &report["replaced_at_start"]), (&4.into(), &json!([2, 3])));

    // A write that was lost leaves a copy two behind, which no cut does.
    let third = second.successor();
    for copy in [0, 1, 2] {
        write(&file, u64::from(copy) * COPY as u64, &third.encode(copy));
    }
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (1, vec!["in_force", "in_force", "in_force", "stray"]));
}

#[test]
fn a_copy_of_another_file_is_told() {
    let folder = Folder::new("superblock-foreign");
    let file = folder.formatted(3);
    let other = folder.path().join("r1.chronon");
    assert_eq!(format(&other, &["--replica", "1"]).status, 0);
    write(&file, 3 * COPY as u64, &read(&other, 3 * COPY as u64, COPY));
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (1, vec!["in_force", "in_force", "in_force", "foreign"]));
    text.assert_says(&["of replica 1 of 3 in cluster 7 (kv) as another file has it"]);
}

#[test]
fn files_that_are_cut_short_empty_or_something_else_are_looked_into_too() {
    let folder = Folder::new("superblock-cut");
    let file = folder.formatted(3);
    let cut = |length: u64| {
        fs::File::options().write(true).open(&file).unwrap().set_len(length).unwrap();
        inspect("superblock", &file, &[])
    };
    let (text, report) = cut(LAYOUT.size() - 1);
    assert_eq!((text.status, states(&report)), (1, vec!["in_force"; 4]));
    text.assert_says(&["1 byte short of what its layout has"]);
    let (text, report) = cut(3 * COPY as u64 - 1);
    assert_eq!((text.status, states(&report)), (1, vec!["in_force", "in_force", "unreadable", "unreadable"]));
    text.assert_says(&["cannot be read: the file ends before it"]);
    let (text, report) = cut(0);
    assert_eq!((text.status, states(&report)), (1, vec!["unreadable"; 4]));

    fs::write(&file, b"no data file at all, ".repeat(10_000)).unwrap();
    let (text, report) = inspect("superblock", &file, &[]);
    assert_eq!((text.status, states(&report)), (1, vec!["damaged"; 4]));

    let gone = crate::support::chronon(&["inspect", "superblock", folder.path().join("none").to_str().unwrap()]);
    assert_eq!(gone.status, 2);
    gone.assert_says(&["none does not exist"]);
    let folder = crate::support::chronon(&["inspect", "superblock", folder.path().to_str().unwrap()]);
    assert_eq!(folder.status, 2);
    folder.assert_says(&["no regular file"]);
}
