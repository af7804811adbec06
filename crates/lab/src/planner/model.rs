//! What a node of given settings will do in a cluster of given size, computed and not simulated.
//!
//! The formulas follow `docs/protocol.md` and the code of core: packet sizes, the waves in which fresh news goes out, the
//! adaptive timeout, the suspicion's time. Nothing in them was fitted to a simulation. Left out: feedback from receivers, that
//! nobody is told who is known to know, lower health, and whatever a cluster does while it starts.

use rumormill_core::ConfigBuilder;
use rumormill_core::config::Mode;
use rumormill_core::rng::Rng;
use serde::Serialize;

use super::Conditions;
use crate::summary::count;
use crate::theory;

/// Headers of a datagram: IPv4, UDP, the protocol's own, and its version.
const ENVELOPE: f64 = 28.0 + 31.0;
/// A ping or an ack.
const PROBE: f64 = ENVELOPE + 11.0;
/// A `ping_req` with an IPv4 address.
const PING_REQ: f64 = ENVELOPE + 19.0;
/// An updates frame with one message, beside its payload: frame, item, update, a topic of five bytes.
const MESSAGE: f64 = 5.0 + 3.0 + 25.0 + 5.0;
/// Sketches of both spaces: one symbol of the members, eight of the messages.
const SKETCHES: f64 = 2.0 * 21.0 + 9.0 * 12.0;
/// What settles both.
const SETTLED: f64 = 2.0 * 14.0;
/// What acks and probes are granted under any contract, in bytes a second.
const URGENT: f64 = 2_000.0;
/// The first wait before a segment of a stream is sent again.
const RETRANSMISSION: f64 = 0.2;
/// The part of an interval after which fresh news goes out once more.
const ECHO_PART: f64 = 8.0;
/// How long a curve is followed, in seconds; behind it only repair helps.
const HORIZON: f64 = 60.0;
/// Steps of the walk of a timeout.
const WALK: u32 = 20_000;
/// Points of a curve at most.
const POINTS_MAX: f64 = 100_000.0;

/// What is predicted for a cluster; times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Until half of the messages have reached every node. (The mean would tell of the few that wait for repair.)
    pub time_to_all: f64,
    /// Until 99 of 100 have.
    pub time_to_all_p99: f64,
    /// Until the first node has declared a crashed member dead.
    pub detection_first: f64,
    /// Until all have.
    pub detection_all: f64,
    /// Suspicions of live members that a node raises in an hour.
    pub suspicions_per_node_hour: f64,
    /// Live members that a node declares dead in an hour; at most so many.
    pub false_deaths_per_node_hour: f64,
    /// What a node sends, headers included.
    pub bytes_per_second: f64,
}

/// A prediction for one cluster.
#[derive(Clone, Debug)]
pub(super) struct Model<'a> {
    nodes: f64,
    /// The chance that a datagram arrives.
    arrives: f64,
    /// One way, in seconds.
    hop: f64,
    conditions: &'a Conditions,
    config: &'a ConfigBuilder,
    /// How often a node sends an update in all.
    sends: f64,
    /// How long a curve is followed, in seconds.
    horizon: f64,
}

/// How fast settings are and what they cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bill {
    /// Until 99 of 100 messages have reached all.
    pub(super) time: f64,
    pub(super) bytes_per_second: f64,
}

/// The share of nodes that a message has reached, by time.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    step: f64,
    informed: Vec<f64>,
    /// What share of those who lack it get it in a second, behind the last point.
    repaired: f64,
}

impl<'a> Model<'a> {
    pub(super) fn new(nodes: usize, conditions: &'a Conditions, config: &'a ConfigBuilder) -> Self {
        // A rule without a bound is never proposed.
        let sends = f64::from(config.stop.sends_max(nodes, config.fanout).unwrap_or(u32::MAX));
        let hop = conditions.latency.as_secs_f64() + conditions.jitter.as_secs_f64() / 2.0;
        Self { nodes: count(nodes), arrives: 1.0 - conditions.loss, hop, conditions, config, sends, horizon: HORIZON }
    }

    pub(super) fn figures(&self) -> Figures {
        let curve = self.curve();
        let (time_to_all, time_to_all_p99) = (curve.time_until(self.nodes, 0.5), curve.time_until(self.nodes, 0.99));
        let first = self.first_probe() + self.failing_probe() + self.verdict();
        let suspicions = self.suspicions();
        Figures {
            time_to_all,
            time_to_all_p99,
            detection_first: first,
            detection_all: first + time_to_all,
            suspicions_per_node_hour: suspicions,
            false_deaths_per_node_hour: suspicions * self.is_not_refuted(),
            bytes_per_second: self.bytes_per_second(),
        }
    }

    /// Only what a choice depends on.
    pub(super) fn bill(&self) -> Bill {
        Bill { time: self.curve().time_until(self.nodes, 0.99), bytes_per_second: self.bytes_per_second() }
    }

    /// Suspicions of live members that a node raises in an hour.
    pub(super) fn suspicions(&self) -> f64 {
        3_600.0 / self.config.probe_interval.as_secs_f64() * self.probe_fails()
    }

    fn bytes_per_second(&self) -> f64 {
        self.idle() + self.conditions.rate * self.bytes_per_message()
    }

    /// How a message spreads, as a mean field: what is expected of many is taken for what happens.
    ///
    /// Whoever learns it sends it to `fanout` others at once, to as many an eighth of an interval later, then to as many at each
    /// round (which begin at a random moment of the interval) and with its pings and acks, until the stop rule ends it. Who
    /// lacks it then is helped by anti-entropy, without which the curve would end below 1.
    pub(super) fn curve(&self) -> Curve {
        let interval = self.config.gossip_interval.as_secs_f64();
        let step = self.hop.max(interval / 500.0).max(1e-6);
        let ages = |time: f64| (time / step).round();
        let hop = ages(self.hop).max(1.0);
        let fanout = count(self.config.fanout).min(self.nodes - 1.0);
        let at_once = fanout.min(self.sends);
        let echoed = fanout.min(self.sends - at_once).min(self.nodes - 1.0 - at_once).max(0.0);
        let rest = self.sends - at_once - echoed;
        let per_second = fanout / interval + self.probes_with_news();
        let (echo, hot) = (ages(interval / ECHO_PART), ages(rest / per_second));
        // Peers of one wave are distinct: of n nodes that each send to k, a given one is missed by all.
        let wave = |peers: f64| -self.nodes * (-self.arrives * peers / (self.nodes - 1.0)).max(-0.999_999).ln_1p();
        let (first, second, later) = (wave(at_once), wave(echoed), wave(1.0) * per_second * step);
        let repaired = self.repaired();
        let (asks, asks_after) = (repaired * step, ages(interval / 2.0 + 2.0 * self.hop));
        let points = ages(self.horizon).clamp(1.0, POINTS_MAX);
        let mut informed = vec![1.0 / self.nodes];
        while count(informed.len()) < points {
            let known = informed[informed.len() - 1];
            let at = |age: f64| delayed(&informed, age);
            let news = |age: f64| at(age) - at(age + 1.0);
            let told = first * news(hop - 1.0) + second * news(hop - 1.0 + echo) + later * (at(hop) - at(hop + hot));
            let asked = asks * at(asks_after);
            informed.push(1.0 - (1.0 - known) * (-told - asked).exp());
            if self.nodes * (1.0 - known) < 1e-3 || told < asked / 10.0 {
                break;
            }
        }
        Curve { step, informed, repaired }
    }

    /// The share of nodes that the push alone reaches, without any comparison, as if each send went to anybody.
    pub(super) fn coverage(&self) -> f64 {
        1.0 - theory::final_size(self.arrives * self.sends)
    }

    /// Pings and acks of a node in a second; they carry what is hot, unless there is a contract.
    fn probes_with_news(&self) -> f64 {
        if self.config.bandwidth_max > 0 { 0.0 } else { self.probes() / self.config.probe_interval.as_secs_f64() }
    }

    /// How often a second one of those who lack something is helped by a comparison.
    ///
    /// A node that only pushes compares itself with one peer in each `repair_interval`, and another does with it. In
    /// push-pull each ping and each ack shows whether roots differ, and who sees it asks at its next round; besides, after each
    /// message every node asks at some rounds, and is asked. A question to who has it takes two datagrams, one from it three.
    fn repaired(&self) -> f64 {
        let q = self.arrives;
        if self.config.mode == Mode::Push {
            return 2.0 * q * q / self.config.repair_interval.as_secs_f64();
        }
        let (hot, cold) = self.questions();
        let by_rounds = self.conditions.rate * (hot + cold) * (q * q + q.powi(3));
        (q * q + q) / self.config.probe_interval.as_secs_f64() * q * q + by_rounds
    }

    /// The chance that a ping and its ack both arrive.
    fn both_ways(&self) -> f64 {
        self.arrives * self.arrives
    }

    /// What a node waits for one ack, in the mean over time: smoothed round trip plus four deviations (RFC 6298), where an ack
    /// after another ping counts from the first. Loss makes both grow with the timeout itself, up to its bound; as that is
    /// a random walk, it is walked.
    fn timeout(&self) -> f64 {
        let (least, most) = (self.config.probe_timeout_min.as_secs_f64(), self.config.probe_timeout.as_secs_f64());
        let (latency, jitter) = (self.conditions.latency.as_secs_f64(), self.conditions.jitter.as_secs_f64());
        let rng = &mut Rng::new(1);
        let (mut smoothed, mut deviation) = (2.0 * latency + jitter, latency);
        let (mut timeout, mut sum) = (most, 0.0);
        for _ in 0..WALK {
            let trip = 2.0 * latency + (rng.fraction() + rng.fraction()) * jitter;
            let answered = (0..=self.config.probe_resends).find(|_| !rng.chance(1.0 - self.both_ways()));
            if let Some(lost) = answered {
                let took: f64 = trip + f64::from(lost) * timeout;
                deviation = deviation * 0.75 + (smoothed - took).abs() / 4.0;
                smoothed = smoothed * 0.875 + took / 8.0;
            }
            timeout = (smoothed + 4.0 * deviation).max(3.0 * trip).clamp(least, most);
            sum += timeout;
        }
        sum / f64::from(WALK)
    }

    /// Until anybody probes a crashed member. Nodes are not in step: each comes to it at a moment of its own within a pass,
    /// and the first of n − 1 such moments falls after (n − 1)/n intervals in the mean.
    fn first_probe(&self) -> f64 {
        self.config.probe_interval.as_secs_f64() * (self.nodes - 1.0) / self.nodes
    }

    /// A probe that nobody answers: all pings, then twice the timeout for the relays.
    fn failing_probe(&self) -> f64 {
        self.timeout() * (f64::from(self.config.probe_resends) + 3.0)
    }

    /// From the first suspicion to the first verdict (Lifeguard §IV-B): `suspicion_timeout_factor` times the least at
    /// first, less with each of K confirmations. They come from the K + 1 others who draw the lot to probe at once and from those whose turn
    /// it is, one for each interval; both take a failing probe, the latter begun before.
    fn verdict(&self) -> f64 {
        let peers = self.nodes - 2.0;
        let wanted = f64::from(self.config.confirmations).min((peers).max(0.0));
        let log = self.config.suspicion_timeout_log.as_secs_f64() * self.nodes.log10();
        let least = self.config.suspicion_timeout_min.as_secs_f64().max(log);
        let most = least * f64::from(self.config.suspicion_timeout_factor);
        if wanted < 1.0 {
            return least;
        }
        let needed = |time: f64| {
            let timeout = |confirmed: f64| most - (most - least) * (confirmed + 1.0).ln() / (wanted + 1.0).ln();
            (0..=64)
                .map(f64::from)
                .find(|confirmed| *confirmed >= wanted || timeout(*confirmed) <= time)
                .unwrap_or(64.0)
        };
        let lots = (wanted + 1.0).min(peers);
        let interval = self.config.probe_interval.as_secs_f64();
        let probed = self.failing_probe();
        let came = |time: f64| if time > probed { lots } else { 0.0 } + (time / interval).min(peers);
        let step = (most - least).max(least) / 4_000.0;
        let steps = ((most - least) / step).ceil();
        let mut expected = least;
        let mut time = least + step / 2.0;
        while time < least + steps * step {
            expected += step * poisson_below(needed(time), came(time));
            time += step;
        }
        expected - 2.0 * self.config.probe_timeout_min.as_secs_f64() + 2.0 * self.timeout()
    }

    /// The chance that the probe of a live member fails: every ping and its ack, every relay (question, two pings and an
    /// ack, answer), and the stream, which waits for lost segments to be sent again.
    pub(super) fn probe_fails(&self) -> f64 {
        let (q, both) = (self.arrives, self.both_ways());
        let relays = (count(self.config.indirect_probes)).min(self.nodes - 2.0);
        let direct = (1.0 - both).powf(f64::from(self.config.probe_resends) + 1.0);
        let relayed = (1.0 - q * q * (1.0 - (1.0 - both).powi(2))).powf(relays);
        direct * relayed * if self.config.stream_probe { self.stream_fails() } else { 1.0 }
    }

    /// Opening, ping and ack cross in time unless more segments get lost than can be sent again in it.
    fn stream_fails(&self) -> f64 {
        let (mut spare, mut wait) = (0, RETRANSMISSION.max(4.0 * self.hop));
        let mut left = 2.0 * self.timeout() - 4.0 * self.hop;
        while left >= wait && spare < 8 {
            left -= wait;
            wait *= 2.0;
            spare += 1;
        }
        let lost = 1.0 - self.arrives;
        // Three crossings with at most `spare` losses among them: negative binomial.
        let chances = (0..=spare).map(|losses| f64::from((losses + 1) * (losses + 2)) / 2.0 * lost.powi(losses));
        1.0 - self.arrives.powi(3) * chances.sum::<f64>()
    }

    /// The chance that a live suspect does not contradict, at most: none of the K + 1 who probe it at once gets through to
    /// it with the suspicion, and neither does the last probe, which is two pings.
    fn is_not_refuted(&self) -> f64 {
        let lost = 1.0 - self.arrives;
        let probers = (f64::from(self.config.confirmations) + 1.0).min(self.nodes - 2.0).max(0.0);
        let reached = 1.0 - lost.powf(f64::from(self.config.probe_resends) + 1.0);
        (-probers * reached).exp() * (1.0 - self.both_ways()).powi(2)
    }

    /// Pings and acks that a node sends in an interval.
    fn probes(&self) -> f64 {
        let lost = 1.0 - self.both_ways();
        let pings: f64 = (0..=self.resends()).map(|n| lost.powi(n)).sum();
        pings * (1.0 + self.arrives)
    }

    fn resends(&self) -> i32 {
        i32::try_from(self.config.probe_resends).unwrap_or(i32::MAX).min(64)
    }

    /// Bytes a second when there is no news.
    fn idle(&self) -> f64 {
        let indirect = (1.0 - self.both_ways()).powi(self.resends() + 1) * count(self.config.indirect_probes);
        let interval = self.probes() * PROBE + indirect * (PING_REQ + 3.0 * PROBE);
        interval / self.config.probe_interval.as_secs_f64()
    }

    /// What a node sends because of one message: each of its sends, and the questions of push-pull with their answers.
    fn bytes_per_message(&self) -> f64 {
        let pushes = self.sends * self.push_bytes();
        if self.config.mode == Mode::Push {
            return pushes;
        }
        let (hot, cold) = self.questions();
        let answers = (hot + cold) * self.arrives * (ENVELOPE + SETTLED);
        pushes + hot * SKETCHES + cold * (ENVELOPE + SKETCHES) + answers
    }

    /// Questions that a node asks because of one message, in push-pull: with each round while it is hot; then at intervals that
    /// double until the next message, or until repair takes over.
    fn questions(&self) -> (f64, f64) {
        let (interval, fanout) = (self.config.gossip_interval.as_secs_f64(), count(self.config.fanout));
        let hot = ((self.sends - 2.0 * fanout) / fanout).max(1.0).ceil();
        let gap = if self.conditions.rate > 0.0 { self.conditions.rate.recip() } else { f64::INFINITY };
        let (mut at, mut wait, mut cold) = (hot * interval, 2.0 * interval, 0.0);
        while wait < self.config.repair_interval.as_secs_f64() && at + wait < gap {
            at += wait;
            wait *= 2.0;
            cold += 1.0;
        }
        (hot.min((gap / interval).max(1.0)), cold)
    }

    /// A datagram that carries one message.
    fn push_bytes(&self) -> f64 {
        ENVELOPE + MESSAGE + count(self.conditions.payload)
    }

    /// Whether the contract lets pass what a message brings at once, and what all of it comes to in the mean. Buckets hold
    /// a quarter of their second and are filled with three quarters.
    pub(super) fn fits(&self, bandwidth: u64) -> bool {
        let other = bytes(bandwidth) - URGENT;
        let news = self.conditions.rate * self.bytes_per_message();
        let burst = 2.0 * count(self.config.fanout) * self.push_bytes();
        self.idle() <= 0.75 * URGENT && news <= 0.75 * other && burst <= other / 4.0
    }

    /// The least contract that does; a node has one of its own, four of the largest datagrams beside what is urgent.
    pub(super) fn bandwidth_needed(&self, mtu_bytes: usize) -> f64 {
        let news = self.conditions.rate * self.bytes_per_message();
        let burst = 2.0 * count(self.config.fanout) * self.push_bytes();
        URGENT + (news / 0.75).max(4.0 * burst).max(4.0 * (count(mtu_bytes) + 28.0))
    }
}

impl Curve {
    /// Until it has reached all with that probability, taking the number that lack it for Poisson.
    fn time_until(&self, nodes: f64, probability: f64) -> f64 {
        let left = -probability.ln();
        let steps = self.informed.iter().position(|known| nodes * (1.0 - known) <= left);
        let end = self.step * count(steps.unwrap_or(self.informed.len() - 1));
        let lacking = nodes * (1.0 - self.informed[self.informed.len() - 1]);
        if steps.is_some() { end } else { end + (lacking / left).ln() / self.repaired }
    }

    /// Points to draw.
    pub(super) fn points(&self) -> Vec<(f64, f64)> {
        let each = self.informed.len().div_ceil(400).max(1);
        (0..self.informed.len()).step_by(each).map(|at| (self.step * count(at), self.informed[at])).collect()
    }
}

/// The share informed `age` steps before the last.
fn delayed(informed: &[f64], age: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, below the horizon"
    )]
    let age = age.max(0.0) as usize;
    informed.len().checked_sub(age + 1).map_or(0.0, |at| informed[at])
}

/// The chance that a Poisson number with that mean is below a whole number.
fn poisson_below(bound: f64, mean: f64) -> f64 {
    let (mut chance, mut sum, mut number) = ((-mean).exp(), 0.0, 0.0);
    while number < bound {
        sum += chance;
        number += 1.0;
        chance *= mean / number;
    }
    sum
}

/// Bytes as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "bytes a second are far below 2^53")]
pub(super) fn bytes(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(loss: f64) -> Conditions {
        Conditions { loss, ..Conditions::default() }
    }

    #[test]
    fn an_idle_node_sends_what_the_protocol_document_says() {
        let (conditions, config) = (Conditions { rate: 0.0, ..conditions(0.0) }, ConfigBuilder::lan());
        let model = Model::new(100, &conditions, &config);
        assert!((model.figures().bytes_per_second - 140.0).abs() < 1e-9);
    }

    #[test]
    fn the_first_wave_reaches_as_many_as_infect_and_die_does() {
        // Up to the echo: nobody has sent more than once, and s = e^(-3 (1 - s)) are missed.
        let (conditions, config) = (conditions(0.0), ConfigBuilder::lan());
        let curve = Model::new(10_000, &conditions, &config).curve();
        let before_echo = curve.informed.iter().zip(0_u32..).filter(|(_, at)| f64::from(*at) * curve.step < 0.02);
        let (reached, _) = before_echo.last().expect("there are steps");
        // Rounds that happen to begin early reach some more.
        let once = 1.0 - theory::final_size(3.0);
        assert!((once..once + 0.03).contains(reached), "{reached}, infect and die {once}");
    }

    #[test]
    fn without_loss_round_trips_alone_set_the_timeout_and_loss_drives_it_to_its_bound() {
        let config = ConfigBuilder::lan();
        let timeout = |loss: f64| Model::new(100, &conditions(loss), &config).timeout();
        assert!((timeout(0.0) - 0.05).abs() < 1e-9, "{}", timeout(0.0));
        assert!((0.4..=0.5).contains(&timeout(0.2)), "{}", timeout(0.2));
    }

    #[test]
    fn probes_fail_as_swim_says_where_a_node_does_as_swim() {
        // No second ping, no stream; a relay here pings twice, which SWIM's does not.
        let config =
            ConfigBuilder { probe_resends: 0, stream_probe: false, indirect_probes: 0, ..ConfigBuilder::lan() };
        let fails = Model::new(100, &conditions(0.1), &config).probe_fails();
        assert!((fails - theory::probe_failure(0.1, 0)).abs() < 1e-12);
    }
}
