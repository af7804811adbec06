//! Who may be a member.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `rumor authority new` and `show`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct AuthorityDocument {
    /// The public key, for the setting of that name.
    pub(crate) authority: String,
    pub(crate) file: String,
}

/// `rumor authority admit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct CertificateDocument {
    /// The public key of the node.
    pub(crate) key: String,
    /// The only name that the node may have.
    pub(crate) name: Option<String>,
    /// Until when it counts.
    pub(crate) until: Option<f64>,
    /// The text of the file.
    pub(crate) certificate: String,
}

/// `rumor identity show`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct IdentityDocument {
    pub(crate) id: String,
    /// The public key.
    pub(crate) key: String,
}

/// A member whose certificate is revoked from now on.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RevocationDocument {
    pub(crate) id: String,
}
