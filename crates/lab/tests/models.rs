//! The real node held against the models: 1,000 nodes that follow the models' rules spread a message in as many rounds.
//!
//! Fanout 1, nobody stops, one contact a round: the rules of Demers et al. (1987) and Karp et al. (2000) as in every
//! simulation of them. Each message is one sample. The tolerance is four standard errors of the two means' difference.

use std::time::Duration;

use rumormill_core::StopRule;
use rumormill_core::config::{ConfigBuilder, Forward, Mode};
use rumormill_core::rng::Rng;
use rumormill_lab::{Network, seeds};

const NODES: usize = 1_000;
/// Messages in each network, one after the other; few, because nobody stops telling the earlier ones.
const MESSAGES: usize = 5;
/// Runs of a model.
const RUNS: u64 = 1_000;
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

/// How a model's peers answer a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answers {
    /// With what they knew when the round began: the rule of the published simulations.
    AsOfTheRound,
    /// With what they know when the question arrives, as real nodes do: what was pushed to them just before is in it.
    OnArrival,
}

/// Rounds to all of one run of the bare model.
fn rounds_of_model(mode: Mode, answers: Answers, rng: &mut Rng) -> f64 {
    let mut knows = vec![false; NODES];
    knows[0] = true;
    let mut callers: Vec<usize> = (0..NODES).collect();
    for round in 1.. {
        let (frozen, mut pushed) = (knows.clone(), knows.clone());
        rng.shuffle(&mut callers);
        for &caller in &callers {
            let peer = (caller + 1 + rng.below(NODES - 1)) % NODES;
            pushed[peer] |= mode != Mode::Pull && frozen[caller];
            let answered = if answers == Answers::OnArrival { pushed[peer] } else { frozen[peer] };
            knows[caller] |= mode != Mode::Push && answered;
        }
        knows.iter_mut().zip(pushed).for_each(|(knows, pushed)| *knows |= pushed);
        if knows.iter().all(|knows| *knows) {
            return f64::from(round);
        }
    }
    unreachable!("a round follows each round")
}

/// Mean and standard error.
#[derive(Clone, Copy, Debug)]
struct Mean {
    mean: f64,
    error: f64,
}

impl Mean {
    fn of(values: &[f64]) -> Self {
        let count = f64::from(u32::try_from(values.len()).expect("few samples"));
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, error: (variance / count).sqrt() }
    }

    fn of_model(mode: Mode, answers: Answers) -> Self {
        let mut rng = Rng::new(1);
        Self::of(&(0..RUNS).map(|_| rounds_of_model(mode, answers, &mut rng)).collect::<Vec<_>>())
    }

    fn of_real_nodes(mode: Mode) -> Self {
        Self::of(
            &seeds::chosen(&[1, 2, 3, 4]).iter().flat_map(|&seed| rounds_of_real_nodes(mode, seed)).collect::<Vec<_>>(),
        )
    }

    fn agrees_with(self, other: Self) -> bool {
        (self.mean - other.mean).abs() <= 4.0 * self.error.hypot(other.error)
    }
}

#[test]
fn the_models_here_are_those_of_the_published_simulations() {
    // Mean rounds to all at 1,000 nodes and fanout 1, from 2,000 runs of the bare models and more.
    for (mode, published) in [(Mode::Push, 18.03), (Mode::Pull, 13.76), (Mode::PushPull, 9.15)] {
        let model = Mean::of_model(mode, Answers::AsOfTheRound);
        let published = Mean { mean: published, error: model.error };
        assert!(model.agrees_with(published), "{mode:?}: {model:?}, published {published:?}");
    }
}

#[test]
fn real_nodes_push_as_the_model_does() {
    let (real, model) = (Mean::of_real_nodes(Mode::Push), Mean::of_model(Mode::Push, Answers::AsOfTheRound));
    assert!(real.agrees_with(model), "{real:?}, model {model:?}");
}

#[test]
fn real_nodes_pull_as_the_model_does() {
    let (real, model) = (Mean::of_real_nodes(Mode::Pull), Mean::of_model(Mode::Pull, Answers::AsOfTheRound));
    assert!(real.agrees_with(model), "{real:?}, model {model:?}");
}

/// Pushes and questions of a round arrive together, and a question is answered with what its peer knows by then:
/// some news goes two steps in a round.
#[test]
fn real_nodes_push_and_pull_as_the_model_does_whose_peers_answer_on_arrival() {
    let real = Mean::of_real_nodes(Mode::PushPull);
    let [frozen, live] = [Answers::AsOfTheRound, Answers::OnArrival].map(|rule| Mean::of_model(Mode::PushPull, rule));
    assert!(real.agrees_with(live), "{real:?}, model {live:?}");
    assert!(real.mean < frozen.mean, "{real:?}, as of the round {frozen:?}");
}
