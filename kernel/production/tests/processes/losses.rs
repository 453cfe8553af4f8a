//! A data file is lost, and its replica recovered through the others by the program, under load; and the lost file turns up again.

use std::fs;

use chronon_production::status::State;

use crate::{
    SOME,
    cluster::{Cluster, LAYOUT, until},
    load::Load,
};

/// Waits until a replica gives its word again.
fn until_recovered(cluster: &Cluster, replica: u8) {
    until("it has recovered", || matches!(cluster.status(replica).state, State::Primary | State::Backup).then_some(()));
}

#[test]
fn a_lost_data_file_is_recovered_and_the_cluster_then_survives_another_loss() {
    let mut cluster = Cluster::start("lost-file", 3);
    let load = Load::begin(&cluster);
    for lost in [(cluster.primary() + 1) % 3, cluster.primary()] {
        load.wait_for(SOME);
        let (made, said) = cluster.recover(lost);
        assert!(!made && said.contains("is in use by process"), "{said}");
        cluster.kill(lost);
        let (made, said) = cluster.recover(lost);
        assert!(!made && said.contains("is no lost file"), "{said}");
        fs::remove_file(cluster.data_file(lost)).unwrap();
        assert!(cluster.refusal(lost).contains("does not exist"), "`start` makes no file");
        assert!(!cluster.data_file(lost).exists());
        let (made, said) = cluster.recover(lost);
        assert!(made && said.contains("to recover under the incarnation"), "{said}");
        cluster.restart(lost);
        until_recovered(&cluster, lost);
        for words in ["takes a lost replica's place", "it gives its word from now on"] {
            until(words, || cluster.last_words(lost).contains(words).then_some(()));
        }
        load.wait_for(SOME);
    }
    let other = (cluster.primary() + 2) % 3;
    cluster.kill(other);
    load.wait_for(SOME);
    cluster.restart(other);
    cluster.ends_well(load);
}

#[test]
fn a_data_file_that_was_cut_short_is_kept_aside_and_its_replica_recovered() {
    let mut cluster = Cluster::start("cut-file", 3);
    let load = Load::begin(&cluster);
    load.wait_for(SOME);
    let lost = (cluster.primary() + 1) % 3;
    cluster.kill(lost);
    let file = cluster.data_file(lost);
    fs::File::options().write(true).open(&file).unwrap().set_len(LAYOUT.size() / 2 / 4096 * 4096).unwrap();
    let left = fs::read(&file).unwrap();
    assert!(cluster.refusal(lost).contains("chronon recover"), "{}", cluster.refusal(lost));
    let (made, said) = cluster.recover(lost);
    assert!(made && said.contains("is kept as"), "{said}");
    let mut kept = file.into_os_string();
    kept.push(".lost");
    assert!(fs::read(kept).unwrap() == left, "nothing of it is gone");
    cluster.restart(lost);
    until_recovered(&cluster, lost);
    load.wait_for(SOME);
    cluster.ends_well(load);
}

#[test]
fn what_a_link_leads_to_is_kept_beside_the_new_file_and_the_link_leads_to_that() {
    let mut cluster = Cluster::start("linked-file", 3);
    let load = Load::begin(&cluster);
    load.wait_for(SOME);
    let lost = (cluster.primary() + 1) % 3;
    cluster.kill(lost);
    let link = cluster.data_file(lost);
    let disk = link.with_extension("disk");
    fs::create_dir(&disk).unwrap();
    let (file, kept) = (disk.join("data"), disk.join("data.lost"));
    fs::rename(&link, &file).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_len(LAYOUT.size() / 2 / 4096 * 4096).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let (made, said) = cluster.recover(lost);
    assert!(made && said.contains(&format!("is kept as {}", kept.canonicalize().unwrap().display())), "{said}");
    assert_eq!(fs::read_link(&link).unwrap(), file, "the link is as it was");
    assert_eq!(fs::symlink_metadata(&file).unwrap().len(), LAYOUT.size());
    cluster.restart(lost);
    until_recovered(&cluster, lost);
    load.wait_for(SOME);
    cluster.ends_well(load);
}

#[test]
fn a_lost_data_file_that_is_found_again_is_of_no_use_any_more() {
    let mut cluster = Cluster::start("found-file", 3);
    let load = Load::begin(&cluster);
    load.wait_for(SOME);
    let lost = (cluster.primary() + 1) % 3;
    cluster.kill(lost);
    let (file, elsewhere) = (cluster.data_file(lost), cluster.data_file(lost).with_extension("found"));
    fs::rename(&file, &elsewhere).unwrap();
    assert!(cluster.recover(lost).0);
    let newer = file.with_extension("newer");
    cluster.restart(lost);
    until_recovered(&cluster, lost);
    load.wait_for(SOME);
    cluster.kill(lost);
    fs::rename(&file, &newer).unwrap();
    fs::rename(&elsewhere, &file).unwrap();
    cluster.restart(lost);
    cluster.wait_for_end(lost);
    let words = cluster.last_words(lost);
    assert!(words.contains("was superseded") && words.contains("`recover` the replica anew"), "{words}");
    fs::rename(&newer, &file).unwrap();
    cluster.restart(lost);
    load.wait_for(SOME);
    cluster.ends_well(load);
}
