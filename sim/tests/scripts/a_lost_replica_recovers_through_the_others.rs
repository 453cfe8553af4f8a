//! A replica whose disk is lost is formatted anew and recovers through the others: it gives nobody its word before it may, whatever was
//! lost may come back and is not heard, and afterwards the cluster is as it was (design rule 5).

use chronon::{storage::layout::Layout, types::NodeId, vsr::Status, wire::header::Command};

use crate::script::{MS, PATIENCE_MS, Script, Setup, config, puts};

/// What a replica gives its word with.
const WORDS: [Command; 5] =
    [Command::PrepareOk, Command::StartViewChange, Command::DoViewChange, Command::StartView, Command::ReadRoundOk];

/// Three replicas with a log, and a backup among them that is about to be lost.
fn with_a_backup_to_lose() -> (Script, u8, u8) {
    let mut script = Script::replicas(3);
    script.commit(20).converge_all();
    let primary = script.primary();
    let lost = script.after(primary, 1);
    (script, primary, lost)
}

fn words(script: &Script, replica: u8, since_ns: u64) -> usize {
    WORDS.iter().map(|word| script.minutes().of(replica, *word, since_ns).count()).sum()
}

#[test]
fn a_lost_backup_recovers_and_the_cluster_then_survives_the_loss_of_another() {
    let (mut script, primary, lost) = with_a_backup_to_lose();
    let (view, since_ns) = (script.vsr(primary).view(), script.world.now_ns() + 1);
    script.lose_disk(lost);
    script.format_lost(lost, 2).until_recovered(lost);
    assert!(script.vsr(lost).view().0 >= view.0 + 2, "{} after {view}", script.vsr(lost).view());
    let early = script.minutes().said().iter().filter(|said| said.from == NodeId(u32::from(lost)));
    let early = early.filter(|said| said.at_ns > since_ns && WORDS.contains(&said.header.command));
    assert!(early.clone().count() > 0 && early.clone().all(|said| said.header.view.0 >= view.0 + 2));
    script.converge_all();
    assert_eq!((script.probe("recovered"), script.vsr(lost).members().version), (1, 2));
    // Not without its word.
    let other = script.primary();
    let other = if other == lost { script.after(lost, 1) } else { other };
    script.kill(other).commit(20);
    script.restart(other).converge_all().check();
}

#[test]
fn a_lost_primary_recovers() {
    let (mut script, primary, _) = with_a_backup_to_lose();
    script.lose_disk(primary);
    script.format_lost(primary, 2).until_recovered(primary).commit(5).converge_all().check();
}

#[test]
fn a_lost_disk_is_refused_until_it_is_formatted() {
    let (mut script, _, lost) = with_a_backup_to_lose();
    script.lose_disk(lost);
    script.restart(lost).until("it refuses", PATIENCE_MS, |script| !script.is_up(lost));
    let reason = script.world.halted(NodeId(u32::from(lost))).expect("it stopped by itself");
    assert!(reason.contains("never formatted"), "{reason}");
    script.commit(5);
    script.format_lost(lost, 2).until_recovered(lost).converge_all().check();
}

/// Of an op that the primary and the lost replica alone had, nobody knows who is left: with the word of an empty log it would be dropped.
#[test]
fn one_that_knows_nothing_does_not_vote() {
    let (mut script, primary, lost) = with_a_backup_to_lose();
    let behind = script.after(primary, 2);
    script.isolate(behind).commit(10);
    let committed = script.vsr(primary).commit_max();
    script.lose_disk(lost);
    script.kill(primary).heal();
    let since_ns = script.world.now_ns() + 1;
    script.format_lost(lost, 2).run_ms(5_000);
    assert_eq!((words(&script, lost, since_ns), script.serving()), (0, None));
    assert!(words(&script, behind, since_ns) > 0, "the other would have gone on");
    script.restart(primary).until_recovered(lost).converge_all();
    assert!(script.vsr(lost).commit_max() > committed);
    script.check();
}

/// As long as a majority without it does not know, or the view is not late enough, its acknowledgement does not commit anything.
#[test]
fn it_commits_nothing_before_it_may() {
    let (mut script, primary, lost) = with_a_backup_to_lose();
    let (other, since_ns) = (script.after(primary, 2), script.world.now_ns() + 1);
    script.lose_disk(lost);
    script.format_lost(lost, 2).until("it is a member", PATIENCE_MS, |script| {
        script.is_up(lost) && script.vsr(lost).executed_members().version == 2 && script.vsr(lost).is_recovering()
    });
    script.isolate(other);
    let (before, client) = (script.vsr(primary).commit_max(), script.client(puts(5, 256)));
    script.run_ms(3_000);
    assert_eq!((script.vsr(primary).commit_max(), words(&script, lost, since_ns)), (before, 0));
    script.heal().until_finished(&[client]).until_recovered(lost).converge_all().check();
}

/// Two of five know that it was replaced, and it is the third who would commit with them. The other two do not know, and the lost file,
/// started again beside them, is the third who has them go on to a later view: without what the first three committed.
#[test]
fn its_word_and_that_of_the_lost_file_never_count_at_once() {
    let mut script = Script::replicas(5);
    script.commit(20).converge_all();
    let primary = script.primary();
    let [lost, next, unaware, cut_off] = [1, 2, 3, 4].map(|which| script.after(primary, which));
    let node = |replica: u8| NodeId(u32::from(replica));
    let (view, head) = (script.vsr(primary).view(), script.head(primary));
    script.isolate(cut_off).cut_one_way(lost, unaware).cut_one_way(next, unaware);
    let old = script.lose_disk(lost);
    script.format_lost(lost, 2);
    script.until("one has the change of the members", PATIENCE_MS, |script| script.head(unaware) > head);
    // It acknowledges, and hears no more.
    script.cut_one_way(primary, unaware).until("it is committed", PATIENCE_MS, |script| {
        [primary, next].iter().all(|replica| script.vsr(*replica).executed_members().version == 2)
    });
    script.heal().world.partition(&[primary, lost, next].map(node), &[unaware, cut_off].map(node));
    let client = script.client(puts(5, 256));
    script.run_ms(3_000);
    assert!(script.world.verdict().is_none(), "{:?}", script.world.verdict());
    script.kill(lost);
    let new = script.world.exchange_disk(node(lost), old);
    // Of the views between, neither begins: one's primary hears too few, the other's is not here.
    script.heal().world.partition(&[primary, next].map(node), &[lost, unaware, cut_off].map(node));
    script.cut_one_way(cut_off, lost).restart(lost);
    script.until("they go on with the lost file", PATIENCE_MS, |script| script.vsr(unaware).is_primary());
    assert_eq!((script.vsr(unaware).view().0, script.head(unaware)), (view.0 + 3, head.next()));
    assert_eq!(script.vsr(unaware).members().version, 1, "nobody has told them");
    script.until("the lost file is told", PATIENCE_MS, |script| !script.is_up(lost));
    script.world.exchange_disk(node(lost), new);
    script.heal().restart(lost).until_recovered(lost).until_finished(&[client]).converge_all().check();
}

#[test]
fn it_recovers_by_a_checkpoint_where_the_log_goes_back_no_further() {
    let layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 128, block_size: 4096 };
    let mut script = Script::new(Setup { layout, ..Setup::default() });
    script.commit(150).converge_all();
    let lost = script.after(script.serving().expect("it serves"), 1);
    script.lose_disk(lost);
    script.format_lost(lost, 2).until_recovered(lost).converge_all();
    assert_eq!(script.probe("state_sync_installed"), 1);
    let members = script.vsr(lost).members().clone();
    assert_eq!((members.version, members.of(chronon::types::ReplicaId(lost))), (2, 2));
    // They are in the checkpoints: who starts from one knows them.
    script.commit(80).converge_all().cut_power_of_all().restart_all().primary();
    script.converge_all();
    assert!((0..3).all(|replica| *script.vsr(replica).executed_members() == members));
    script.check();
}

#[test]
fn it_crashes_at_any_moment_of_it_and_recovers() {
    let (mut script, _, lost) = with_a_backup_to_lose();
    script.lose_disk(lost);
    script.format_lost(lost, 2);
    let (mut moments, mut halfway) = (0, 0);
    while script.probe("view_moved_on_for_a_recovered_replica") == 0 || !script.vsr(lost).votes() {
        let mut crashed = script.fork();
        halfway += u32::from(crashed.vsr(lost).members().version == 2 && crashed.vsr(lost).is_recovering());
        crashed.cut_power(lost).restart(lost).until_recovered(lost).commit(3).converge_all();
        assert_eq!(crashed.vsr(lost).members().version, 2, "one question is answered once");
        crashed.check();
        let at_ns = script.world.now_ns();
        while script.world.now_ns() < at_ns + 5 * MS {
            assert!(script.world.step());
        }
        moments += 1;
    }
    assert!(moments > 20 && halfway > 5, "{moments} moments, {halfway} of them as a member");
    script.converge_all().check();
}

/// The disk was not lost after all: what starts from it has another's name, and stops as soon as anybody tells it.
#[test]
fn what_was_lost_is_not_heard_and_stops_in_words() {
    let (mut script, primary, lost) = with_a_backup_to_lose();
    let (node, other) = (NodeId(u32::from(lost)), script.after(primary, 2));
    let old = script.lose_disk(lost);
    script.format_lost(lost, 2).until_recovered(lost).commit(5).converge_all();
    script.kill(lost);
    let new = script.world.exchange_disk(node, old);
    // It hears nobody, and so goes on to say what it thinks. The primary would have a majority with it.
    script.deafen(lost).isolate(other).restart(lost);
    for replica in [primary, other] {
        script.world.heal_one_way(node, NodeId(u32::from(replica)));
    }
    let before = (script.vsr(primary).commit_max(), script.probe("stranger_ignored"));
    let client = script.client(puts(5, 256));
    script.run_ms(3_000);
    assert!(script.is_up(lost) && script.probe("stranger_ignored") > before.1);
    assert_eq!(script.vsr(primary).commit_max(), before.0, "nothing commits by its word");
    script.heal().until("it is told", PATIENCE_MS, |script| !script.is_up(lost));
    let reason = script.world.halted(node).expect("it stopped by itself");
    assert!(reason.contains("superseded") && reason.contains("must not be started again"), "{reason}");
    script.until_finished(&[client]);
    script.world.exchange_disk(node, new);
    script.restart(lost).until_recovered(lost).converge_all().check();
}

#[test]
fn it_is_lost_again_before_and_after_it_has_recovered() {
    for after in [false, true] {
        let (mut script, primary, lost) = with_a_backup_to_lose();
        script.world.remember_frames(64);
        script.lose_disk(lost);
        script
            .format_lost(lost, 2)
            .until("it is a member", PATIENCE_MS, |script| script.vsr(primary).members().version == 2);
        if after {
            script.until_recovered(lost);
        }
        script.lose_disk(lost);
        script.format_lost(lost, 3).until("it is a member", PATIENCE_MS, |script| {
            script.is_up(lost) && script.vsr(lost).members().version == 3
        });
        // What the one in between asked comes again, and gets nothing.
        for other in (0..3).filter(|other| *other != lost) {
            script.world.echo(NodeId(u32::from(lost)), NodeId(u32::from(other)));
        }
        script.until_recovered(lost).commit(5).converge_all();
        assert_eq!((script.vsr(lost).members().version, script.vsr(lost).incarnation()), (3, 3));
        script.check();
    }
}

#[test]
fn two_of_five_are_lost_one_after_the_other() {
    let mut script = Script::replicas(5);
    script.commit(20).converge_all();
    for lost in [1, 3] {
        script.lose_disk(lost);
        script.format_lost(lost, 2).until_recovered(lost);
    }
    // With the two of them, and with nobody else.
    script.kill(0).kill(2).commit(10).restart(0).restart(2).converge_all().check();
}

#[test]
fn a_lost_question_is_asked_again() {
    let (mut script, primary, lost) = with_a_backup_to_lose();
    script.lose_disk(lost);
    let asked = |script: &Script| script.minutes().of(lost, Command::Recover, 0).count();
    script.format_lost(lost, 2).until("it asks", PATIENCE_MS, |script| asked(script) > 0);
    for other in (0..3).filter(|other| *other != lost) {
        script.cut_one_way(lost, other);
    }
    script.run_ms(5).heal().until_recovered(lost);
    assert!(asked(&script) > 2 && script.vsr(primary).members().version == 2);
    script.converge_all().check();
}

#[test]
fn where_the_others_are_no_majority_nothing_is_recovered() {
    for (replicas, why) in [(1, "no others"), (2, "no majority")] {
        let setup = Setup { replicas, ..Setup::default() };
        let error = config(&setup, chronon::types::ReplicaId(0)).format_lost(2).expect_err("it is refused").to_string();
        assert!(error.contains(why) && error.contains("from a copy"), "{error}");
    }
}

/// Not by `format` either: it gives an incarnation that nobody has committed.
#[test]
fn one_that_is_merely_formatted_again_is_not_heard_and_stops() {
    let (mut script, _, lost) = with_a_backup_to_lose();
    script.lose_disk(lost);
    for (offset, bytes) in config(&script.setup, chronon::types::ReplicaId(lost)).format(2) {
        script.world.disk_mut(NodeId(u32::from(lost))).preload(offset, &bytes);
    }
    script.restart(lost).until("it stops", PATIENCE_MS, |script| !script.is_up(lost));
    let reason = script.world.halted(NodeId(u32::from(lost))).expect("it stopped by itself");
    assert!(reason.contains("superseded"), "{reason}");
    script.commit(5).check();
}

/// Who was not there when the log began becomes a member when it comes.
#[test]
fn one_that_comes_late_is_a_member_from_then_on() {
    let mut script = Script::replicas(3);
    script.kill(2).commit(5);
    assert_eq!(script.vsr(0).members().incarnations[2], 0);
    script.restart(2).converge_all().until("it is a member", PATIENCE_MS, |script| {
        (0..3).all(|replica| script.vsr(replica).members().incarnations[2] == 1)
    });
    assert_eq!(script.vsr(2).status(), Status::Normal);
    script.converge_all().check();
}

/// The first that it hears from does not know yet that its place was taken once before: it learns better, and is not the one that was
/// replaced.
#[test]
fn one_that_is_first_told_of_older_members_recovers_all_the_same() {
    let mut script = Script::replicas(5);
    script.commit(20).converge_all();
    let primary = script.primary();
    let (lost, behind) = (script.after(primary, 1), script.after(primary, 2));
    script.isolate(behind);
    script.lose_disk(lost);
    script.format_lost(lost, 2).until_recovered(lost).commit(3);
    assert_eq!((script.vsr(behind).members().version, script.vsr(lost).members().version), (1, 2));
    script.lose_disk(lost);
    for which in 3..=5 {
        script.kill(script.after(primary, which));
    }
    script.heal().format_lost(lost, 3);
    script.until("it has heard of the first members", PATIENCE_MS, |script| script.vsr(lost).members().version == 1);
    script.run_ms(500);
    script.restart_all().until_recovered(lost).converge_all();
    assert_eq!((script.vsr(lost).members().version, script.probe("superseded")), (3, 0));
    script.check();
}
