//! Scripts: a cluster is told what to do step by step, with every oracle watching, and must do what the file's name says.
//!
//! One file a behaviour. Each script pins the rare path that it is for by its probe, so that it cannot pass by missing it.

mod a_backup_with_a_stalled_disk_elects_nobody;
mod a_client_is_told_of_an_eviction_only_if_there_was_one;
mod a_client_that_lives_again_is_another_client;
mod a_cluster_of_any_size_commits;
mod a_corrupt_middle_is_repaired_and_never_cut;
mod a_corrupt_prepare_is_never_counted_as_never_had;
mod a_deaf_replica_disturbs_nobody;
mod a_failed_write_or_barrier_stops_the_process;
mod a_foreign_or_damaged_superblock_is_refused_in_words;
mod a_full_journal_refuses_and_loses_nothing;
mod a_killed_primary_is_replaced_and_comes_back_as_a_backup;
mod a_lost_message_stalls_nobody;
mod a_poison_pill_is_a_crash_with_its_place_and_message;
mod a_power_cut_of_all_loses_nothing;
mod a_primary_that_cannot_go_on_stands_down;
mod a_rejected_request_changes_nothing;
mod a_replica_that_was_cut_off_catches_up;
mod a_restarted_primary_goes_to_a_later_view;
mod a_retry_after_a_fail_over_gets_the_stored_reply;
mod a_torn_tail_is_told_from_a_hole;
mod a_view_survives_a_reopen;
mod a_write_that_went_astray_is_no_torn_tail;
mod a_wrong_parent_is_a_broken_chain;
mod an_op_is_dropped_only_if_a_quorum_never_had_it;
mod an_overloaded_primary_refuses_and_forgets_nobody;
mod an_uncertain_head_does_not_vote;
mod group_commit_costs_few_disk_syncs;
mod minutes;
mod repair_waits_for_a_slow_disk;
mod script;
mod two_dead_of_five_and_it_goes_on;
mod writes_may_reach_the_disk_in_any_order;
