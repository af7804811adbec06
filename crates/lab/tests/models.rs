//! The real node held against the models: 1,000 nodes that follow the models' rules spread a message in as many rounds.
//!
//! Fanout 1, nobody stops, one contact a round: the rules of Demers et al. (1987) and Karp et al. (2000) as in every
//! simulation of them. Each message is one sample. The tolerance is that of four standard errors of the two means' difference,
//! wider by Student's t where samples are few. Seeds are fixed: this is statistics, and a rare deviation is none of a node.
//!
//! In push-pull the node differs from the models, and why it does is in `docs/decisions/0009-answers-on-arrival.md`.

#![expect(clippy::print_stdout, reason = "the figures of the decision record")]

mod support;

use std::time::Duration;

use rumormill_core::StopRule;
use rumormill_core::config::{ConfigBuilder, Forward, Mode};
use rumormill_core::rng::Rng;
use rumormill_lab::spread::Parameters;
use rumormill_lab::{Network, Summary, published, seeds};

const NODES: usize = 1_000;
/// Messages in each network, one after the other; few, because nobody stops telling the earlier ones.
const MESSAGES: usize = 5;
/// Each with its own network.
const SEEDS: [u64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Runs of a model.
const RUNS: usize = 2_000;
/// Long against a round trip, short against repair.
const ROUND: Duration = Duration::from_millis(20);

/// Rounds until all had each message.
fn rounds_of_real_nodes(mode: Mode, seed: u64) -> Vec<f64> {
    let config = ConfigBuilder {
        mode,
        fanout: 1,
        stop: StopRule::Never,
        forward: Forward::AtRounds,
        gossip_interval: ROUND,
        gossip_interval_max: ROUND,
        repair_interval: Duration::from_secs(20),
        // A ping carries news; there is next to none.
        probe_interval: Duration::from_mins(10),
        ..ConfigBuilder::lan()
    };
    let net = Network::new(seed).nodes(NODES).config(config).without_disks().unchecked();
    let net = net.latency(Duration::from_micros(50)).jitter(Duration::ZERO);
    let net = net.replay(seeds::replay_line(env!("CARGO_CRATE_NAME"), seed));
    let mut net = net.start_joined_within(Duration::ZERO).expect("views are complete");
    (0..MESSAGES).map(|number| rounds_to_all(&mut net, number * NODES / MESSAGES)).collect()
}

fn rounds_to_all(net: &mut Network, origin: usize) -> f64 {
    let round = |at: Duration| at.as_micros() / ROUND.as_micros();
    let published = net.now();
    let news = net.publish(origin, "news", b"rumor has it".to_vec());
    net.run_until(|net| net.reached_all(news), Duration::from_secs(10)).expect("it reaches all long before");
    let key = net.published(news).expect("it reached all");
    let last = net.measured().messages[key].arrivals.last().expect("it reached all").at;
    f64::from(u32::try_from(round(last) - round(published)).expect("few rounds"))
}

/// Rounds to all of one run of push-pull in which a peer answers with what it knows when the question arrives, as real nodes
/// do: what was pushed to it just before is in the answer. Callers come in random order.
fn rounds_answering_on_arrival(rng: &mut Rng) -> f64 {
    let mut knows = vec![false; NODES];
    knows[0] = true;
    let mut callers: Vec<usize> = (0..NODES).collect();
    for round in 1.. {
        let (frozen, mut pushed) = (knows.clone(), knows.clone());
        rng.shuffle(&mut callers);
        for &caller in &callers {
            let peer = (caller + 1 + rng.below(NODES - 1)) % NODES;
            pushed[peer] |= frozen[caller];
            knows[caller] |= pushed[peer];
        }
        knows.iter_mut().zip(pushed).for_each(|(knows, pushed)| *knows |= pushed);
        if knows.iter().all(|knows| *knows) {
            return f64::from(round);
        }
    }
    unreachable!("a round follows each round")
}

/// A sample's summary and its size.
#[derive(Clone, Copy, Debug)]
struct Sample {
    rounds: Summary,
    size: usize,
}

impl Sample {
    fn of(values: &[f64]) -> Self {
        Self { rounds: Summary::of(values).expect("some"), size: values.len() }
    }

    fn of_model(mode: Mode) -> Self {
        let parameters = Parameters { nodes: NODES, mode, runs: RUNS, ..Parameters::default() };
        Self { rounds: support::spread(&parameters).time_last, size: RUNS }
    }

    fn of_real_nodes(mode: Mode) -> Self {
        Self::of(&SEEDS.iter().flat_map(|&seed| rounds_of_real_nodes(mode, seed)).collect::<Vec<_>>())
    }

    /// How far the mean may lie from the true one with the chance of four standard deviations: Student's t at that level, by the
    /// expansion of Cornish and Fisher at z = 4.
    fn error(&self) -> f64 {
        let freedom = f64::from(u32::try_from(self.size - 1).expect("few samples"));
        let quantile = 4.0 + 17.0 / freedom + 64.1 / freedom.powi(2);
        quantile * self.rounds.error_of_mean(self.size)
    }

    #[track_caller]
    fn agrees_with(&self, other: &Self) {
        let tolerance = self.error().hypot(other.error());
        let story = format!("{self:?}, model {other:?}, tolerance {tolerance}; real nodes of seeds {SEEDS:?}");
        println!("{story}");
        assert!((self.rounds.mean - other.rounds.mean).abs() <= tolerance, "{story}");
    }
}

#[test]
fn the_models_here_are_those_of_the_published_simulations() {
    let here = |row: &published::RoundsRow| row.nodes == NODES && row.fanout == 1 && row.loss == 0.0;
    let rows: Vec<_> = published::rounds().filter(here).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        support::near(&format!("rounds, {:?}", row.mode), Sample::of_model(row.mode).rounds, RUNS, row.rounds);
    }
}

#[test]
fn real_nodes_push_as_the_model_does() {
    Sample::of_real_nodes(Mode::Push).agrees_with(&Sample::of_model(Mode::Push));
}

#[test]
fn real_nodes_pull_as_the_model_does() {
    Sample::of_real_nodes(Mode::Pull).agrees_with(&Sample::of_model(Mode::Pull));
}

/// Pushes and questions of a round arrive together, and a question is answered with what its peer knows by then:
/// some news goes two steps in a round.
#[test]
fn real_nodes_push_and_pull_as_the_model_does_whose_peers_answer_on_arrival() {
    let real = Sample::of_real_nodes(Mode::PushPull);
    let mut rng = Rng::new(1);
    let on_arrival: Vec<f64> = (0..RUNS).map(|_| rounds_answering_on_arrival(&mut rng)).collect();
    real.agrees_with(&Sample::of(&on_arrival));
    let frozen = Sample::of_model(Mode::PushPull);
    println!("as of the round {frozen:?}");
    let sooner = frozen.rounds.mean - real.rounds.mean;
    assert!(sooner > real.error().hypot(frozen.error()), "{real:?}, as of the round {frozen:?}");
}
