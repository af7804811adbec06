//! Why a member is held for what it is.

use axum::Json;
use axum::extract::{Path, State};

use super::AppState;
use super::problem::Refused;
use super::topics::id_of;
use crate::daemon::find;
use crate::documents::{Problem, WhyDocument};

/// Why a member, by name or id, is held for what it is: what happened to it lately, who did it or said so, and what would change it
#[utoipa::path(get, path = "/v1/why/{name}", params(("name" = String, Path)),
    responses((status = 200, body = WhyDocument), (status = 404, body = Problem)))]
pub(super) async fn why(State(app): State<AppState>, Path(name): Path<String>) -> Result<Json<WhyDocument>, Refused> {
    let cluster = &app.agent.cluster;
    let members = cluster.members().await?;
    let listed = find(&members, &name).map(|member| member.id);
    let wanted = name.clone();
    let story = cluster
        .inspect(move |node| {
            let id = listed.or_else(|| node.story_named(&wanted)).or_else(|| id_of(&wanted))?;
            node.story(id)
        })
        .await?;
    let story = story.ok_or_else(|| Refused::absent("member", &name))?;
    Ok(Json(WhyDocument::new(&story, &members)))
}
