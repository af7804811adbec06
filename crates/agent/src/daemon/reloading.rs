//! Settings that are read again while the agent runs, by SIGHUP or over HTTP: all that can be taken over, or nothing if there is an
//! error in them.

use rumormill::RequestError;
use rumormill_core::{ConfigBuilder, Tags};
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Agent;
use super::discovery::Wanted;
use super::doors::{DoorKeys, NewKeys};
use super::handlers::Attended;
use crate::cli;
use crate::documents::ReloadDocument;
use crate::failure::{Failure, Kind};
use crate::settings::{AgentSettings, Layers, Reload, Settings};

/// What is in force, and the parts of the agent that take over changes.
#[derive(Debug)]
pub(super) struct Reloader {
    flags: cli::Agent,
    running: (AgentSettings, ConfigBuilder),
    keys: DoorKeys,
    attended: Attended,
    wanted: watch::Sender<Wanted>,
}

impl Reloader {
    pub(super) fn new(
        flags: cli::Agent,
        running: (AgentSettings, ConfigBuilder),
        keys: DoorKeys,
        wanted: watch::Sender<Wanted>,
    ) -> Self {
        Self { flags, running, keys, attended: Attended::default(), wanted }
    }

    /// Begins to attend to the handlers.
    pub(super) fn begin(&mut self, agent: &Agent) {
        self.attended.change(agent, self.running.0.on.clone());
    }

    /// Everything that may be refused comes before anything is changed.
    async fn reload(&mut self, agent: &Agent) -> Result<ReloadDocument, Failure> {
        let (flags, present) = (self.flags.clone(), self.running.clone());
        // Files and names of hosts may take their time; gossip does not wait for them.
        let read = spawn_blocking(move || {
            let read = Reload::new(&present, Layers::of_agent(&flags)?.resolve()?)?;
            let keys = NewKeys::read(&read.settings)?;
            Ok::<_, Failure>((read, keys))
        });
        let read = read.await.map_err(|error| Failure::new(Kind::NotAnswered, "stopped", error.to_string()))?;
        let (Reload { running, settings, mut changed, kept }, keys) = read?;
        if running.0.tags != self.running.0.tags {
            let (before, after) = (&self.running.0.tags, &running.0.tags);
            agent.change_tags(|tags| change_tags(tags, before, after)).await.map_err(refused)?;
        }
        if running.1 != self.running.1 {
            agent.cluster.configure(running.1.clone()).await.map_err(refused)?;
        }
        agent.logs.show(settings.log, settings.log_level);
        for key in self.keys.change(keys) {
            if !changed.iter().any(|changed| changed == key) {
                changed.push(key.to_owned());
            }
        }
        self.want(&settings);
        self.attended.change(agent, settings.on);
        self.running = running;
        for (key, is, read) in &kept {
            tracing::warn!("{key} is {is} and {read} in the settings: that takes a restart");
        }
        Ok(ReloadDocument { changed, kept: kept.into_iter().map(|(key, ..)| key).collect() })
    }

    fn want(&self, settings: &Settings) {
        let wanted = Wanted::of(settings);
        self.wanted.send_if_modified(|present| {
            let is_new = *present != wanted;
            *present = wanted;
            is_new
        });
    }
}

/// Changes the tags that differ in the settings; others, which were set by command, stay.
fn change_tags(tags: &mut Tags, before: &Tags, after: &Tags) {
    tags.retain(|key, _| after.contains_key(key) || !before.contains_key(key));
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    tags.extend(changed.map(|(key, value)| (key.clone(), value.clone())));
}

fn refused(error: RequestError) -> Failure {
    match error {
        RequestError::Refused(refusal) => refusal.into(),
        RequestError::Closed(closed) => Failure::new(Kind::NotAnswered, "stopped", closed.to_string()),
    }
}

impl Agent {
    /// Reads the settings again and takes over what can be. In the log stands what became of it. It goes on to its end also where
    /// nobody waits for that any more.
    pub(crate) async fn reload(&self) -> Result<ReloadDocument, Failure> {
        let agent = self.clone();
        let reloaded = tokio::spawn(async move { agent.reload_now().await }).await;
        reloaded.unwrap_or_else(|error| Err(Failure::new(Kind::NotAnswered, "stopped", error.to_string())))
    }

    async fn reload_now(&self) -> Result<ReloadDocument, Failure> {
        let reloaded = self.reloader.lock().await.reload(self).await;
        match &reloaded {
            Ok(ReloadDocument { changed, .. }) if changed.is_empty() => {
                tracing::info!("the settings were read again; nothing that can be taken over has changed");
            }
            Ok(ReloadDocument { changed, .. }) => {
                tracing::info!("the settings were read again; changed: {}", changed.join(", "));
            }
            Err(failure) => tracing::error!("the settings stay as they are: {}", failure.message()),
        }
        reloaded
    }

    /// Changes tags of this agent's node, one change after the other; what they are then.
    pub(crate) async fn change_tags(&self, change: impl FnOnce(&mut Tags)) -> Result<Tags, RequestError> {
        let _turn = self.tags_turn.lock().await;
        let id = self.cluster.id();
        let member = self.cluster.inspect(move |node| node.member(id)).await?;
        let mut tags = member.map(|member| member.tags).unwrap_or_default();
        change(&mut tags);
        self.cluster.set_tags(tags.clone()).await?;
        Ok(tags)
    }
}

/// Reloads at each signal, until the agent ends.
pub(super) async fn reload_at(mut signals: Signal, agent: Agent) {
    while signals.recv().await.is_some() {
        // The log has told what was wrong.
        agent.reload().await.ok();
    }
}
