//! The corpora, through the targets, on a stable compiler: what once broke a promise, or nearly, stays kept.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use chronon_fuzz::{TARGETS, seeds};
use chronon_sim::trace::Trace;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds/fuzz")
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(corpora().join(target)).expect("every target has a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the corpus can be listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("an input can be read"))).collect()
}

#[test]
fn every_input_of_every_corpus_passes() {
    for (target, function) in TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 3, "{target} has a handful of inputs");
        for (path, bytes) in inputs {
            println!("{}", path.display());
            function(&bytes);
        }
    }
}

#[test]
fn every_target_has_a_program_and_every_corpus_and_program_a_target() {
    let names = |directory: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(directory).expect("the directory is there");
        let path = |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be listed").path();
        entries.map(|entry| path(entry).file_stem().expect("it has a name").to_string_lossy().into_owned()).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names(corpora()), targets);
    assert_eq!(names(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets")), targets);
}

#[test]
fn the_seeds_of_a_format_change_only_with_the_format() {
    for seed in seeds::of_formats() {
        let path = corpora().join(seed.target).join(seed.name);
        let committed = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            committed == seed.bytes,
            "{} is not what the code writes: give the format a new version, then `cargo run --example seeds`",
            path.display()
        );
    }
}

#[test]
fn the_traces_among_the_seeds_are_whole_and_eventful() {
    for seed in seeds::of_traces() {
        let trace = Trace::parse(&seed.bytes).expect("a world writes a trace");
        let records = trace.records().collect::<Result<Vec<_>, _>>().expect("it is whole");
        assert!(records.len() > 10, "{}", seed.name);
    }
    for (path, bytes) in corpus("trace") {
        // A committed trace may be of an older format, which is an error and never a panic.
        println!("{}: {:?}", path.display(), Trace::parse(&bytes).map(|trace| trace.records().count()));
    }
}
