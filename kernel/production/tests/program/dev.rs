//! `dev`: what it says of a folder that it cannot serve from, and how it ends.

use std::{
    io::{BufRead, BufReader},
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, begin, chronon, end, format};

#[test]
fn a_folder_with_a_cluster_of_another_size_is_left_alone_and_its_size_is_told() {
    let folder = Folder::new("dev-size");
    assert_eq!(format(&folder.path().join("replica-0.chronon"), &["--replicas", "3"]).status, 0);
    for replicas in ["1", "5"] {
        let refused = chronon(&["dev", "--folder", folder.path().to_str().unwrap(), "--replicas", replicas]);
        assert_eq!(refused.status, 2, "{refused:?}");
        refused.assert_says(&["holds a cluster with 3 for", &format!("and not {replicas}"), "--replicas 3"]);
        assert_eq!(folder.names(), ["replica-0.chronon"], "nothing is made beside it");
        assert!(!refused.err.contains("making"), "{refused:?}");
    }
}

#[test]
fn a_sink_s_file_that_cannot_be_made_is_named() {
    let folder = Folder::new("dev-sink");
    let flags = ["dev", "--replicas", "1", "--sink", "0=file:/nonexistent/x", "--folder"];
    let refused = chronon(&[&flags[..], &[folder.path().to_str().unwrap()]].concat());
    assert_eq!(refused.status, 3, "{refused:?}");
    refused.assert_says(&["making the data files", "the sink for channel 0 cannot be used: /nonexistent/x: "]);
}

#[test]
fn it_serves_until_it_is_interrupted_and_its_status_says_so() {
    let folder = Folder::new("dev-interrupted");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronon"));
    let mut running = begin(command.args(["dev", "--replicas", "1", "--folder", folder.path().to_str().unwrap()]));
    let mut said = BufReader::new(running.stdout.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("serves until Ctrl-C"));
    kill_process(Pid::from_child(&running), Signal::INT).unwrap();
    // Its end of what it says must not be closed before it has said it.
    said.for_each(|line| drop(line.unwrap()));
    let ended = end(running);
    assert_eq!(ended.status, 130, "{ended:?}");
    assert_eq!(folder.names(), ["replica-0.chronon"], "for the next time");
}
