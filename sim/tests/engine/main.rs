//! The engine, from outside: worlds of small processes that are not VSR, and what must hold of any world.

mod clocks_drift_and_deadlines_are_kept;
mod crashes_fall_where_they_are_asked_to;
mod effects_reach_their_service_and_come_back;
mod links_do_what_their_settings_say;
mod oracles_see_everything_and_stop_the_world;
mod support;
mod the_primary_backup_example_is_found_out;
mod the_same_seed_is_the_same_run;
mod traces_are_read_back_whole;
