//! The terminal that a command reads from which runs in a process group of its own.

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Blocked};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process_group, waitid};
use rustix::stdio::stdin;
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The terminal of this process, lent to the group of a command: only a terminal's foreground group may read from it, and gets what
/// the keyboard interrupts. It is taken back when this is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    own: Pid,
    group: Pid,
}

impl Lent {
    /// Lends it, if standard input is a terminal and this process is in its foreground.
    pub(super) fn to(group: Pid) -> Option<Self> {
        let own = getpgrp();
        let is_foreground = tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == own);
        if !is_foreground || tcsetpgrp(stdin(), group).is_err() {
            return None;
        }
        let lent = Self { own, group };
        // It may have been faster, and been stopped for reading in the background.
        lent.go_on();
        Some(lent)
    }

    /// Makes the command go on where the keyboard has stopped it: nobody is there who could, and others wait for the lock.
    pub(super) fn resume_if_stopped(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(self.group), options).is_ok_and(|status| status.is_some()) {
            self.go_on();
        }
    }

    fn go_on(&self) {
        // It may have ended.
        kill_process_group(self.group, Signal::CONT).ok();
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let is_lent = tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == self.group);
        // Whoever is in the background and does not block this signal is stopped when it takes a terminal.
        let background = SigSet::from_iter([Blocked::SIGTTOU]);
        if is_lent && let Ok(before) = background.thread_swap_mask(SigmaskHow::SIG_BLOCK) {
            // If this fails the terminal is gone.
            tcsetpgrp(stdin(), self.own).ok();
            before.thread_set_mask().ok();
        }
    }
}
