//! Writes the corpora under `seeds/fuzz/` anew. Leaves files of other names alone.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`

use std::{fs, io, path::Path};

use chronon_fuzz::seeds;

fn main() -> io::Result<()> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds/fuzz");
    let all: Vec<_> = seeds::of_formats().into_iter().chain(seeds::of_traces()).collect();
    for seed in &all {
        let corpus = corpora.join(seed.target);
        fs::create_dir_all(&corpus)?;
        fs::write(corpus.join(seed.name), &seed.bytes)?;
    }
    println!("{} seeds, {} bytes", all.len(), all.iter().map(|seed| seed.bytes.len()).sum::<usize>());
    Ok(())
}
