//! What the program says of itself, and of arguments that make no sense, to it or to the cluster that it asks.

use std::process::Stdio;

use chronon::{storage::superblock::FORMAT_VERSION, wire::header::VERSION};

use crate::{
    replica::Replica,
    support::{Folder, Ran, chronon},
};

#[test]
fn help_teaches_with_an_example() {
    let help = chronon(&["--help"]);
    assert_eq!(help.status, 0);
    help.assert_says(&[
        "chronon format --cluster 7 --replica 2",
        "chronon start --data",
        "get greeting",
        "EXIT STATUS",
    ]);
    assert!(help.err.is_empty());
}

#[test]
fn version_says_what_is_spoken_and_read() {
    let version = chronon(&["version"]);
    assert_eq!(version.status, 0);
    let (protocol, format) = (format!("protocol         {VERSION}"), format!("data file format {FORMAT_VERSION}"));
    version.assert_says(&[env!("CARGO_PKG_VERSION"), &protocol, &format, "disk sync"]);
    let json = chronon(&["version", "--json"]).json();
    assert_eq!((&json["protocol"], &json["data_file_format"]), (&VERSION.into(), &FORMAT_VERSION.into()));
}

#[test]
fn what_makes_no_sense_is_a_matter_of_usage() {
    for arguments in [&[][..], &["nonsense"], &["format"], &["inspect"], &["inspect", "journal", "f", "--ops", "9..5"]]
    {
        let ran = chronon(arguments);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{ran:?}");
    }
    chronon(&["inspct"]).assert_says(&["'inspect'"]);
}

/// A command of each kind that asks a cluster.
const ASKING: [&[&str]; 6] = [
    &["kv", "--patience-ms", "10000", "get", "key"],
    &["repl", "--patience-ms", "10000"],
    &["jobs", "--patience-ms", "10000", "count"],
    &["effects", "list", "--patience-ms", "10000"],
    &["bank"],
    &["bench"],
];

/// With these addresses. They come behind the name of the command, or behind that of what it is asked.
fn ask(command: &[&str], addresses: &str) -> Vec<String> {
    let behind = if command[0] == "effects" { 2 } else { 1 };
    let (name, rest) = command.split_at(behind);
    [name, &["--addresses", addresses], rest].concat().into_iter().map(str::to_owned).collect()
}

fn ran(command: &[&str], addresses: &str) -> Ran {
    let arguments = ask(command, addresses);
    chronon(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn addresses_that_are_no_cluster_s_are_a_matter_of_usage_and_nobody_there_one_of_the_machine() {
    let folder = Folder::new("usage");
    let mut replica = Replica::start(&folder.file(), Stdio::null());
    replica.until_it_serves();
    let address = replica.address();
    for command in ASKING {
        for (addresses, status, words) in [
            (["127.0.0.1:1"; 7].join(","), 2, "7 addresses: give one for each replica"),
            (format!("{address},127.0.0.1:1"), 2, "2 addresses for 1 replicas"),
            ("127.0.0.1:1".to_owned(), 3, "none of the replicas says how it is"),
        ] {
            let ran = ran(command, &addresses);
            assert_eq!(ran.status, status, "{command:?}: {ran:?}");
            ran.assert_says(&[words]);
        }
    }
}

#[test]
fn what_is_larger_than_a_message_may_be_is_a_matter_of_usage() {
    let folder = Folder::new("usage-large");
    let mut replica = Replica::start(&folder.file(), Stdio::null());
    replica.until_it_serves();
    let (address, most) = (replica.address().to_string(), "v".repeat(16 << 10));
    for (command, words) in [
        (&["kv", "put", "key", &most.repeat(2)][..], "a value has at most 16384 bytes"),
        (&["kv", "cas", "key", &most, "--expected", &most], "the request is too large and was not executed"),
    ] {
        let ran = ran(command, &address);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{}", ran.err);
        ran.assert_says(&[words]);
    }
    replica.must_serve();
}

#[test]
fn which_cluster_is_taken_before_what_is_asked_and_after_it_alike() {
    let cluster = ["--addresses", "127.0.0.1:1", "--patience-ms", "60000"];
    for (command, asked) in
        [("kv", &["get", "k"][..]), ("jobs", &["take"]), ("effects", &["list"]), ("effects", &["drop", "--all"])]
    {
        let before = chronon(&[&[command], &cluster[..], asked].concat());
        let after = chronon(&[&[command], asked, &cluster[..]].concat());
        let between = chronon(&[&[command], &cluster[..2], asked, &cluster[2..]].concat());
        for ran in [before, after, between] {
            assert_eq!(ran.status, 3, "nobody listens there: {ran:?}");
            ran.assert_says(&["no replica answers at 127.0.0.1:1"]);
        }
        let nowhere = chronon(&[&[command], asked].concat());
        assert_eq!(nowhere.status, 2, "{nowhere:?}");
        nowhere.assert_says(&["--addresses A,B,C is missing"]);
    }
}
