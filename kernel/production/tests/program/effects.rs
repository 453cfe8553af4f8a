//! What an operator decides of effects that were given up, and what is told of them then.

use std::{fs, net::SocketAddr};

use chronon::{
    app::{
        application::{ApplyContext, Event, Outcome, Rejection},
        effect::{OnExhausted, Policy},
        number::Number,
    },
    effect::Channel,
    storage::Layout,
};
use chronon_production::{
    client::{Client, Options},
    local::LocalCluster,
    status::{ChannelCounts, Status},
};

use crate::support::{Folder, PATIENCE, Ran, ask_until, chronon};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 64 << 10, block_count: 64, block_size: 16 << 10 };

/// Fetches, or writes in channel 5, as it is asked to; the numbers that came back it adds up. Nothing here does either.
fn change(number: &mut u64, event: Event<'_>, _: &ApplyContext, outcome: &mut Outcome) -> Result<(), Rejection> {
    let full = |_| Rejection::new(1);
    match event {
        Event::Request { payload: b"fetch" } => {
            outcome
                .fetch("http://127.0.0.1/rate", Policy::FETCH.with_exhausted(OnExhausted::DeadLetter))
                .map_err(full)?;
        }
        Event::Request { .. } => {
            outcome.emit(Channel(5), "a letter", Policy::EMIT).map_err(full)?;
        }
        Event::Fetched { response, .. } => {
            let text = std::str::from_utf8(response).unwrap_or_default();
            *number += text.trim().parse().unwrap_or(1_000_000);
        }
        _ => {}
    }
    Ok(())
}

/// A replica of that, its client, and what an operator asks of it by the program.
struct Served {
    cluster: LocalCluster,
    client: Client,
}

impl Served {
    fn start(folder: &Folder) -> Self {
        let cluster = LocalCluster::start(&Number::new(change), folder.path(), 1, LAYOUT, |_| {}).unwrap();
        let client =
            Client::connect(cluster.addresses(), Options { patience: PATIENCE, ..Options::default() }).unwrap();
        Self { cluster, client }
    }

    fn address(&self) -> SocketAddr {
        self.cluster.addresses()[0]
    }

    /// Has effects of these kinds asked for, and waits until they are dead letters.
    fn give_up(&self, kinds: &[&str]) {
        kinds.iter().for_each(|kind| assert!(self.client.request(*kind).unwrap().result.is_ok(), "{kind}"));
        self.until("they were given up", |status| status.effects.dead == kinds.len() as u64);
    }

    fn until(&self, what: &str, reached: impl Fn(&Status) -> bool) -> Status {
        ask_until(self.address(), what, reached)
    }

    fn effects(&self, arguments: &[&str]) -> Ran {
        chronon(&[&["effects", "--addresses", &self.address().to_string()], arguments].concat())
    }

    /// The ids of those of a channel that wait.
    fn held(&self, channel: &str) -> Vec<String> {
        let listed = self.effects(&["list", "--json"]).json();
        let of_channel = |effect: &&serde_json::Value| effect["channel"] == channel;
        let effects = listed["effects"].as_array().unwrap().iter().filter(of_channel);
        effects.map(|effect| effect["id"].as_str().unwrap().to_owned()).collect()
    }

    fn sum(&self) -> u64 {
        let answer = self.client.query(b"").unwrap().result.unwrap();
        u64::from_le_bytes(answer[..].try_into().unwrap())
    }
}

#[test]
fn an_operator_says_what_came_back_of_a_fetch() {
    let folder = Folder::new("effects-response");
    let served = Served::start(&folder);
    served.give_up(&["fetch", "fetch", "fetch", "letter"]);
    let file = folder.path().join("rate");
    fs::write(&file, "40\n").unwrap();
    let (fetches, letters) = (served.held("fetch"), served.held("5"));
    let [first, second, third] = &fetches[..] else { panic!("three of them: {fetches:?}") };
    let from_file = format!("@{}", file.display());

    for (arguments, words) in [
        (&["resolve", "--response", "7", &letters[0]][..], "is an effect of channel 5: resolve that one without it"),
        (&["resolve", "--response", "7", "--all"], "cannot be used with"),
        (&["resolve", "--response", "@/nowhere", first], "--response @/nowhere: No such file"),
        (&["resolve", "--response", "@/dev/zero", first], "--response @/dev/zero: it has more than"),
        (&["drop", "--response", "7", first], "unexpected argument"),
    ] {
        let refused = served.effects(arguments);
        assert_eq!((refused.status, refused.out.as_str()), (2, ""), "{arguments:?}: {refused:?}");
        refused.assert_says(&[words]);
    }
    assert_eq!((served.held("fetch").len(), served.sum()), (3, 0), "nothing was decided");

    for (arguments, sum) in [
        (&["resolve", "--response", "2", first][..], 2),
        (&["resolve", second, "--response", &from_file], 42),
        (&["resolve", third], 1_000_042),
        (&["resolve", &letters[0]], 1_000_042),
    ] {
        let resolved = served.effects(arguments);
        assert_eq!(resolved.status, 0, "{arguments:?}: {resolved:?}");
        resolved.assert_says(&["resolved"]);
        assert_eq!(served.sum(), sum, "{arguments:?}");
    }
    assert_eq!(served.until("none is left", |status| status.effects.pending == 0).effects.dead, 0);
    chronon(&["effects", "resolve", "--help"]).assert_says(&["--response <TEXT|@FILE>", "--response @answer.json"]);
}

#[test]
fn a_channel_whose_effects_were_dropped_fails_no_longer() {
    let folder = Folder::new("effects-dropped");
    let served = Served::start(&folder);
    served.give_up(&["letter", "letter", "fetch"]);
    let error_of = |status: &Status, channel: &str| {
        let of_channel = |it: &&ChannelCounts| it.channel == channel;
        status.effects.channels.iter().find(of_channel).unwrap().last_error.clone()
    };
    let no_sink = Some("no sink is configured for it".to_owned());
    let errors = |status: &Status| [error_of(status, "5"), error_of(status, "fetch")];
    let said = || chronon(&["status", "--addresses", &served.address().to_string()]).out;
    let line = |channel: &str| format!("the effects of channel {channel} are not done: no sink is configured for it\n");
    assert_eq!(errors(&served.until("both", |_| true)), [no_sink.clone(), no_sink.clone()]);
    assert!(said().contains(&line("5")) && said().contains(&line("fetch")), "{}", said());

    let letters = served.held("5");
    assert_eq!(served.effects(&["drop", &letters[0]]).status, 0);
    assert_eq!(errors(&served.until("one is left", |status| status.effects.dead == 2))[0], no_sink);
    assert_eq!(served.effects(&["drop", &letters[1]]).status, 0);
    let status = served.until("none is left", |status| status.effects.dead == 1);
    assert_eq!(errors(&status), [None, no_sink], "of what is no more nothing is wrong");
    assert!(!said().contains(&line("5")) && said().contains(&line("fetch")), "{}", said());
}
