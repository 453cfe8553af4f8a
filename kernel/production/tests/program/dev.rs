//! `dev`: what it says of a folder that it cannot serve from.

use crate::support::{Folder, chronon, format};

#[test]
fn a_folder_with_a_cluster_of_another_size_is_left_alone_and_its_size_is_told() {
    let folder = Folder::new("dev-size");
    assert_eq!(format(&folder.path().join("replica-0.chronon"), &["--replicas", "3"]).status, 0);
    for replicas in ["1", "5"] {
        let refused = chronon(&["dev", "--folder", folder.path().to_str().unwrap(), "--replicas", replicas]);
        assert_eq!(refused.status, 2, "{refused:?}");
        refused.assert_says(&["holds a cluster with 3 for", &format!("and not {replicas}"), "--replicas 3"]);
        assert_eq!(folder.names(), ["replica-0.chronon"], "nothing is made beside it");
    }
}
