//! What a sweep must know of each study: how it runs, what of its outcome can be drawn, and which formula stands beside.

use rumormill_lab::jobs::Watch;
use rumormill_lab::scenario::Run as Running;
use rumormill_lab::sweep::{Field, Law};
use rumormill_lab::{Error, Scenario, averaging, detection as detecting, sketches, spread as spreading, theory};
use serde::Serialize;
use serde_json::Value;

use super::Study;
use crate::failure::Failure;
use crate::lab::run::{self, Run};
use crate::lab::{Drawing, average::Average, detection::Detection, sketch::Sketch, spread::Spread};

const fn number(path: &'static str, label: &'static str) -> Field {
    Field { path, label, is_share: false }
}

const fn share(path: &'static str, label: &'static str) -> Field {
    Field { path, label, is_share: true }
}

fn document(outcome: &impl Serialize) -> Value {
    serde_json::to_value(outcome).expect("numbers and words")
}

impl Study for Spread {
    const NAME: &'static str = "spread";
    const FIELDS: &'static [Field] = &[
        number("time_last.mean", "rounds until the last informed node knew"),
        number("time_average.mean", "rounds until a node knew, mean"),
        number("traffic.mean", "update messages per node"),
        share("residue.mean", "nodes that never learn it"),
        share("coverage.mean", "nodes that learn it"),
        share("atomic", "runs that reach every node"),
        share("curve", "informed nodes"),
    ];
    type Job = spreading::Parameters;

    fn job(&self) -> Result<Self::Job, Failure> {
        Ok(self.parameters()?)
    }

    fn bytes(job: &Self::Job) -> u64 {
        job.bytes(1)
    }

    fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    fn work(job: &Self::Job, watch: &dyn Watch) -> Result<Value, Error> {
        Ok(document(&spreading::run(job, watch)?))
    }

    fn law(job: &Self::Job, x: &str, y: &str, outcome: &Value) -> Option<Law> {
        let traffic = outcome["traffic"]["mean"].as_f64()?;
        let predicted = match y {
            // Against the traffic the law of the traffic, where it holds, rather than the root of a rule.
            "residue.mean" if x == "traffic.mean" => {
                job.residue_predicted(traffic)?;
                let law = theory::residue_of_traffic(traffic);
                return (job.loss == 0.0).then(|| Law { text: "e^−m".to_owned(), value: law, of_x_alone: true });
            }
            "residue.mean" => job.residue_predicted(traffic),
            "time_last.mean" => job.time_last_predicted(),
            _ => None,
        };
        predicted.map(|formula| Law { text: formula.text, value: formula.value, of_x_alone: false })
    }
}

impl Study for Run {
    const NAME: &'static str = "run";
    const FIELDS: &'static [Field] = &[
        number("messages.last", "time until all have a message, mean (s)"),
        number("messages.average", "time until a node has a message, mean (s)"),
        number("messages.hops.mean", "hops of a message, mean"),
        number("messages.redundancy", "copies more than one, for each receiver"),
        number("failures.first", "time until the first knows of a failure, mean (s)"),
        number("failures.last", "time until all know of a failure, mean (s)"),
        number("false_positives", "living members declared dead, over all nodes"),
        number("suspicions", "suspicions, over all nodes"),
        number("joined_after", "time until all know all (s)"),
        number("per_node.bytes_per_second.mean", "bytes sent per second and node"),
        number("per_node.datagrams_per_second.mean", "datagrams sent per second and node"),
        number("events", "events"),
    ];
    type Job = Scenario;

    fn job(&self) -> Result<Self::Job, Failure> {
        let scenario = run::read(self)?;
        scenario.check()?;
        Ok(scenario)
    }

    fn bytes(job: &Self::Job) -> u64 {
        job.bytes()
    }

    fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    fn work(job: &Self::Job, watch: &dyn Watch) -> Result<Value, Error> {
        let mut running = Running::start(job)?;
        running.go(watch)?;
        Ok(document(&running.outcome()))
    }

    fn law(_: &Self::Job, _: &str, _: &str, _: &Value) -> Option<Law> {
        None
    }
}

impl Study for Sketch {
    const NAME: &'static str = "sketch";
    const FIELDS: &'static [Field] =
        &[number("symbols_per_difference.mean", "symbols per difference"), number("bytes", "bytes of the sketch")];
    type Job = sketches::Parameters;

    fn job(&self) -> Result<Self::Job, Failure> {
        Ok(self.parameters()?)
    }

    fn bytes(job: &Self::Job) -> u64 {
        job.bytes(1)
    }

    fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    fn work(job: &Self::Job, watch: &dyn Watch) -> Result<Value, Error> {
        Ok(document(&sketches::run(job, watch)?))
    }

    fn law(_: &Self::Job, _: &str, y: &str, outcome: &Value) -> Option<Law> {
        let value = (y == "symbols_per_difference.mean").then(|| outcome["theory"].as_f64())??;
        Some(Law { text: "published".to_owned(), value, of_x_alone: false })
    }
}

impl Study for Average {
    const NAME: &'static str = "average";
    const FIELDS: &'static [Field] = &[number("variance_factor.mean", "factor of the variance in a cycle")];
    type Job = averaging::Parameters;

    fn job(&self) -> Result<Self::Job, Failure> {
        Ok(self.parameters()?)
    }

    fn bytes(job: &Self::Job) -> u64 {
        job.bytes(1)
    }

    fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    fn work(job: &Self::Job, watch: &dyn Watch) -> Result<Value, Error> {
        Ok(document(&averaging::run(job, watch)?))
    }

    fn law(_: &Self::Job, _: &str, y: &str, outcome: &Value) -> Option<Law> {
        let value = (y == "variance_factor.mean").then(|| outcome["theory"].as_f64())??;
        Some(Law { text: "theory".to_owned(), value, of_x_alone: false })
    }
}

impl Study for Detection {
    const NAME: &'static str = "detection";
    const FIELDS: &'static [Field] = &[
        number("first_detection.mean", "periods until somebody notices"),
        share("false_positives.per_probe", "probes of living members that fail"),
    ];
    type Job = detecting::Parameters;

    fn job(&self) -> Result<Self::Job, Failure> {
        Ok(self.parameters()?)
    }

    fn bytes(job: &Self::Job) -> u64 {
        job.bytes()
    }

    fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    fn work(job: &Self::Job, watch: &dyn Watch) -> Result<Value, Error> {
        Ok(document(&detecting::run(job, watch)?))
    }

    fn law(job: &Self::Job, _: &str, y: &str, outcome: &Value) -> Option<Law> {
        let (value, text) = match y {
            "first_detection.mean" => match job.order {
                detecting::Order::Random => (&outcome["theory"], "1 / (1 − (1 − 1/(n−1))^(n−1))"),
                detecting::Order::RoundRobin => (&outcome["theory"], "Σ P(later than t)^(n−1)"),
            },
            "false_positives.per_probe" => (&outcome["false_positives"]["theory"], "(1 − q²)(1 − q⁴)^k"),
            _ => return None,
        };
        Some(Law { text: text.to_owned(), value: value.as_f64()?, of_x_alone: false })
    }
}
