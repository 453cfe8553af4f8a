//! A protocol that is not VSR, written as a newcomer would: its planted bug is found, and without it all is well.

#[path = "../../examples/primary_backup.rs"]
#[expect(dead_code, reason = "the example's own main is not called here")]
mod primary_backup;

use chronon_sim::{verdict::Verdict, world::World};

fn first_failure(hasty: bool) -> Option<World> {
    (0..1000).find_map(|seed| {
        let mut world = World::new(seed);
        primary_backup::simulate(&mut world, hasty);
        world.finish();
        world.verdict().is_some().then_some(world)
    })
}

#[test]
fn the_hasty_server_loses_what_it_acknowledged_within_a_thousand_seeds() {
    let world = first_failure(true).expect("the bug is found");
    let failure = world.verdict().expect("the bug is found");
    assert_eq!(failure.verdict, Verdict::Safety);
    assert_eq!(failure.oracle, "nothing acknowledged is lost");
}

#[test]
fn the_patient_server_survives_a_thousand_seeds() {
    assert!(first_failure(false).is_none());
}
