//! Programs to run, and folders to run them in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// A folder of a test's own, empty at first, and the programs run in it.
pub(crate) struct Place {
    folder: PathBuf,
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// Named after the test, so that tests beside each other do not meet.
    pub(crate) fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("program").join(test);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("an earlier run's folder goes");
        }
        fs::create_dir_all(&folder).expect("a folder");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).expect("JSON")
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// `replay` with these arguments.
    pub(crate) fn replay(&self, arguments: &[&str]) -> Ran {
        self.run(Path::new(env!("CARGO_BIN_EXE_replay")), arguments)
    }

    /// The example of that name with these arguments.
    pub(crate) fn example(&self, name: &str, arguments: &[&str]) -> Ran {
        self.run(&example(name), arguments)
    }

    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Ran {
        Ran::of(self.command(program, arguments).output().expect("the program starts"))
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Fails with all that was said unless the program ended so.
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("JSON")
    }

    /// The digest that `seed` prints.
    pub(crate) fn digest(&self) -> &str {
        self.out.lines().find_map(|line| line.strip_prefix("digest: ")).expect("a digest")
    }
}

/// An example's program. `cargo test` builds them all; `cargo test --test program` does not.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let profile = Path::new(env!("CARGO_BIN_EXE_replay")).parent().expect("a folder of programs");
    BUILT.get_or_init(|| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--package", "chronon-replay", "--examples", "--target-dir"]);
        command.arg(profile.parent().expect("a target folder"));
        if profile.ends_with("release") {
            command.arg("--release");
        }
        assert!(command.status().expect("cargo starts").success(), "the examples build");
    });
    profile.join("examples").join(name)
}
