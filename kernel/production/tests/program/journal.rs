//! `inspect journal`: every slot by the decision table, the log, its hash chain, and files that are hardly any more.

use std::{fs, path::Path};

use chronon::{
    frame::SECTOR_SIZE,
    storage::{Superblock, journal::ring_entry, layout::SUPERBLOCK_COPIES},
    types::{ClusterId, Op, Timestamp, View},
    wire::{Command, HEADER_SIZE, Header},
};
use serde_json::{Value, json};

use crate::{
    served::serve,
    support::{Folder, LAYOUT, Ran, chronon, flip, inspect, read, write},
};

const SLOT: usize = LAYOUT.message_size_max as usize;

/// A slot that a log of more than ten ops has, and one that no write has come near.
const HELD: u32 = 5;
const FAR: u32 = 60;

fn entry(slot: u32) -> u64 {
    LAYOUT.header_ring_offset() + u64::from(slot) * HEADER_SIZE as u64
}

fn prepare(slot: u32) -> u64 {
    LAYOUT.prepare_offset(slot)
}

/// A journal that a single replica filled in two lives, and its head.
fn served(folder: &Folder) -> (Vec<u8>, u32) {
    let file = folder.formatted(1);
    serve(&file, 10);
    serve(&file, 10);
    let head = inspect("journal", &file, &[]).1["head"].as_u64().unwrap();
    (fs::read(file).unwrap(), u32::try_from(head).unwrap())
}

/// How many slots are of a class.
fn count(report: &Value, class: &str) -> u64 {
    report["slots"][class].as_u64().unwrap()
}

#[test]
fn what_a_replica_wrote_in_two_lives_is_whole() {
    let folder = Folder::new("journal-whole");
    let (_, head) = served(&folder);
    assert!((22..40).contains(&head), "20 puts, two registrations, and what began the second life: {head}");
    let (text, report) = inspect("journal", &folder.file(), &[]);
    assert_eq!((text.status, &report["is_damaged"]), (0, &json!(false)), "{text:?}");
    assert_eq!((&report["first_op"], &report["links"], &report["broken_links"]), (&json!(0), &json!(head), &json!([])));
    assert_eq!((count(&report, "clean"), count(&report, "empty")), (u64::from(head) + 1, 63 - u64::from(head)));
    assert!(report["commit"].as_u64().unwrap() >= u64::from(head) - 1, "{report}");
    text.assert_says(&[&format!("ops 0 to {head} of view"), "none broken", "from the superblock", "no damage"]);

    let (text, prepares) = inspect("journal", &folder.file(), &["--ops", "1..3"]);
    assert_eq!((text.status, &prepares["held_from"]), (0, &json!(0)));
    let prepares = &prepares["prepares"];
    assert_eq!(prepares.as_array().unwrap().len(), 3);
    let (first, second) = (&prepares[0], &prepares[1]);
    assert_eq!((&first["op"], &first["row"], &first["requests"]), (&json!(1), &json!("D"), &json!(1)));
    assert_eq!(second["header"]["parent"], first["header"]["checksum"]);
    text.assert_says(&["requests", &first["header"]["checksum"].as_str().unwrap()[..8]]);
    let (_, all) = inspect("journal", &folder.file(), &["--ops", "0.."]);
    assert!(all["prepares"].as_array().unwrap().len() > head as usize, "as far as anything can have been written");
}

/// What is done, to which slot, and what is to be found then: the class and the row of the slot, and whether it is damage. Slot
/// and file are those of a log that ends with the head that is given.
type Harm = (&'static str, fn(u32) -> u32, fn(&Path, u32), (&'static str, char, bool));

#[test]
fn each_kind_of_harm_to_a_slot_is_named() {
    let folder = Folder::new("journal-harm");
    let (bytes, head) = served(&folder);
    let file = folder.file();
    let cases: [Harm; 15] = [
        ("an entry", |_| HELD, |file, _| flip(file, entry(HELD) + 70), ("corrupt", 'K', true)),
        ("a header", |_| HELD, |file, _| flip(file, prepare(HELD) + 70), ("corrupt", 'J', true)),
        ("a body", |_| HELD, |file, _| flip(file, prepare(HELD) + 5000), ("corrupt", 'J', true)),
        (
            "both",
            |_| HELD,
            |file, _| [entry(HELD), prepare(HELD)].into_iter().for_each(|at| flip(file, at)),
            ("corrupt", 'M', true),
        ),
        ("a prepare lost", |_| HELD, |file, _| write(file, prepare(HELD), &[0; SLOT]), ("corrupt", 'J', true)),
        (
            "all of it lost",
            |_| HELD,
            |file, _| {
                write(file, prepare(HELD), &[0; SLOT]);
                write(file, entry(HELD), &[0; HEADER_SIZE]);
            },
            ("missing", 'A', true),
        ),
        (
            "another's prepare",
            |_| HELD,
            |file, _| write(file, prepare(HELD), &read(file, prepare(6), SLOT)),
            ("misdirected", 'O', true),
        ),
        (
            "a sector of the header ring",
            |_| HELD,
            |file, _| write(file, prepare(HELD), &read(file, entry(0), SECTOR_SIZE)),
            ("misdirected", 'O', true),
        ),
        (
            "another's entry",
            |_| HELD,
            |file, _| write(file, entry(HELD), &read(file, entry(6), HEADER_SIZE)),
            ("misdirected", 'K', true),
        ),
        (
            "the last entry lost",
            |head| head,
            |file, head| write(file, entry(head), &[0; HEADER_SIZE]),
            ("unfinished", 'C', false),
        ),
        ("a torn write", |head| head + 1, |file, head| write(file, prepare(head + 1) + 99, &[1]), ("torn", 'B', false)),
        ("an entry ahead", |head| head + 1, |file, head| flip(file, entry(head + 1)), ("corrupt", 'L', true)),
        (
            "another's prepare ahead",
            |head| head + 1,
            |file, head| write(file, prepare(head + 1), &read(file, prepare(6), SLOT)),
            ("misdirected", 'N', true),
        ),
        ("noise far away", |_| FAR, |file, _| write(file, prepare(FAR) + 99, &[1]), ("noise", 'B', true)),
        ("an entry far away", |_| FAR, |file, _| flip(file, entry(FAR)), ("corrupt", 'L', true)),
    ];
    for (what, slot, harm, (class, row, is_damage)) in cases {
        fs::write(&file, &bytes).unwrap();
        harm(&file, head);
        let (text, report) = inspect("journal", &file, &[]);
        let found = report["irregular"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{what}: {text:?}");
        let slot = slot(head);
        assert_eq!((&found[0]["first_slot"], &found[0]["last_slot"]), (&json!(slot), &json!(slot)), "{what}: {text:?}");
        let (found_class, found_row) = (&found[0]["class"], &found[0]["row"]);
        assert_eq!((found_class, found_row), (&json!(class), &json!(row.to_string())), "{what}: {text:?}");
        assert_eq!((text.status, count(&report, class)), (i32::from(is_damage), 1), "{what}: {text:?}");
        text.assert_says(&[&format!("slot {slot} (op {slot}): {class}, row {row}: ")]);
        assert_eq!(report["broken_links"], json!([]), "{what}");

        let (text, prepares) = inspect("journal", &file, &["--ops", &slot.to_string()]);
        let is_told = is_damage && !matches!(class, "missing" | "noise");
        assert_eq!(text.status, i32::from(is_told), "{what}: {text:?}");
        let seen = prepares["prepares"].as_array().unwrap().first().map(|prepare| prepare["row"].clone());
        assert_eq!(seen, (class != "noise").then(|| json!(row.to_string())), "{what}");
    }
}

#[test]
fn what_lies_behind_a_prepare_is_no_part_of_it() {
    let folder = Folder::new("journal-behind");
    served(&folder);
    flip(&folder.file(), prepare(HELD) + SLOT as u64 - 1);
    let (text, report) = inspect("journal", &folder.file(), &[]);
    assert_eq!((text.status, &report["irregular"]), (0, &json!([])), "{text:?}");
}

#[test]
fn a_sound_prepare_that_its_successor_does_not_name_breaks_the_chain() {
    let folder = Folder::new("journal-chain");
    served(&folder);
    let file = folder.file();
    let header = Header::decode(&read(&file, prepare(HELD), HEADER_SIZE)).unwrap();
    let body = read(&file, prepare(HELD) + HEADER_SIZE as u64, header.size as usize - HEADER_SIZE);
    put(&file, &Header { timestamp: Timestamp(header.timestamp.0 + 1), ..header }.sealed(&body));
    write(&file, prepare(HELD) + HEADER_SIZE as u64, &body);
    let (text, report) = inspect("journal", &file, &[]);
    assert_eq!((text.status, &report["irregular"]), (1, &json!([])), "each slot by itself is sound: {text:?}");
    assert_eq!(report["broken_links"], json!(["op 6 does not name the one before it as its parent"]));
    text.assert_says(&["broken: op 6", "DAMAGED"]);
}

/// Writes a header over its slot and its entry.
fn put(file: &Path, header: &Header) {
    let slot = LAYOUT.slot(header.op);
    write(file, prepare(slot), &header.encode());
    write(file, entry(slot), &ring_entry(&header.encode()));
}

/// Changes what the superblock of a file says.
fn promise(file: &Path, change: fn(Superblock) -> Superblock) {
    let held = Superblock::decode(&read(file, 0, 8192), 0).unwrap();
    let next = change(held.successor());
    for copy in 0..SUPERBLOCK_COPIES {
        write(file, LAYOUT.superblock_offset(copy), &next.encode(copy));
    }
}

#[test]
fn what_earlier_views_left_and_what_came_too_early_is_no_damage() {
    let folder = Folder::new("journal-leftovers");
    let file = folder.formatted(3);
    promise(&file, |superblock| Superblock { view: View(2), log_view: View(2), ..superblock });
    let root = Header::root(ClusterId(7));
    let follows = |parent: &Header, op, view| {
        let header = Header::new(ClusterId(7), Command::Prepare, 0, View(view));
        Header { op: Op(op), context: parent.checksum.0, ..header }.sealed(&[])
    };
    // The log is op 1 of view 2; op 3 is there before op 2, of which view 1 left another.
    let first = follows(&root, 1, 2);
    put(&file, &first);
    put(&file, &follows(&root, 2, 1));
    put(&file, &follows(&follows(&first, 2, 2), 3, 2));
    let (text, report) = inspect("journal", &file, &[]);
    assert_eq!((text.status, &report["head"], &report["links"]), (0, &json!(1), &json!(1)), "{text:?}");
    assert_eq!(["clean", "stale", "ahead"].map(|class| count(&report, class)), [2, 1, 1]);
    text.assert_says(&["slot 2 (op 2): stale, row D", "of a view that gave it up", "slot 3 (op 3): ahead, row D"]);

    // A write that was cut off, over what nothing wants any more.
    flip(&file, prepare(2) + 70);
    let (text, report) = inspect("journal", &file, &[]);
    assert_eq!((text.status, count(&report, "torn")), (0, 1), "{text:?}");
    text.assert_says(&["slot 2 (op 2): torn, row J"]);

    // One view has one log, and none is of a view that was never entered.
    put(&file, &follows(&root, 2, 2));
    put(&file, &follows(&first, 3, 9));
    let (text, report) = inspect("journal", &file, &[]);
    let broken = json!([
        "op 2 does not name the one before it as its parent",
        "op 3 is of a view that the superblock has never heard of"
    ]);
    assert_eq!((text.status, &report["broken_links"]), (1, &broken));
}

#[test]
fn an_op_that_the_superblock_names_and_nobody_wrote_is_to_be_fetched_if_there_are_others() {
    for (replicas, status, says) in [(3, 0, "fetched from the other replicas"), (1, 1, "which nobody else has")] {
        let folder = Folder::new(&format!("journal-missing-{replicas}"));
        let file = folder.formatted(replicas);
        promise(&file, |superblock| {
            let root = superblock.suffix[0];
            let header = Header::new(superblock.cluster, Command::Prepare, 0, View(0));
            let first = Header { op: Op(1), context: root.checksum.0, ..header }.sealed(&[]);
            Superblock { head: Op(1), suffix: vec![root, first], ..superblock }
        });
        let (text, report) = inspect("journal", &file, &[]);
        assert_eq!((text.status, count(&report, "missing")), (status, 1), "{text:?}");
        text.assert_says(&[says]);
    }
}

#[test]
fn a_file_that_was_cut_is_read_as_far_as_it_goes() {
    let folder = Folder::new("journal-cut");
    let (_, head) = served(&folder);
    let file = folder.file();
    let cut = |length: u64| {
        fs::File::options().write(true).open(&file).unwrap().set_len(length).unwrap();
        inspect("journal", &file, &[])
    };
    let (text, report) = cut(prepare(50) + 10);
    assert_eq!((text.status, count(&report, "unreadable"), count(&report, "clean")), (1, 14, u64::from(head) + 1));
    text.assert_says(&[
        "slots 50 to 63 (ops 50 to 63): unreadable",
        "the file ends before it",
        "short of what its layout",
    ]);
    let (text, report) = cut(entry(33));
    assert_eq!((text.status, count(&report, "unreadable")), (1, 64), "{text:?}");
    let (text, _) = cut(LAYOUT.header_ring_offset());
    assert_eq!(text.status, 1, "{text:?}");

    fs::File::options().write(true).open(&file).unwrap().set_len(LAYOUT.size() + 1).unwrap();
    inspect("journal", &file, &[]).0.assert_says(&["1 byte more than its layout has"]);
}

/// So damaged that nothing is to be said but that, which is as good a finding as any.
fn lost(what: &str, file: &Path, flags: &[&str], says: &str) {
    let (text, report) = inspect(what, file, flags);
    assert_eq!((text.status, &report["is_damaged"]), (1, &json!(true)), "{text:?}");
    text.assert_says(&[says, "DAMAGED"]);
    assert!(report["refusal"].as_str().unwrap().contains(says), "{report}");
}

fn refused(file: &Path, flags: &[&str]) -> Ran {
    let ran = chronon(&[&["inspect", "journal", file.to_str().unwrap()], flags].concat());
    assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
    ran
}

#[test]
fn without_a_superblock_the_flags_say_where_things_lie() {
    let folder = Folder::new("journal-flags");
    let (_, head) = served(&folder);
    let file = folder.file();
    refused(&file, &["--slots", "32"]).assert_says(&["leave --slots away"]);
    refused(&file, &["--message-size-max", "8KiB"]).assert_says(&["leave --message-size-max away"]);
    refused(&file, &["--cluster", "8"]).assert_says(&["leave --cluster away"]);

    // One copy holds nothing, but it knows where things lie.
    write(&file, 0, &[0; 3 * 8192]);
    let (text, report) = inspect("journal", &file, &[]);
    text.assert_says(&["from copy 3 of the superblock", "as far as the journal alone can say"]);
    assert_eq!((text.status, &report["head"], &report["links"]), (0, &json!(head), &json!(head)));

    write(&file, 0, &[0; 4 * 8192]);
    lost("journal", &file, &[], "give --slots and --message-size-max");
    lost("journal", &file, &["--slots", "64"], "give --slots and --message-size-max");
    refused(&file, &["--slots", "65", "--message-size-max", "32KiB"]).assert_says(&["positive multiple of 32"]);
    for flags in
        [["--slots", "4294967264", "--message-size-max", "32KiB"], ["--slots", "64", "--message-size-max", "1GiB"]]
    {
        refused(&file, &flags).assert_says(&["more than `format` makes", "16777216 slots of 16 MiB at most"]);
    }
    let flags = ["--slots", "64", "--message-size-max", "32KiB"];
    let (text, report) = inspect("journal", &file, &flags);
    text.assert_says(&["cluster 7, from the flags"]);
    assert_eq!((text.status, &report["head"], &report["log_view"]), (0, &json!(head), &Value::Null));

    flip(&file, prepare(0));
    lost("journal", &file, &flags, "give --cluster");
    let (text, report) = inspect("journal", &file, &[&flags[..], &["--cluster", "0x7"]].concat());
    assert_eq!((text.status, count(&report, "corrupt")), (1, 1), "{text:?}");
}

#[test]
fn a_file_of_something_else_is_looked_into_and_nothing_panics() {
    let folder = Folder::new("journal-noise");
    let mut state = 1_u32;
    let noise = (0..LAYOUT.size()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    fs::write(folder.file(), noise.collect::<Vec<u8>>()).unwrap();
    lost("journal", &folder.file(), &[], "no copy of the superblock is valid");
    let flags = ["--slots", "64", "--message-size-max", "32KiB", "--cluster", "7"];
    let (text, report) = inspect("journal", &folder.file(), &flags);
    assert_eq!((text.status, count(&report, "corrupt")), (1, 64));
    text.assert_says(&["no op of it is to be found", "slots 0 to 63 (ops 0 to 63): corrupt, row M"]);
}

#[test]
fn a_file_without_a_checkpoint_yet_says_so() {
    let folder = Folder::new("no-checkpoint");
    let file = folder.formatted(1);
    let (text, report) = inspect("checkpoint", &file, &[]);
    assert_eq!((text.status, &report["root"], &report["block_count"]), (0, &Value::Null, &LAYOUT.block_count.into()));
    text.assert_says(&["none yet", "8 blocks of 32 KiB", "no damage"]);
    fs::write(&file, b"no data file at all, ".repeat(10_000)).unwrap();
    lost("checkpoint", &file, &[], "no two copies of the superblock agree");
    fs::write(&file, [0; 100_000]).unwrap();
    lost("checkpoint", &file, &[], "all copies of the superblock are zeros");
    fs::write(&file, []).unwrap();
    lost("checkpoint", &file, &[], "no two copies of the superblock agree");
    lost("journal", &file, &[], "no copy of the superblock is valid");
}
