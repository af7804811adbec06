//! Agreement: registers that change by compare-and-set, linearizably, while a majority of a few voters is in touch.
//!
//! The protocol is `CASPaxos` (Rystsov 2018, "`CASPaxos`: Replicated State Machines without logs"): single-decree Paxos whose
//! acceptors keep the state itself, and whose proposers apply changes to the last state that they find. Here acceptors are
//! called voters. What a voter has promised and accepted of a register is its [`Vote`], and an update of the agreement
//! space; a decision is a function of the votes that a node has seen ([`chosen`]), whichever way they came.
//!
//! **Invariant:** what is here knows no node, no time but what it is told, no bytes of others: it is a handful of functions of votes, ballots and
//! contents, and the model checker runs these very functions (`crates/lab/tests/agreement_model.rs`). The space of updates
//! is in `space`, what nodes say to each other in `node/agreeing.rs`.

mod ballot;
mod configuration;
mod content;
mod decision;
pub(crate) mod lease;
mod proposer;
pub(crate) mod space;
pub(crate) mod statement;
mod voter;

pub use ballot::{Ballot, Ballots};
pub use configuration::{Configuration, VOTERS_MAX, Voters};
pub use content::{APPLIED_MAX, Change, Content, Expected, OperationId, VALUE_BYTES_MAX, Value};
pub use decision::{Votes, chosen, is_blocked, promised};
pub use lease::{Contender, LABEL_BYTES_MAX, LEASE_BYTES_MAX, LEASE_PREFIX, Lease, Move, TTL_MAX, TTL_MIN, Wish};
pub use proposer::{BATCH_MAX, Operation, Outcome, Proposer, Stage, Step};
pub use statement::{FoundingId, REGISTER_BYTES_MAX};
pub use voter::{Accepted, Answer, Proposal, Vote};
