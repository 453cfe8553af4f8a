//! Fuzz targets for what decodes bytes which somebody else wrote, or which a disk may have damaged.
//!
//! A target is a function from bytes to nothing that panics when a promise is broken: decoding is an error or a value,
//! never a panic, and never an allocation that the bytes do not pay for; what decodes, encodes to the same bytes; what was
//! encoded decodes to the same value; one changed byte is an error. The programs in `fuzz_targets/` only hand libFuzzer's
//! bytes over, so that a stable compiler can run the same functions over the corpora (`cargo test`).
//!
//! Almost everything here is sealed by checksums, and no fuzzer guesses BLAKE3. So most targets look at their input twice: as it
//! is, and with its checksums put right, which is what a defective sender or writer would produce.
//!
//! One target for 20 seconds, guided by coverage. What it learns goes to the first directory; a single allocation above
//! 64 MiB is a finding. There is no unsafe code to watch, hence no sanitizer; without `-s none` it wants a nightly compiler.
//!
//! ```text
//! mkdir -p fuzz/target/corpus/frame
//! cargo fuzz run -s none frame fuzz/target/corpus/frame seeds/fuzz/frame -- -max_total_time=20 -malloc_limit_mb=64
//! ```
//!
//! The corpora alone, on any compiler; and the corpora written anew:
//!
//! ```text
//! cargo test --manifest-path fuzz/Cargo.toml
//! cargo run --manifest-path fuzz/Cargo.toml --example seeds
//! ```

pub mod checkpoint;
pub mod effects;
pub mod generated;
pub mod seeds;
pub mod storage;
pub mod trace;
pub mod wire;

/// A target: it panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name: that of its program and of its corpus under `seeds/fuzz/`.
pub const TARGETS: [(&str, Target); 17] = [
    ("frame", wire::frame),
    ("bodies", wire::bodies),
    ("journal_slot", storage::journal_slot),
    ("superblock", storage::superblock),
    ("outbox", effects::outbox),
    ("timers", effects::timers),
    ("system", effects::system),
    ("operator", effects::operator),
    ("chunk", checkpoint::chunk),
    ("grid", checkpoint::grid),
    ("snapshot", checkpoint::snapshot),
    ("trace", trace::trace),
    ("frame_generated", generated::frame),
    ("bodies_generated", generated::bodies),
    ("superblock_generated", generated::superblock),
    ("journal_slot_generated", generated::journal_slot),
    ("trace_generated", generated::trace),
];
