//! Looks on while a replica works: counts its rare paths, times its commits and its queries, and logs where it stands when that changes,
//! what is damaged and what is done about that.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant as Time},
};

use chronon::{
    app::application::Application,
    process::{Now, ProbeId, Process},
    replica::Replica,
    types::{Instant, View},
    vsr::{Probe, Status, Vsr},
};

use crate::{
    metrics::Metrics,
    runner::Watch,
    sinks::{Tally, Troubles},
    status::Effects,
    tcp::TcpCounts,
    telling::{Line, Telling, Weight},
};

/// How often numbers are published.
const INTERVAL: Duration = Duration::from_millis(200);

pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    /// By probe: how often, since it was last published.
    rare_paths: Vec<u64>,
    /// When each op that is not committed was logged, if this replica is the primary.
    logged: VecDeque<(u64, Instant)>,
    /// The last op that was seen in the log.
    seen: u64,
    /// When the round of queries in flight began; or the last one, if it ended with its view.
    round: Option<Instant>,
    stands: Option<(Status, View)>,
    is_grid_full: bool,
    is_syncing: bool,
    /// Whether it gives its word: what is usual is not told.
    votes: bool,
    telling: Telling,
    network: TcpCounts,
    sinks: Tally,
    published: Time,
}

impl Meter {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            rare_paths: Vec::new(),
            logged: VecDeque::new(),
            seen: 0,
            round: None,
            stands: None,
            is_grid_full: false,
            is_syncing: false,
            votes: true,
            telling: Telling::new(),
            network: TcpCounts::default(),
            sinks: Tally::default(),
            published: Time::now(),
        }
    }

    /// Whether it is time to publish.
    pub(crate) fn is_due(&self) -> bool {
        self.published.elapsed() >= INTERVAL
    }

    /// Publishes what there is. Of `queues` the names and the lengths; the replica's own are published anyway.
    pub(crate) fn publish<A: Application>(
        &mut self,
        replica: &Replica<A>,
        queues: impl IntoIterator<Item = (&'static str, u64)>,
        network: TcpCounts,
        sinks: &Tally,
    ) {
        self.published = Time::now();
        let (vsr, metrics) = (replica.vsr(), &self.metrics);
        metrics.view.set(vsr.view().0);
        metrics.op.set(vsr.log().head().0);
        metrics.commit.set(vsr.commit_max().0);
        metrics.applied.set(vsr.applied().0);
        metrics.is_primary.set(u64::from(vsr.is_primary()));
        metrics.checkpoint.set(vsr.checkpoints().op().0);
        metrics.is_grid_full.set(u64::from(vsr.checkpoints().is_full()));
        metrics.sessions.set(vsr.sessions().len() as u64);
        let own = replica.queues().map(|(name, length, _)| (name, length));
        for (name, length) in own.into_iter().chain(queues) {
            metrics.queue(name, length);
        }
        for (probe, kind) in [(Probe::QueryAnswered, "linearizable"), (Probe::QueryStale, "stale")] {
            metrics.queries(kind, self.rare_paths.get(probe as usize).copied().unwrap_or_default());
        }
        for (times, name) in self.rare_paths.iter_mut().zip(replica.probes()) {
            metrics.rare_path(name, std::mem::take(times));
        }
        metrics.network(&self.network, &network);
        self.network = network;
        let effects = Effects::of(replica.executor().outbox(), sinks, &Troubles::default());
        metrics.effects.set(effects.pending);
        metrics.held(effects.parked, effects.dead);
        metrics.sinks(&self.sinks, sinks);
        self.sinks.clone_from(sinks);
    }

    fn time_commits(&mut self, now: Instant, vsr: &Vsr) {
        let head = vsr.log().head().0;
        if !vsr.is_primary() {
            self.logged.clear();
            self.seen = head;
            return;
        }
        while self.seen < head {
            self.seen += 1;
            self.logged.push_back((self.seen, now));
        }
        while let Some((_, began)) = self.logged.front().copied().filter(|(op, _)| *op <= vsr.commit_max().0) {
            self.logged.pop_front();
            let took = Duration::from_nanos(now.0.saturating_sub(began.0));
            self.metrics.commit_latency.observe(took.as_secs_f64());
        }
    }

    /// A round is over when its first query is answered. The next one may begin in the same step.
    fn time_queries(&mut self, now: Instant, probe: ProbeId) {
        if probe == Probe::ReadRound.into() {
            self.round = Some(now);
        } else if probe == Probe::QueryAnswered.into()
            && let Some(began) = self.round.take()
        {
            let took = Duration::from_nanos(now.0.saturating_sub(began.0));
            self.metrics.query_latency.observe(took.as_secs_f64());
        }
    }

    fn log_stand(&mut self, vsr: &Vsr) {
        let stands = Some((vsr.status(), vsr.view()));
        if self.stands == stands {
            return;
        }
        self.stands = stands;
        let (view, op, commit) = (vsr.view().0, vsr.log().head().0, vsr.commit_max().0);
        match vsr.status() {
            Status::Booting => tracing::info!("reading the data file"),
            Status::ViewChange => tracing::info!(view, op, commit, "between views"),
            Status::Normal if vsr.is_primary() => tracing::info!(view, op, commit, "primary"),
            Status::Normal => tracing::info!(view, op, commit, primary = vsr.primary_of_view().0, "backup"),
        }
    }

    /// When it begins to fetch a checkpoint of the others: what comes of that is a rare path.
    fn log_sync(&mut self, vsr: &Vsr) {
        let checkpoints = vsr.checkpoints();
        if self.is_syncing == checkpoints.is_syncing() {
            return;
        }
        self.is_syncing = checkpoints.is_syncing();
        let (checkpoint, commit) = (checkpoints.op().0, vsr.commit_max().0);
        if self.is_syncing {
            tracing::info!(
                checkpoint,
                commit,
                "fetching a checkpoint of the others, for ops that are missing are no longer to be had"
            );
        } else {
            tracing::info!(checkpoint, commit, "no checkpoint is fetched any more");
        }
    }

    /// When it takes a lost replica's place, and when it has.
    fn log_word(&mut self, vsr: &Vsr) {
        if vsr.status() == Status::Booting || self.votes == vsr.votes() {
            return;
        }
        self.votes = vsr.votes();
        let (view, op) = (vsr.view().0, vsr.log().head().0);
        if self.votes {
            tracing::info!(view, op, "in the lost replica's place: it gives its word from now on");
        } else {
            tracing::info!(view, op, "takes a lost replica's place: it follows the log, and gives nobody its word yet");
        }
    }

    /// Logs the rare paths that are to be told of by now.
    fn tell(&mut self) {
        for Line { weight, words, times } in self.telling.lines(Time::now) {
            match weight {
                Weight::Noted => tracing::info!(times, "{words}"),
                Weight::Warned => tracing::warn!(times, "{words}"),
            }
        }
    }

    /// Once when the state outgrows the grid, and once when it fits again.
    fn log_grid(&mut self, vsr: &Vsr) {
        let checkpoints = vsr.checkpoints();
        if self.is_grid_full == checkpoints.is_full() {
            return;
        }
        self.is_grid_full = checkpoints.is_full();
        let (checkpoint, op, blocks) = (checkpoints.op().0, vsr.log().head().0, vsr.config().layout.block_count);
        if self.is_grid_full {
            tracing::warn!(
                checkpoint,
                op,
                blocks,
                "the state has no room for a checkpoint in the grid: have it made smaller before the journal is full, for requests are \
                 refused then"
            );
        } else {
            tracing::info!(checkpoint, op, blocks, "a checkpoint has room in the grid again");
        }
    }
}

impl<A: Application> Watch<Replica<A>> for Meter {
    fn stepped(&mut self, now: Now, replica: &Replica<A>, probes: &[ProbeId]) {
        for probe in probes {
            let place = usize::from(probe.0);
            if self.rare_paths.len() <= place {
                self.rare_paths.resize(replica.probes().len(), 0);
            }
            self.rare_paths[place] += 1;
            self.time_queries(now.monotonic, *probe);
            self.telling.took(*probe);
        }
        self.tell();
        self.time_commits(now.monotonic, replica.vsr());
        self.log_stand(replica.vsr());
        self.log_grid(replica.vsr());
        self.log_sync(replica.vsr());
        self.log_word(replica.vsr());
    }
}
