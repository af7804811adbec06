//! What is bounded in a node, part by part.

use super::Node;
use super::gauging::Gauging;
use super::intake::WANTS_MAX;
use crate::config::Config;
use crate::limits::Limits;
use crate::story::Stories;
use crate::verifier::{self, Verifier};

impl Node {
    /// Every queue, table, view and allowance of this node, with how much of it is taken. Made when it is asked for, from what is
    /// there anyhow.
    pub fn limits(&self) -> Limits {
        // Numbers and settings; what stays as it was made; and what is drained with each input.
        let Self {
            identity: _,
            config,
            secret: _,
            token_key: _,
            cluster: _,
            settings: _,
            interner: _,
            phase: _,
            incarnation: _,
            first_boot: _,
            raised_at: _,
            fx: _,
            members,
            detector,
            place: _,
            whereabouts,
            rumors,
            messages,
            data,
            apart,
            reunions,
            writing,
            saving,
            servings: _,
            replicas,
            exchanges,
            streams,
            contacts,
            queries,
            budget,
            gossip,
            hospitality,
            neighbourhood,
            planting,
            averaging,
            agreeing,
            gauging,
            doubts,
            stories,
            wants,
            warned: _,
            fade_at: _,
            verifier,
        } = self;
        let mut to = Limits::new();
        members.limits(config.members_max, &mut to);
        detector.limits(&mut to);
        whereabouts.limits(&mut to);
        rumors.limits(&mut to);
        messages.limits(config, &mut to);
        data.limits(config, &mut to);
        apart.limits(config.members_max, &mut to);
        reunions.limits(&mut to);
        writing.limits(config.writes_max, &mut to);
        saving.limits(&mut to);
        exchanges.limits(&mut to);
        streams.limits(&mut to);
        contacts.limits(&mut to);
        queries.limits(&mut to);
        budget.limits(&mut to);
        gossip.limits(&mut to);
        hospitality.limits(&mut to);
        neighbourhood.limits(config.passive_view, &mut to);
        planting.limits(&mut to);
        averaging.limits(&mut to);
        agreeing.limits(&mut to);
        seldom_parts(config, (gauging, stories, verifier.as_deref()), &mut to);
        bare_tables(config, (doubts.len(), wants.len(), replicas.len()), &mut to);
        to
    }
}

/// Those that have no part of their own: claims that are doubted, updates that are wanted, writes that wait for replicas.
fn bare_tables(config: &Config, (doubts, wants, replicas): (usize, usize, usize), to: &mut Limits) {
    to.entries("claims_doubted", doubts, config.members_max);
    to.entries("updates_announced", wants, WANTS_MAX);
    to.entries("writes_awaiting_replicas", replicas, config.writes_max);
}

/// Parts that few nodes need.
fn seldom_parts(
    config: &Config,
    (gauging, stories, verifier): (&Gauging, &Stories, Option<&Verifier>),
    to: &mut Limits,
) {
    gauging.limits(to);
    stories.limits(to);
    verifier::limits(verifier, config.members_max, to);
}
