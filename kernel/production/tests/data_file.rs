//! What becomes of data files: made whole or not at all, opened by one at a time, refused in words that name the mend.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use chronon_production::{DataFile, DataFileError};

const SIZE: u64 = 64 * 4096;

/// An empty folder in the build's own; gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("data-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("r0.chronon")
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_has_its_size_its_blocks_and_zeros_elsewhere() {
    let folder = Folder::new("made");
    DataFile::create(&folder.file(), SIZE, &[(0, vec![1; 10]), (SIZE - 3, vec![2; 3])]).unwrap();
    let bytes = fs::read(folder.file()).unwrap();
    assert_eq!(bytes.len() as u64, SIZE);
    assert_eq!((&bytes[..10], &bytes[bytes.len() - 3..]), (&[1; 10][..], &[2; 3][..]));
    assert!(bytes[10..bytes.len() - 3].iter().all(|byte| *byte == 0));
    assert_eq!(folder.names(), ["r0.chronon"], "nothing else is left");
}

#[test]
fn a_file_that_exists_is_never_touched() {
    let folder = Folder::new("exists");
    fs::write(folder.file(), b"somebody's data").unwrap();
    let error = DataFile::create(&folder.file(), SIZE, &[]).unwrap_err();
    assert!(matches!(error, DataFileError::Exists(_)), "{error}");
    assert!(error.to_string().contains("choose another name"), "{error}");
    assert_eq!(fs::read(folder.file()).unwrap(), b"somebody's data");
    assert_eq!(folder.names(), ["r0.chronon"]);
}

#[test]
fn a_file_that_cannot_be_made_leaves_nothing() {
    let folder = Folder::new("nowhere");
    let error = DataFile::create(&folder.0.join("no/such/folder"), SIZE, &[]).unwrap_err();
    assert!(error.to_string().starts_with("cannot create"), "{error}");
    assert!(folder.names().is_empty());
}

#[test]
fn what_another_process_of_the_same_number_left_half_made_is_not_in_the_way_and_is_left_alone() {
    let folder = Folder::new("leftover");
    let left = format!("r0.chronon.{}.partial", std::process::id());
    fs::write(folder.0.join(&left), b"half").unwrap();
    DataFile::create(&folder.file(), SIZE, &[]).unwrap();
    let mut names = folder.names();
    names.sort_unstable();
    assert_eq!(names, ["r0.chronon", &left]);
}

#[test]
fn of_two_who_make_a_file_at_once_the_first_to_end_has_made_it_and_nothing_else_is_left() {
    let folder = Folder::new("at-once");
    let mut second = None;
    let first = DataFile::create_with(&folder.file(), SIZE, &[(0, vec![1])], &mut |_| {
        second = Some(DataFile::create(&folder.file(), SIZE, &[(0, vec![2])]));
        ControlFlow::Continue(())
    });
    assert!(matches!(second, Some(Ok(()))), "{second:?}");
    assert!(matches!(first, Err(DataFileError::Exists(_))), "{first:?}");
    assert_eq!(fs::read(folder.file()).unwrap()[0], 2);
    assert_eq!(folder.names(), ["r0.chronon"]);
}

#[test]
fn what_is_set_aside_was_locked_against_everybody_and_replaces_nothing() {
    let folder = Folder::new("aside");
    let kept = folder.0.join("r0.chronon.lost");
    fs::write(folder.file(), b"cut short").unwrap();
    let open = || DataFile::open_to_set_aside(&folder.file());
    let file = open().unwrap();
    assert!(matches!(DataFile::open_to_read(&folder.file()), Err(DataFileError::Locked(..))), "who looks");
    assert!(matches!(open(), Err(DataFileError::Locked(..))), "who would set it aside, too");
    fs::write(&kept, b"of another time").unwrap();
    assert!(matches!(file.set_aside(&kept), Err(DataFileError::Exists(_))));
    assert_eq!(fs::read(&kept).unwrap(), b"of another time");
    fs::remove_file(&kept).unwrap();
    open().unwrap().set_aside(&kept).unwrap();
    assert_eq!(folder.names(), ["r0.chronon.lost"]);
    assert!(matches!(open(), Err(DataFileError::Missing(_))));
}

#[test]
fn who_waits_for_a_file_is_told_how_far_it_is_and_may_end_it() {
    let folder = Folder::new("progress");
    let (size, mut told) = (3 * (1 << 20) + 4096, Vec::new());
    let mut progress = |written| {
        told.push(written);
        if told.len() == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    DataFile::create_with(&folder.file(), size, &[], &mut progress).unwrap();
    let error = DataFile::create_with(&folder.0.join("r1.chronon"), size, &[], &mut progress).unwrap_err();
    assert!(matches!(error, DataFileError::Stopped(_)), "{error}");
    assert_eq!(told, [1 << 20, 2 << 20, 3 << 20, size, 1 << 20, 2 << 20]);
    assert_eq!(folder.names(), ["r0.chronon"]);
}

#[test]
fn a_file_is_opened_by_one_at_a_time_and_the_other_is_named() {
    let folder = Folder::new("locked");
    DataFile::create(&folder.file(), SIZE, &[]).unwrap();
    let first = DataFile::open(&folder.file()).unwrap();
    let error = DataFile::open(&folder.file()).unwrap_err();
    let DataFileError::Locked(_, Some((process, name))) = &error else { panic!("{error}") };
    assert_eq!(*process, std::process::id());
    assert!(error.to_string().contains(name.as_str()), "{error}");
    assert!(
        matches!(DataFile::open_to_read(&folder.file()), Err(DataFileError::Locked(..))),
        "who looks would see it change"
    );
    drop(first);
    let looking = [(); 2].map(|()| DataFile::open_to_read(&folder.file()).unwrap());
    assert!(
        matches!(DataFile::open(&folder.file()), Err(DataFileError::Locked(..))),
        "nor may it change under who looks"
    );
    drop(looking);
    DataFile::open(&folder.file()).unwrap();
}

#[test]
fn what_is_no_data_file_is_refused_in_words() {
    let folder = Folder::new("foreign");
    let refused = |path: &Path| DataFile::open(path).unwrap_err().to_string();
    assert!(refused(&folder.file()).contains("make it with `format`"));
    assert!(refused(&folder.0).contains("no regular file"));
    for (length, says) in [(0, "0 bytes"), (4095, "4095 bytes"), (4097, "cut short")] {
        fs::write(folder.file(), vec![0; length]).unwrap();
        assert!(refused(&folder.file()).contains(says), "{}", refused(&folder.file()));
        assert_eq!(DataFile::open_to_read(&folder.file()).unwrap().size(), length as u64, "to look into it");
    }
}

#[test]
fn what_is_set_aside_through_a_link_is_the_file_and_not_the_link() {
    let (folder, disk) = (Folder::new("link"), Folder::new("linked"));
    std::os::unix::fs::symlink(disk.file(), folder.file()).unwrap();
    let error = DataFile::create(&folder.file(), SIZE, &[]).unwrap_err();
    assert!(matches!(error, DataFileError::Exists(_)), "a link is in the way, wherever it leads: {error}");
    fs::write(disk.file(), b"cut short").unwrap();
    let lost = DataFile::open_to_set_aside(&folder.file()).unwrap();
    let path = lost.path().to_owned();
    assert_eq!(path, disk.file().canonicalize().unwrap());
    lost.set_aside(&path.with_extension("lost")).unwrap();
    assert_eq!((disk.names(), folder.names()), (vec!["r0.lost".to_owned()], vec!["r0.chronon".to_owned()]));
    DataFile::create(&path, SIZE, &[]).unwrap();
    assert_eq!(DataFile::open(&folder.file()).unwrap().size(), SIZE, "the link leads to the new one");
}

#[test]
fn a_file_that_is_being_made_is_not_taken_for_an_abandoned_one() {
    let folder = Folder::new("two");
    let mut began = 0;
    let error = DataFile::create_with(&folder.file(), SIZE, &[], &mut |_| {
        began += 1;
        assert_eq!(folder.names().len(), 1);
        DataFile::create(&folder.file(), SIZE, &[]).unwrap();
        assert_eq!(folder.names().len(), 2, "the first goes on: {:?}", folder.names());
        ControlFlow::Continue(())
    });
    assert!(matches!(error, Err(DataFileError::Exists(_))), "{error:?}");
    assert_eq!((began, folder.names()), (1, vec!["r0.chronon".to_owned()]));
}
