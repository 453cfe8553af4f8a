//! `recover`: refused in words wherever it would not be safe. That it recovers is shown by real processes (tests/processes).

use std::{fs, net::TcpListener, process::Command};

use chronon::storage::layout::SUPERBLOCK_COPY_SIZE;
use chronon_production::{DataFile, DataFileError};

use crate::support::{Folder, Ran, begin, chronon, end, inspect, run, write};

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1,127.0.0.1:1,127.0.0.1:1";

fn recover(folder: &Folder, flags: &[&str]) -> Ran {
    run(&mut command(folder, flags))
}

fn command(folder: &Folder, flags: &[&str]) -> Command {
    let file = folder.file();
    let mut given = vec![("--cluster", "7"), ("--replica", "0"), ("--replicas", "3"), ("--addresses", NOBODY)];
    given.push(("--data", file.to_str().unwrap()));
    given.push(("--patience-ms", "200"));
    given.retain(|(flag, _)| !flags.contains(flag));
    let usual = given.iter().flat_map(|(flag, value)| [*flag, *value]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronon"));
    command.arg("recover").args(usual).args(flags);
    command
}

#[test]
fn numbers_of_which_nobody_can_be_recovered_are_refused_with_the_reason() {
    let folder = Folder::new("recover-numbers");
    let two = "127.0.0.1:1,127.0.0.1:1";
    for (flags, says) in [
        (&["--replicas", "1", "--addresses", "127.0.0.1:1"][..], "a single replica has no others"),
        (&["--replicas", "2", "--addresses", two], "of 2 replicas the others are no majority without the lost one"),
        (&["--replicas", "7"], "1 to 6 replicas"),
        (&["--replica", "3"], "of 3, the replicas are 0 to 2"),
        (&["--addresses", two], "2 of 3 replicas are given"),
    ] {
        let refused = recover(&folder, flags);
        assert_eq!(refused.status, 2, "{flags:?}: {refused:?}");
        refused.assert_says(&[says]);
        assert!(folder.names().is_empty(), "{flags:?}");
    }
}

#[test]
fn without_a_majority_of_others_nothing_is_made() {
    let folder = Folder::new("recover-alone");
    let refused = recover(&folder, &[]);
    assert_eq!(refused.status, 3, "{refused:?}");
    refused.assert_says(&["0 of the others answer, and it takes 2", "start them first", "127.0.0.1:1"]);
    assert!(folder.names().is_empty());
}

#[test]
fn a_file_that_is_not_lost_is_left_alone() {
    let folder = Folder::new("recover-sound");
    let file = folder.formatted(3);
    let before = fs::read(&file).unwrap();
    let refused = recover(&folder, &[]);
    assert_eq!(refused.status, 2, "{refused:?}");
    let (_, json) = inspect("superblock", &file, &[]);
    refused.assert_says(&["is no lost file", "replica 0 of 3", json["in_force"]["incarnation"].as_str().unwrap()]);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(folder.names(), ["r0.chronon"]);
}

#[test]
fn what_is_left_of_a_lost_file_stays_until_there_is_another() {
    let folder = Folder::new("recover-lost");
    let file = folder.formatted(3);
    for copy in 0..4 {
        write(&file, copy * u64::from(SUPERBLOCK_COPY_SIZE) + 100, b"noise");
    }
    let before = fs::read(&file).unwrap();
    let refused = recover(&folder, &[]);
    assert_eq!(refused.status, 3, "it gets as far as asking the others: {refused:?}");
    assert_eq!((fs::read(&file).unwrap(), folder.names()), (before, vec!["r0.chronon".to_owned()]));
    fs::write(folder.path().join("r0.chronon.lost"), b"of another time").unwrap();
    let refused = recover(&folder, &[]);
    assert_eq!(refused.status, 2);
    refused.assert_says(&["r0.chronon.lost exists", "move it out of the way"]);
}

#[test]
fn what_is_left_of_a_lost_file_is_nobody_else_s_while_the_others_are_asked() {
    let folder = Folder::new("recover-held");
    let file = folder.file();
    fs::write(&file, b"cut short").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let addresses = format!("127.0.0.1:1,{address},127.0.0.1:1");
    let mut command = command(&folder, &["--addresses", &addresses, "--patience-ms", "60000"]);
    let running = begin(&mut command);
    let asked = other.accept().unwrap();
    for open in [DataFile::open_to_read, DataFile::open_to_set_aside] {
        let error = open(&file).unwrap_err();
        assert!(matches!(error, DataFileError::Locked(..)), "{error}");
    }
    drop((asked, other));
    let refused = end(running);
    assert_eq!(refused.status, 3, "{refused:?}");
    assert_eq!(folder.names(), ["r0.chronon"]);
}

#[test]
fn a_file_that_was_cut_short_or_grew_is_a_lost_one_to_start_and_to_recover() {
    let folder = Folder::new("recover-cut");
    let file = folder.formatted(3);
    let whole = fs::read(&file).unwrap();
    let longer = [&whole[..], &[0; 4096]].concat();
    let sizes: [&[u8]; 5] = [&whole[..whole.len() - 4096], &whole[..whole.len() / 2 + 1], &whole[..8192], &[], &longer];
    for left in sizes {
        fs::write(&file, left).unwrap();
        let refused =
            chronon(&["start", "--data", file.to_str().unwrap(), "--addresses", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"]);
        assert_eq!(refused.status, 2, "{refused:?}");
        refused.assert_says(&["chronon recover"]);
        let asked = recover(&folder, &[]);
        assert_eq!(asked.status, 3, "it gets as far as asking the others: {} bytes: {asked:?}", left.len());
        asked.assert_says(&["0 of the others answer"]);
        assert_eq!((fs::read(&file).unwrap(), folder.names()), (left.to_vec(), vec!["r0.chronon".to_owned()]));
    }
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    for flags in [["--replica", "1"], ["--cluster", "8"]] {
        let refused = recover(&folder, &flags);
        assert_eq!(refused.status, 2, "it is another replica's: {refused:?}");
        refused.assert_says(&["holds replica 0 of 3 in cluster 7", "check the flags"]);
    }
}

#[test]
fn help_says_what_it_is_for_and_what_never_to_do() {
    let help = chronon(&["recover", "--help"]);
    assert_eq!(help.status, 0);
    help.assert_says(&[
        "a replica that lost its own",
        "of one or two replicas none is recovered",
        "Never start what was lost",
    ]);
}
