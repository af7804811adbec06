//! `rumor top` on the command line.

use clap::Args;

use super::Target;

/// `rumor top`
#[derive(Args, Debug)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) target: Target,
}
