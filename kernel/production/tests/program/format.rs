//! `format`: a data file whole, or a sentence and nothing.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::Instant,
};

use chronon::{
    storage::Layout,
    types::{ClusterId, ReplicaId},
    vsr::Config,
};
use chronon_production::DataFile;

use crate::support::{Folder, LAYOUT, PATIENCE, begin, chronon, close, end, format, inspect, run};

#[test]
fn a_file_is_made_and_the_next_command_is_said() {
    let folder = Folder::new("format");
    let made = format(&folder.file(), &["--cluster", "0x2a", "--replica", "1"]);
    assert_eq!(made.status, 0, "{made:?}");
    let addresses = "127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002";
    let next = format!("chronon start --data {} --addresses {addresses}", folder.file().display());
    made.assert_says(&[
        "replica 1 of 3 in cluster 42",
        "room for 64 prepares of up to 32 KiB, and for checkpoints of 256 KiB",
        &next,
    ]);
    assert!(made.err.is_empty(), "{made:?}");
    assert_eq!(fs::metadata(folder.file()).unwrap().len(), LAYOUT.size());

    let (text, json) = inspect("superblock", &folder.file(), &[]);
    assert_eq!(text.status, 0);
    let held = &json["in_force"];
    assert_eq!((&held["cluster"], &held["replica"], &held["replica_count"]), (&42.into(), &1.into(), &3.into()));
    let incarnation = held["incarnation"].as_str().unwrap();
    made.assert_says(&[&format!("incarnation {incarnation}")]);
    assert_eq!(inspect("journal", &folder.file(), &[]).0.status, 0);
}

#[test]
fn no_two_files_have_the_same_incarnation() {
    let folder = Folder::new("incarnation");
    let names = ["a", "b"].map(|name| folder.path().join(name));
    let incarnations = names.map(|file| {
        assert_eq!(format(&file, &[]).status, 0);
        inspect("superblock", &file, &[]).1["in_force"]["incarnation"].clone()
    });
    assert!(incarnations[0].is_string() && incarnations[0] != incarnations[1]);
}

#[test]
fn a_file_that_exists_is_left_alone() {
    let folder = Folder::new("exists");
    fs::write(folder.file(), b"somebody's data").unwrap();
    let refused = format(&folder.file(), &[]);
    assert_eq!(refused.status, 2);
    refused.assert_says(&["exists", "choose another name"]);
    assert_eq!(fs::read(folder.file()).unwrap(), b"somebody's data");
    assert_eq!(folder.names(), ["r0.chronon"]);
}

#[test]
fn numbers_that_make_no_file_are_refused_with_those_that_would() {
    let folder = Folder::new("numbers");
    for (flags, says) in [
        (&["--replica", "3"][..], "of 3, the replicas are 0 to 2"),
        (&["--replicas", "0"], "1 to 6 replicas"),
        (&["--replicas", "7"], "1 to 6 replicas"),
        (&["--slots", "33"], "positive multiple of 32"),
        (&["--slots", "0"], "positive multiple of 32"),
        (&["--slots", "4294967264"], "16777216 at most"),
        (&["--message-size-max", "5000"], "positive multiple of 4096"),
        (&["--message-size-max", "4KiB"], "from 8 KiB to 16 MiB"),
        (&["--message-size-max", "1GiB"], "from 8 KiB to 16 MiB"),
        (&["--message-size-max", "64kb"], "as in 64KiB"),
        (&["--cluster", "seven"], "a number up to"),
        (&["--cluster", "-1"], "--cluster"),
        (&["--cluster", "18446744073709551616"], "--cluster"),
        (&["--replica", "255"], "of 3, the replicas are 0 to 2"),
        (&["--replicas", "255"], "1 to 6 replicas"),
        (&["--slots", "4294967295"], "positive multiple of 32"),
        (&["--message-size-max", "0"], "positive multiple of 4096"),
        (&["--message-size-max", "4294967295"], "positive multiple of 4096"),
        (&["--message-size-max", "4294963200"], "from 8 KiB to 16 MiB"),
        (&["--message-size-max", "18446744073709551615"], "too large"),
        (&["--grid-size", "0"], "--grid-size 0: choose"),
        (&["--clients-max", "0"], "1..=65536"),
        (&["--clients-max", "4294967295"], "1..=65536"),
        (&["--application", ""], "--application: a name is missing"),
    ] {
        let refused = format(&folder.file(), flags);
        assert_eq!(refused.status, 2, "{flags:?}: {refused:?}");
        refused.assert_says(&[says]);
        assert!(folder.names().is_empty(), "{flags:?}");
    }
}

/// What is as large as it can be is more than there is room for, or than a file can be: neither is a panic.
#[test]
fn the_largest_numbers_are_refused_in_words() {
    let folder = Folder::new("largest");
    for flags in [
        &["--grid-size", "18446744073709551615"][..],
        &["--grid-size", "18446744073709551615", "--message-size-max", "16MiB", "--slots", "16777216"],
    ] {
        let refused = format(&folder.file(), flags);
        assert!([2, 3].contains(&refused.status) && !refused.err.contains("panicked"), "{flags:?}: {refused:?}");
        assert!(folder.names().is_empty(), "{flags:?}");
    }
}

#[test]
fn messages_too_small_for_an_application_are_refused_and_a_file_of_such_is_not_served_from() {
    let folder = Folder::new("small");
    let refused = format(&folder.file(), &["--message-size-max", "8KiB"]);
    assert_eq!((refused.status, folder.names().len()), (2, 0), "{refused:?}");
    let (_, sentence) = refused.err.split_once("r0.chronon: ").unwrap();
    assert!(sentence.starts_with("the application's longest response"), "{refused:?}");
    let (_, rest) = sentence.split_once("messages of ").unwrap();
    let (least, _) = rest.split_once(' ').unwrap();
    let made = format(&folder.path().join("enough"), &["--message-size-max", least]);
    assert_eq!((made.status, made.err.as_str()), (0, ""), "what was named is enough");

    let layout = Layout { message_size_max: 8192, block_size: 8192, ..LAYOUT };
    let (file, blocks) = (folder.file(), Config::new(ClusterId(7), ReplicaId(0), 1, layout).format(1));
    DataFile::create(&file, layout.size(), &blocks).unwrap();
    let start = ["start", "--application", "kv", "--addresses", "127.0.0.1:1", "--data", file.to_str().unwrap()];
    let started = chronon(&start);
    assert_eq!((started.status, started.out.as_str()), (2, ""), "{started:?}");
    started.assert_says(&[sentence.trim_end()]);
    assert!(!started.err.contains("serving") && !started.err.contains("panicked"), "{started:?}");
}

#[test]
fn a_file_that_no_disk_has_room_for_is_refused_at_once() {
    let folder = Folder::new("room");
    let refused =
        format(&folder.file(), &["--slots", "16777216", "--message-size-max", "16MiB", "--grid-size", "1MiB"]);
    assert_eq!(refused.status, 3, "{refused:?}");
    refused.assert_says(&["there is no room for", "a smaller file"]);
    assert!(folder.names().is_empty());
}

/// The program under a limit of the size of files that is less than any data file's: blocks of 512 or 1,024 bytes, by the shell.
fn limited(flags: &[&str], file: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -f 1000; exec "$0" "$@""#, env!("CARGO_BIN_EXE_chronon")]).args(flags).arg(file);
    command
}

#[test]
fn a_file_that_may_not_grow_so_large_leaves_nothing() {
    let folder = Folder::new("limit");
    let flags = ["format", "--cluster", "7", "--replica", "0", "--replicas", "1", "--slots", "64", "--data"];
    let refused = run(&mut limited(&flags, &folder.file()));
    assert_eq!(refused.status, 3, "{refused:?}");
    refused.assert_says(&["r0.chronon may not have", "ulimit -f"]);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn a_file_that_could_not_be_written_to_its_end_is_not_served_from() {
    let folder = Folder::new("limit-start");
    let file = folder.formatted(1);
    let mut running = begin(&mut limited(&["start", "--addresses", "127.0.0.1:0", "--data"], &file));
    let started = Instant::now();
    while running.try_wait().unwrap().is_none() && started.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    let _ = running.kill();
    let refused = end(running);
    assert_eq!(refused.status, 3, "{refused:?}");
    refused.assert_says(&["r0.chronon may not have", "ulimit -f"]);
    assert_eq!(inspect("superblock", &file, &[]).0.status, 0, "it may be looked into");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = Folder::new("nowhere");
    let refused = format(&folder.path().join("no/r0.chronon"), &[]);
    assert_eq!(refused.status, 3);
    refused.assert_says(&["cannot create", "no/r0.chronon: No such file"]);
}

/// Ends a format in the middle, and says how that went. One that was over by then is made anew: nobody can hold it up there.
fn in_the_middle<T>(folder: &Folder, end: impl Fn(Child) -> T) -> T {
    let flags = ["format", "--cluster", "7", "--replica", "0", "--replicas", "1", "--data"];
    let started = Instant::now();
    loop {
        let mut running = begin(Command::new(env!("CARGO_BIN_EXE_chronon")).args(flags).arg(folder.file()));
        while folder.names().is_empty() && running.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "it begins");
        }
        let ended = end(running);
        if !folder.file().exists() {
            return ended;
        }
        assert!(started.elapsed() < PATIENCE, "it is over each time");
        fs::remove_file(folder.file()).unwrap();
    }
}

#[test]
fn an_interrupted_format_leaves_nothing() {
    let folder = Folder::new("interrupted");
    let ran = in_the_middle(&folder, |running| {
        let process = rustix::process::Pid::from_child(&running);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        end(running)
    });
    assert_eq!(ran.status, 130, "{ran:?}");
    ran.assert_says(&["was not made: it was stopped"]);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn what_a_format_that_was_killed_left_is_removed_by_the_next() {
    let folder = Folder::new("killed");
    in_the_middle(&folder, |mut running| {
        running.kill().unwrap();
        running.wait().unwrap();
    });
    let left = folder.names();
    assert!(left.len() == 1 && left[0].ends_with(".partial"), "{left:?}");
    let others = ["r1.chronon.0123456789abcdef0123456789abcdef.partial", "r0.chronon.partial", "r0.chronon.1.partial"];
    others.iter().for_each(|name| fs::write(folder.path().join(name), b"somebody's").unwrap());
    assert_eq!(format(&folder.file(), &[]).status, 0);
    let mut names = folder.names();
    names.sort_unstable();
    let mut expected: Vec<_> = others.into_iter().chain(["r0.chronon"]).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn who_looks_into_a_file_that_somebody_has_open_is_told_by_whom_it_is() {
    let folder = Folder::new("open");
    let file = folder.formatted(3);
    let held = DataFile::open(&file).unwrap();
    for what in ["superblock", "journal", "checkpoint"] {
        let looked = chronon(&["inspect", what, file.to_str().unwrap()]);
        assert_eq!(looked.status, 0, "{looked:?}");
        looked.assert_says(&["in use by process", "what is shown is in motion"]);
    }
    close(held, &file);
    let looking = DataFile::open_to_read(&file).unwrap();
    assert_eq!(inspect("superblock", &file, &[]).0.status, 0, "many may look");
    assert!(DataFile::open(&file).is_err(), "and nobody writes meanwhile");
    close(looking, &file);
}

#[test]
fn the_application_is_in_the_file_and_start_takes_it_from_there() {
    let folder = Folder::new("format-application");
    let (alone, bank) = (["--replicas", "1", "--application", "bank"], folder.file());
    assert_eq!(format(&bank, &alone).status, 0);
    let (text, json) = inspect("superblock", &bank, &[]);
    text.assert_says(&["application  bank"]);
    assert_eq!(json["in_force"]["application"], "bank");
    let bank = bank.to_str().unwrap();
    let start = |more: &[&str]| chronon(&[&["start", "--data", bank, "--addresses", "127.0.0.1:0"], more].concat());
    let refused = start(&["--application", "kv"]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.err.contains("is of the application `bank`, and this is `kv`"), "{refused:?}");

    let own = folder.file().with_extension("own");
    assert_eq!(format(&own, &["--application", "counters"]).status, 0);
    let own = own.to_str().unwrap();
    let refused = chronon(&["start", "--data", own, "--addresses", "127.0.0.1:0"]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(
        refused.err.contains("is of the application `counters`, which does not come with this program"),
        "{refused:?}"
    );

    let refused = format(&folder.file().with_extension("none"), &["--application", "Key Values"]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.err.contains("at most 16 letters a to z, digits and hyphens"), "{refused:?}");
}
