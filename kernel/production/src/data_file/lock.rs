//! The lock of a data file: how it is taken, and who has it as far as the system tells.
//!
//! Invariant: a lock whose process is ending, or has ended and is not buried yet, is waited for; nobody is named who does not run.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{DataFileError, system};

/// How long a lock may outlast its process: what a slow disk takes for what was asked of it.
const LAST_WRITES_MAX: Duration = Duration::from_secs(10);

/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(1);

/// Takes the lock. What a process that was killed had asked for is still done after its end, and holds the lock until it is: that is
/// waited for, or it could be done to what the next process wrote.
pub(super) fn wait_for(file: &File, path: &Path, lock: FlockOperation) -> Result<(), DataFileError> {
    let began = Instant::now();
    loop {
        match flock(file, lock) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(system("lock", path, error.into())),
        }
        let holder = holder(file);
        if holder.is_some() || began.elapsed() > LAST_WRITES_MAX {
            return Err(DataFileError::Locked(path.to_owned(), holder));
        }
        // A lock has no time-out of its own.
        std::thread::sleep(LOOK);
    }
}

/// Who holds the lock on `file`, its number and name, if it runs.
fn holder(file: &File) -> Option<(u32, String)> {
    let process = locked_by(&fs::read_to_string("/proc/locks").ok()?, &place(file).ok()??)?;
    let name = running(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
    Some((process, name))
}

/// The process in the list of locks that holds the one on the file of that place.
fn locked_by(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (kind, process, locked) = (fields.get(1)?, fields.get(4)?, fields.get(5)?);
        if *kind == "FLOCK" && *locked == place { process.parse().ok() } else { None }
    })
}

/// The name in what the system says of a process, unless that has ended: `1234 (chronon) S ...`, where a name may have brackets.
fn running(stat: &str) -> Option<String> {
    let (before, after) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once(" (")?;
    // A zombie, or one that is just being buried.
    if after.starts_with(['Z', 'X']) { None } else { Some(name.to_owned()) }
}

/// Where a file is, as the list of locks has it: its file system's device in hex and its inode. Files of several disks may have the
/// same inode.
fn place(file: &File) -> io::Result<Option<String>> {
    let inode = file.metadata()?.ino();
    let known = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd()))?;
    Ok(device(&known, &fs::read_to_string("/proc/self/mountinfo")?)
        .map(|(major, minor)| format!("{major:02x}:{minor:02x}:{inode}")))
}

/// The device of the mount that an open file came through. Not the one that its metadata have: that is a part's alone where a file
/// system has parts, and the list of locks has the whole's.
fn device(known: &str, mounts: &str) -> Option<(u32, u32)> {
    let mount = known.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let device = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        if fields.next() == Some(mount) { fields.nth(1) } else { None }
    })?;
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "1: POSIX  ADVISORY  WRITE 11 fe:00:7 0 EOF\n\
                         2: FLOCK  ADVISORY  WRITE 22 fe:01:7 0 EOF\n\
                         2: -> FLOCK  ADVISORY  WRITE 33 fe:00:7 0 EOF\n\
                         3: FLOCK  ADVISORY  WRITE 44 fe:00:17 0 EOF\n\
                         4: FLOCK  ADVISORY  WRITE 55 fe:00:7 0 EOF\n";

    #[test]
    fn who_has_the_lock_is_told_by_device_and_inode_and_not_by_the_inode_alone() {
        let by = ["fe:00:7", "fe:01:7", "fe:00:17", "fe:02:7"].map(|place| locked_by(LOCKS, place));
        assert_eq!(by, [Some(55), Some(22), Some(44), None]);
    }

    #[test]
    fn who_has_ended_is_named_no_more() {
        let named = ["S", "R", "D", "T", "Z", "X"].map(|state| running(&format!("7 (a) b (c) {state} 1 7 7 0 -1")));
        let name = || Some("a) b (c".to_owned());
        assert_eq!(named, [name(), name(), name(), name(), None, None]);
        assert_eq!(running(""), None);
    }

    #[test]
    fn the_device_is_that_of_the_mount() {
        let mounts = "21 26 0:20 / /sys rw shared:7 - sysfs sysfs rw\n\
                      126 1 0:9 / /other rw - btrfs /dev/sdb rw\n\
                      26 1 254:16 / / rw shared:1 - ext4 /dev/vda1 rw\n";
        assert_eq!(device("pos:\t0\nflags:\t02\nmnt_id:\t26\nino:\t5\n", mounts), Some((254, 16)));
        assert_eq!(device("pos:\t0\nmnt_id:\t27\n", mounts), None);
        assert_eq!(device("pos:\t0\n", mounts), None);
    }

    #[test]
    fn a_lock_is_found_in_the_system_s_own_list() {
        let path = std::env::temp_dir().join(format!("chronon-lock-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        let (process, name) = holder(&file).expect("this process has it");
        fs::remove_file(path).unwrap();
        assert_eq!(process, std::process::id());
        assert!(!name.is_empty());
    }
}
