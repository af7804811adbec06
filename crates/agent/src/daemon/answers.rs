//! The questions that every agent answers besides the core's `ping`.

use rumormill::{Closed, Question};
use rumormill_core::Member;

use super::Agent;
use crate::documents::MemberDocument;

/// The names of all built-in queries; nobody else may answer them.
pub(crate) const BUILT_IN: [&str; 3] = ["ping", "info", "member"];

/// Answers `info` with the info document.
pub(crate) async fn info(agent: Agent) -> Result<(), Closed> {
    let mut questions = agent.cluster.on_query("info").await?;
    while let Some(question) = questions.next().await {
        let info = agent.info().await?;
        answer(question, &info).await;
    }
    Ok(())
}

/// Answers `member` with what this agent knows of the member whose name or id is asked for; silent if nothing.
pub(crate) async fn member(agent: Agent) -> Result<(), Closed> {
    let mut questions = agent.cluster.on_query("member").await?;
    while let Some(question) = questions.next().await {
        let name = String::from_utf8_lossy(&question.payload).into_owned();
        let members = agent.cluster.members().await?;
        if let Some(member) = find(&members, &name) {
            answer(question, &MemberDocument::from(member)).await;
        }
    }
    Ok(())
}

/// The member of this name, else of this id.
pub(crate) fn find<'a>(members: &'a [Member], name_or_id: &str) -> Option<&'a Member> {
    let by_name = members.iter().find(|member| member.name == name_or_id);
    by_name.or_else(|| members.iter().find(|member| member.id.to_string() == name_or_id))
}

async fn answer(question: Question, document: &impl serde::Serialize) {
    let Ok(bytes) = serde_json::to_vec(document) else { return };
    if let Err(error) = question.answer(bytes).await {
        tracing::debug!("a question stays unanswered: {error}");
    }
}
