//! Documents of gauges and aggregates.

use std::fmt;

use rumormill::{Aggregate, Found};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The value of a gauge of this agent.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct GaugeDocument {
    /// The gauge.
    pub(crate) name: String,
    /// What it stands at.
    pub(crate) value: f64,
}

/// What is made of the values of all agents.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Function {
    /// How many agents have a value; of no gauge, how many agents there are
    Count,
    /// What the values add up to
    Sum,
    /// Their mean
    Avg,
    /// The lowest
    Min,
    /// The highest
    Max,
    /// The number below which a part of them lies
    Quantile,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Quantile => "quantile",
        })
    }
}

/// What the agents have found out together.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct AggregateDocument {
    /// The gauge.
    pub(crate) name: String,
    /// What was made of its values.
    pub(crate) function: Function,
    /// That number; absent if no agent has a value to make it of.
    pub(crate) value: Option<f64>,
    /// By how much it may be wrong: what the agents that met last still differed by, and the width of a bucket of a quantile.
    pub(crate) error: f64,
    /// How many agents took part, as they found out together.
    pub(crate) members: u64,
    /// Which epoch of averaging: who began it, and a number of its own.
    pub(crate) epoch: String,
    /// How many rounds it took.
    pub(crate) rounds: u32,
    /// Whether agents that met last differed by less than one part in a hundred.
    pub(crate) converged: bool,
}

/// Where agents differ by less than this part, averaging has done its work.
const CONVERGED: f64 = 0.01;

impl AggregateDocument {
    pub(crate) fn new(function: Function, found: &Found) -> Self {
        let Found { gauge, aggregate, quantile, epoch, rounds } = found;
        let has_values = aggregate.count > 0.0;
        let of_values = |value: f64, error: f64| (has_values.then_some(value), error);
        let (value, error) = match function {
            Function::Count => (Some(aggregate.count), aggregate.count_error()),
            Function::Sum => (Some(aggregate.sum), aggregate.sum_error()),
            Function::Avg => of_values(aggregate.average, aggregate.average_error()),
            Function::Min => of_values(aggregate.low, 0.0),
            Function::Max => of_values(aggregate.high, 0.0),
            Function::Quantile => quantile.map_or((None, 0.0), |range| {
                (Some(f64::midpoint(range.low, range.high)), (range.high - range.low) / 2.0)
            }),
        };
        Self {
            name: gauge.clone(),
            function,
            value,
            error,
            members: members(aggregate),
            epoch: format!("{}:{}", epoch.origin, epoch.sequence),
            rounds: *rounds,
            converged: aggregate.spread < CONVERGED,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of nodes, above zero")]
fn members(aggregate: &Aggregate) -> u64 {
    aggregate.members.round() as u64
}
