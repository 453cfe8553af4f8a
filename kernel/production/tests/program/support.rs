//! What the tests of the program share: folders that go away, and the program's words.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chronon::storage::Layout;
use chronon_production::{
    DataFile,
    status::{self, Status},
};
use serde_json::Value;

/// What the data files of these tests are laid out as: two megabytes.
pub(crate) const LAYOUT: Layout =
    Layout { slot_count: 64, message_size_max: 32 << 10, block_count: 8, block_size: 32 << 10 };

/// An empty folder in the build's own, which is on a real file system; gone when the test is over.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The name of the one data file of a test.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("r0.chronon")
    }

    /// A data file of a cluster of so many replicas, made by the program.
    pub(crate) fn formatted(&self, replicas: u8) -> PathBuf {
        let made = format(&self.file(), &["--replicas", &replicas.to_string()]);
        assert_eq!(made.status, 0, "{}", made.err);
        self.file()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How the program ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program speaks UTF-8");
        Self {
            status: output.status.code().expect("the program ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Its standard output as the one JSON value that it is.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn assert_says(&self, words: &[&str]) {
        for words in words {
            assert!(self.out.contains(words) || self.err.contains(words), "{words}: {self:?}");
        }
    }
}

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Held while a process begins, and while a data file is closed. A process that begins has for a moment, until it runs its own
/// program, every file open that this one has, and so their locks; tests are threads of one process.
static BEGINNING: Mutex<()> = Mutex::new(());

/// Closes whatever has the data file open, and sees to it that nobody has then.
pub(crate) fn close<T>(open: T, file: &Path) {
    let _none_begins = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    drop(open);
    // Whoever began just before may be a moment behind.
    let started = Instant::now();
    while let Err(error) = DataFile::open(file) {
        assert!(started.elapsed() < PATIENCE, "{error}");
    }
}

/// Asks the replica at `address` again until what it says is as it should be.
pub(crate) fn ask_until(address: SocketAddr, what: &str, reached: impl Fn(&Status) -> bool) -> Status {
    let began = Instant::now();
    loop {
        let said = status::ask(address, PATIENCE);
        match said {
            Ok(status) if reached(&status) => return status,
            _ => assert!(began.elapsed() < PATIENCE, "{what}: {said:?}"),
        }
    }
}

/// Begins a command that is listened to.
pub(crate) fn begin(command: &mut Command) -> Child {
    spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Begins a command.
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _none_closes = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    end(begin(command))
}

/// Waits for a command's end.
pub(crate) fn end(running: Child) -> Ran {
    Ran::of(running.wait_with_output().unwrap())
}

/// The program with these arguments.
pub(crate) fn chronon(arguments: &[&str]) -> Ran {
    run(Command::new(env!("CARGO_BIN_EXE_chronon")).args(arguments))
}

/// `format` with these flags beside the usual ones, of which a later one overrides the earlier.
pub(crate) fn format(file: &Path, flags: &[&str]) -> Ran {
    let mut given = vec![("--cluster", "7"), ("--replica", "0"), ("--replicas", "3"), ("--slots", "64")];
    given.push(("--message-size-max", "32KiB"));
    given.push(("--grid-size", "256KiB"));
    given.push(("--data", file.to_str().unwrap()));
    given.retain(|(flag, _)| !flags.contains(flag));
    let usual = given.iter().flat_map(|(flag, value)| [*flag, *value]);
    let arguments: Vec<&str> = ["format"].into_iter().chain(usual).chain(flags.iter().copied()).collect();
    chronon(&arguments)
}

/// `inspect` of a file, and its words as JSON too.
pub(crate) fn inspect(what: &str, file: &Path, flags: &[&str]) -> (Ran, Value) {
    let arguments = [&["inspect", what, file.to_str().unwrap()], flags].concat();
    let text = chronon(&arguments);
    let json = chronon(&[&arguments[..], &["--json"]].concat());
    assert_eq!(text.status, json.status, "{text:?}");
    (text, json.json())
}

/// Turns a bit of the file over.
pub(crate) fn flip(file: &Path, offset: u64) {
    let mut byte = [0];
    let opened = fs::File::options().read(true).write(true).open(file).unwrap();
    opened.read_exact_at(&mut byte, offset).unwrap();
    opened.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// Writes over the file.
pub(crate) fn write(file: &Path, offset: u64, bytes: &[u8]) {
    fs::File::options().write(true).open(file).unwrap().write_all_at(bytes, offset).unwrap();
}

/// Some bytes of the file.
pub(crate) fn read(file: &Path, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fs::File::open(file).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    bytes
}
