//! What a register is, for the tester of linearizability: written without a look at the core's own.

use rumormill_core::agreement::Outcome;
use stateright::semantics::SequentialSpec;

/// A register as its users see it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Register {
    version: u64,
    value: Option<Vec<u8>>,
}

/// What users do.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Op {
    Read,
    /// Whatever is there.
    Set(Option<Vec<u8>>),
    /// If the first is there.
    Cas(Option<Vec<u8>>, Option<Vec<u8>>),
}

/// What they are told.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Ret {
    pub(crate) done: bool,
    pub(crate) version: u64,
    pub(crate) value: Option<Vec<u8>>,
}

impl Ret {
    /// `None` where nothing was told: the operation is in doubt for ever.
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
        let (done, version, value) = match outcome {
            Outcome::Done { version, value } => (true, version, value),
            Outcome::Mismatch { version, value } => (false, version, value),
            Outcome::Unknown => return None,
        };
        Some(Self { done, version: *version, value: value.as_ref().map(|value| value.to_vec()) })
    }
}

impl SequentialSpec for Register {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        let done = match op {
            Op::Read | Op::Set(_) => true,
            Op::Cas(expected, _) => *expected == self.value,
        };
        if let (true, Op::Set(value) | Op::Cas(_, value)) = (done, op) {
            self.version += 1;
            self.value.clone_from(value);
        }
        Ret { done, version: self.version, value: self.value.clone() }
    }
}
