//! The task that owns the node.

use crate::builder::Builder;
use crate::cluster::Cluster;
use crate::error::StartError;

pub(crate) async fn start(builder: Builder) -> Result<Cluster, StartError> {
    let _config = builder.config.build()?;
    Err(StartError::NoRandomness)
}
