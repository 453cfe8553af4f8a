//! What the program says of itself, and of arguments that make no sense.

use chronon::{storage::superblock::FORMAT_VERSION, wire::header::VERSION};

use crate::support::chronon;

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
