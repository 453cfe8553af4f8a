//! What is made of what replicas say of themselves, and of those that say nothing.

use super::*;

fn status(replica: u8, state: status::State, view: u64) -> Answer {
    Ok(status::Status {
        version: String::new(),
        process: 1,
        cpu_us: 1,
        cluster: 7,
        replica,
        replicas: 3,
        state,
        view,
        log_view: view,
        primary: (view % 3) as u8,
        op: 12_345,
        commit: 12_344,
        applied: 12_344,
        lag: 0,
        checkpoint: 12_000,
        is_writing_checkpoint: false,
        is_syncing: false,
        is_grid_full: false,
        journal_slots: 64,
        message_size_max: 4096,
        grid_blocks: 64,
        block_size: 4096,
        clients_max: 64,
        application: "kv".to_owned(),
        clock_offset_ns: Some((-12_000, 30_000)),
        disk: "io_uring".to_owned(),
        sessions: 2,
        effects: status::Effects { pending: 3, parked: 0, dead: 0, channels: Vec::new() },
        queues: Vec::new(),
        network: status::Network {
            connections: 0,
            greeted: 0,
            ended: 0,
            refused: 0,
            turned_away: 0,
            frames_received: 0,
            frames_sent: 0,
            frames_dropped: 0,
        },
        speaks_with: Some((0..3).filter(|other| *other != replica).collect()),
        refusals: Vec::new(),
    })
}

fn away() -> Answer {
    let address = "127.0.0.1:1".parse().expect("an address");
    Err(AskError::Unreachable(address, std::io::ErrorKind::ConnectionRefused.into()))
}

#[test]
fn a_cluster_serves_if_a_majority_follows_one_primary() {
    use status::State::{Backup, Primary, ViewChange};
    let serves = |answers: &[Answer]| primary(answers).is_some();
    assert!(serves(&[status(0, Primary, 3), status(1, Backup, 3), away()]));
    assert!(!serves(&[status(0, Primary, 3), away(), away()]));
    assert!(!serves(&[status(0, Primary, 3), status(1, Backup, 4), status(2, ViewChange, 3)]));
    assert!(!serves(&[status(0, Backup, 3), status(1, Backup, 3), status(2, Backup, 3)]));
    assert!(!serves(&[status(0, Primary, 3), status(1, status::State::Rejoining, 3), away()]), "it has no word");
    assert!(!serves(&[away(), away()]));
    assert!(!serves(&[status(0, Primary, 3), status(0, Primary, 3)]), "one that was asked twice is one");
    let deaf = status(1, Backup, 3).map(|status| status::Status { speaks_with: Some(vec![2]), ..status });
    assert!(!serves(&[status(0, Primary, 3), deaf]), "it does not hear of what is committed");
    let older = status(1, Backup, 3).map(|status| status::Status { speaks_with: None, ..status });
    assert!(serves(&[status(0, Primary, 3), older]));
}

#[test]
fn the_table_has_a_row_for_who_answered_and_a_line_for_who_did_not() {
    let addresses: Vec<SocketAddr> =
        ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|text| text.parse().expect("an address")).into();
    let text = table(&addresses, &[status(0, status::State::Primary, 3), away(), away()], None);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[1].starts_with("0 at 127.0.0.1:1  primary  3     12,345  12,344  0    12,000      -12 to 30 us"),
        "{text}"
    );
    assert!(lines[2].starts_with("no replica answers at 127.0.0.1:1: "), "{text}");
    let mut answers = [status(0, status::State::Primary, 3)];
    answers.iter_mut().flatten().for_each(|status| status.effects.dead = 2);
    let text = table(&addresses, &answers, None);
    assert!(text.contains("2 dead letters and 0 parked effects wait for an operator"), "{text}");
}

#[test]
fn what_is_not_known_is_not_told_as_if_nothing_committed() {
    use status::State::{Backup, Primary, ViewChange};
    let of = |answers: &[Answer], ports: &[u16]| {
        let addresses: Vec<_> = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        table(&addresses, answers, primary(answers))
    };
    let cannot = "whether a majority is in one view cannot be told from these replicas";
    let text = of(&[status(0, Primary, 3)], &[1]);
    assert!(
        text.ends_with(&format!("1 address for 3 replicas: give one for each, in their order\n{cannot}")),
        "{text}"
    );
    let twice = [status(1, Backup, 3), status(1, Backup, 3), status(2, Backup, 3)];
    let text = of(&twice, &[2, 2, 3]);
    assert!(text.contains("127.0.0.1:2 is given twice") && text.ends_with(cannot), "{text}");
    let text = of(&[status(1, Backup, 3), status(0, Primary, 3), status(2, Backup, 3)], &[2, 1, 3]);
    assert!(text.contains("127.0.0.1:2 is replica 1: give the addresses in the replicas' order"), "{text}");
    assert!(text.ends_with("the cluster serves"), "{text}");
    // Two of three that are between views are no majority with the third.
    assert!(!is_unknown(&[status(0, ViewChange, 3), away()]));
    assert!(!is_unknown(&[status(0, Primary, 3), away(), away()]), "all were asked");
    assert!(!is_unknown(&[away()]));
}

#[test]
fn effects_that_are_not_done_are_told_with_the_last_error_of_the_primary() {
    let failing = |state| {
        let counts = status::ChannelCounts {
            channel: "3".to_owned(),
            in_flight: 0,
            done: 0,
            failed: 4,
            refused: 0,
            unknown: 0,
            last_error: Some("the service could not be reached".to_owned()),
        };
        let effects = status::Effects { pending: 1, parked: 0, dead: 0, channels: vec![counts] };
        status(0, state, 3).map(|status| status::Status { effects, ..status })
    };
    let told = |answer: Answer| answer.iter().map(undone).collect::<String>();
    let line = "the effects of channel 3 are not done: the service could not be reached\n";
    assert_eq!(told(failing(status::State::Primary)), line);
    assert_eq!(told(failing(status::State::Backup)), "");
}

#[test]
fn who_never_joined_is_not_hidden_behind_a_majority() {
    use status::State::{Backup, Primary};
    let addresses: Vec<SocketAddr> = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port))).into();
    let told = |stranger: Answer| {
        let answers = [status(0, Primary, 3), status(1, Backup, 3), stranger];
        let text = table(&addresses, &answers, primary(&answers));
        text.lines().skip(4).map(str::to_owned).collect::<Vec<_>>()
    };
    let serves = "a majority is in one view: the cluster serves";
    assert_eq!(told(status(2, Backup, 3)), [serves]);
    let but = format!("{serves}, but 1 of 3 replicas takes no part");
    assert_eq!(
        told(status(2, Backup, 0)),
        ["replica 2 at 127.0.0.1:3 takes no part: it is in view 0, and the primary in 3", &but]
    );
    let refusal = status::Refusal {
        replica: Some(0),
        address: addresses.first().copied(),
        why: "it is of cluster 7, and this is of cluster 8: mend that".to_owned(),
        times: 9,
        ago_ms: 1,
    };
    let stranger = status(2, Backup, 3).map(|status| status::Status { cluster: 8, refusals: vec![refusal], ..status });
    assert_eq!(
        told(stranger),
        [
            "replica 2 at 127.0.0.1:3 takes no part: it is of cluster 8, and the primary of 7",
            "replica 2 at 127.0.0.1:3 does not speak with replica 0 at 127.0.0.1:1: it is of cluster 7, and this is of cluster 8: mend that",
            &but
        ]
    );
    assert!(told(away()).last() == Some(&but), "nor who does not answer");
}
