//! While its services are down a branch takes requests until its outbox is nearly full, then tells clients to come back later, and logs
//! nothing of theirs; what the services do when they are back makes room.

use chronon::app::{branch::Branch, room::Limits};

use crate::branch::{Cluster, OFTEN, POLITE, SOUND, letters};

#[test]
fn a_full_outbox_refuses_and_drains() {
    let room = Limits { entries_max: 32, ..Limits::DEFAULT };
    let mut cluster = Cluster::new(3, Branch { room, ..letters(POLITE, OFTEN) }, SOUND);
    cluster.outside().go_down(u64::MAX);
    let clients: Vec<_> = (0..4).map(|_| cluster.client(60)).collect();
    cluster
        .until("a request is refused", 10_000, |cluster| cluster.world.probe_count("request_refused_machine_full") > 0);
    cluster.run_ms(2_000);
    let (held, counts) = (cluster.outbox().len(), cluster.ahead().state().counts());
    assert!((24..=28).contains(&held), "{held} letters: those that were logged when it became high are taken");
    assert_eq!(counts.omitted, 0);
    cluster.outside().heal();
    cluster.until("everybody is answered", 20_000, |cluster| {
        clients.iter().all(|client| cluster.caller(*client).is_finished())
    });
    cluster.until("all is acknowledged", 20_000, |cluster| cluster.outbox().is_empty());
    let counts = cluster.ahead().state().counts();
    assert!(counts.acknowledged > 60 && (counts.omitted, counts.failed) == (0, 0), "{counts:?}");
    cluster.check();
}
