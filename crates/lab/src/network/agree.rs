//! Registers of a virtual network: what can be done to them, and what can be seen of them.

use std::time::Duration;

use rumormill_core::agreement::{Change, Expected, Outcome, Value};
use rumormill_core::io::Ticket;
use rumormill_core::{Command, Input, NodeId, Refusal, Reply};

use super::Network;
use crate::{Failure, micros};

/// How long an operation may take where nothing else is said.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

impl Network {
    /// Names the first voters through a node.
    pub fn found(&mut self, node: usize, voters: &[usize]) -> Ticket {
        let voters = self.ids(voters);
        self.command(node, Command::Found { voters })
    }

    /// The same, and waits until every node knows that all have joined.
    ///
    /// # Errors
    /// The first rule that was broken, or that it took too long.
    pub fn agree_on(&mut self, voters: &[usize]) -> Result<(), Failure> {
        self.found(voters[0], voters);
        self.run_until(Self::everyone_knows_the_voters, Duration::from_secs(30))?;
        Ok(())
    }

    /// Changes who votes, through a node.
    pub fn change_voters(&mut self, node: usize, voters: &[usize], timeout: Duration) -> Ticket {
        let voters = self.ids(voters);
        self.command(node, Command::ChangeVoters { voters, timeout })
    }

    /// Has a node do something with a register.
    pub fn operate(&mut self, node: usize, register: &str, change: Change) -> Ticket {
        self.operate_within(node, register, change, OPERATION_TIMEOUT)
    }

    /// The same, with a time of its own.
    pub fn operate_within(&mut self, node: usize, register: &str, change: Change, timeout: Duration) -> Ticket {
        self.command(node, Command::Operate { register: register.to_owned(), change, timeout })
    }

    /// Sets a register.
    pub fn set_register(&mut self, node: usize, register: &str, value: &[u8]) -> Ticket {
        self.operate(node, register, Change::set(value.into()))
    }

    /// Reads a register.
    pub fn read_register(&mut self, node: usize, register: &str) -> Ticket {
        self.operate(node, register, Change::Read)
    }

    /// Gives a register a value if it holds another.
    pub fn cas(&mut self, node: usize, register: &str, expected: Option<&[u8]>, value: &[u8]) -> Ticket {
        let expected = expected.map_or(Expected::Absent, |expected| Expected::Value(expected.into()));
        self.operate(node, register, Change::Swap { expected, value: Some(value.into()) })
    }

    /// Deletes a register.
    pub fn delete_register(&mut self, node: usize, register: &str) -> Ticket {
        self.operate(node, register, Change::Swap { expected: Expected::Anything, value: None })
    }

    /// Has a node acquire a lease for a holder.
    pub fn acquire(&mut self, node: usize, lease: &str, holder: u64, ttl: Duration, timeout: Duration) -> Ticket {
        let (lease, label) = (lease.to_owned(), format!("h{holder}"));
        self.command(node, Command::Acquire { lease, holder, label, ttl, timeout })
    }

    /// Has a node renew a lease.
    pub fn renew(&mut self, node: usize, lease: &str, (holder, token): (u64, u64), ttl: Duration) -> Ticket {
        self.command(node, Command::Renew { lease: lease.to_owned(), holder, token, ttl, timeout: OPERATION_TIMEOUT })
    }

    /// Has a node release a lease.
    pub fn release(&mut self, node: usize, lease: &str, (holder, token): (u64, u64)) -> Ticket {
        self.command(node, Command::Release { lease: lease.to_owned(), holder, token, timeout: OPERATION_TIMEOUT })
    }

    /// Whoever gave a node a command has gone, and does not wait for its result.
    pub fn abandon(&mut self, node: usize, ticket: Ticket) {
        self.give(node, Input::Abandoned { ticket });
    }

    /// When, in virtual time, a node's monotonic clock has gone on by so much from a moment on.
    pub fn passed_at(&self, node: usize, from: Duration, span: Duration) -> Duration {
        let clock = self.hosts[node].clock;
        Duration::from_micros(clock.moment(clock.instant(micros(from)) + span))
    }

    /// By how many millionths the monotonic clock of a node runs too fast.
    pub fn clock_rate(&self, node: usize) -> i64 {
        self.hosts[node].clock.rate_ppm()
    }

    /// How an operation ended, once it has; a refusal in its place.
    pub fn outcome(&self, ticket: Ticket) -> Option<Result<&Outcome, &Refusal>> {
        match self.result(ticket)? {
            Ok(Reply::Operated(outcome)) => Some(Ok(outcome)),
            Ok(_) => None,
            Err(refusal) => Some(Err(refusal)),
        }
    }

    /// What a node that is up last saw decided of a register.
    pub fn stale_register(&self, node: usize, register: &str) -> Option<(u64, Option<Value>)> {
        self.node(node)?.stale_register(register)
    }

    /// Whether every node that is up knows who votes, and of no change that is under way.
    pub fn everyone_knows_the_voters(&self) -> bool {
        let mut known = self.up().filter_map(|node| self.node(node)).map(|node| node.agreement().configuration);
        let Some(Some(first)) = known.next() else { return false };
        first.previous.is_none() && known.all(|other| other.as_ref() == Some(&first))
    }

    fn ids(&self, nodes: &[usize]) -> Vec<NodeId> {
        nodes.iter().map(|node| self.id(*node)).collect()
    }
}
