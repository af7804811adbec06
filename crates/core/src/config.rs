//! The settings of a node: what each means, its unit, its default and where that comes from.
//!
//! A [`ConfigBuilder`] is filled in freely; [`ConfigBuilder::build`] checks bounds and relations once, and a
//! [`Config`] cannot be wrong afterwards.

use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::aggregate::count::CYCLES;
use crate::credentials::PublicKey;
use crate::datum::VALUE_BYTES_MAX;
use crate::duration;
use crate::stop::StopRule;

/// How fresh news travels.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Send what is hot, unasked.
    Push,
    /// Ask for what is new.
    Pull,
    /// Both at once.
    PushPull,
}

impl Mode {
    /// As it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::PushPull => "push-pull",
        }
    }
}

/// Which other nodes a node knows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Every member.
    Full,
    /// A few neighbours, and some whom it could have instead.
    Partial,
}

impl View {
    /// As it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }
}

/// Whose word a claim or a write is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// Of whoever has the cluster's key.
    Plain,
    /// Of the node that signed it, which has a certificate of the cluster's authority.
    Signed,
}

impl IdentityKind {
    /// As it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Signed => "signed",
        }
    }
}

/// Which messages go along trees rather than as rumors.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeUse {
    /// With a partial view all, with a full one those of origins that publish often.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// When a node passes on an update that it has just learned.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// At once to `fanout` peers, then at rounds.
    AtOnce,
    /// At rounds only, as the models of the literature do.
    AtRounds,
}

/// One setting, described for people.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in files and on the command line.
    pub key: &'static str,
    /// What the number counts.
    pub unit: &'static str,
    /// Where the default comes from.
    pub source: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $(#[serde $serde:tt])?
        $name:ident: $type:ty = [$lan:expr, $wan:expr, $local:expr], $unit:literal, $source:literal;
    )+) => {
        /// The settings of a node, not yet checked.
        #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct ConfigBuilder {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Unit: ", $unit, ". Default: ", stringify!($lan), ". Source: ", $source, ".")]
                $(#[serde $serde])?
                pub $name: $type,
            )+
        }

        impl ConfigBuilder {
            /// For machines of one network: round trips of milliseconds. The default.
            pub fn lan() -> Self {
                Self { $($name: $lan,)+ }
            }

            /// For machines in several regions: round trips of up to a few hundred milliseconds.
            pub fn wan() -> Self {
                Self { $($name: $wan,)+ }
            }

            /// For processes of one machine.
            pub fn local() -> Self {
                Self { $($name: $local,)+ }
            }

            /// The first setting in which these differ from others, and what it is here.
            pub(crate) fn difference(&self, others: &Self) -> Option<(&'static str, String)> {
                $(if self.$name != others.$name {
                    return Some((stringify!($name), format!("{:?}", self.$name)));
                })+
                None
            }
        }

        /// Every setting, in the order of [`ConfigBuilder`].
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                key: stringify!($name),
                unit: $unit,
                source: $source,
                meaning: concat!($($doc,)+),
            },)+
        ];
    };
}

macro_rules! reloaded {
    ($($name:ident),+ $(,)?) => {
        /// The settings that a node takes over while it runs ([`Command::Configure`](crate::Command::Configure)): they are its
        /// own affair, are asked for whenever they matter, and nothing was built by them. All others take a restart.
        pub const RELOADED: &[&str] = &[$(stringify!($name)),+];

        impl ConfigBuilder {
            /// These settings, with those of `others` that a running node takes over.
            #[must_use]
            pub fn reloaded(&self, others: &Self) -> Self {
                Self { $($name: others.$name,)+ ..self.clone() }
            }
        }
    };
}

reloaded!(
    mode,
    fanout,
    forward,
    bandwidth_max,
    leave_timeout,
    leave_on_terminate,
    messages_bytes_max,
    payload_bytes_max,
    value_bytes_max,
    data_bytes_max,
);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

settings! {
    /// The name of the cluster; nodes of another name are strangers.
    cluster: String = ["rumor".to_owned(), "rumor".to_owned(), "rumor".to_owned()], "1 to 128 bytes", "convention";
    /// Whose word a claim or a write is: plain, of whoever has the cluster's key, or signed, of the node that signed it. Shared.
    identity: IdentityKind = [IdentityKind::Plain, IdentityKind::Plain, IdentityKind::Plain], "word", "design §6: nothing enters without the cluster key";
    /// The public key of the authority whose certificates let nodes be members, where identity is signed. Shared.
    authority: String = [String::new(), String::new(), String::new()], "64 hex digits", "none: rumor authority new makes one";
    /// How fresh news travels: push, pull or push-pull.
    mode: Mode = [Mode::PushPull, Mode::PushPull, Mode::PushPull], "word", "Karp et al. 2000: fewest rounds and messages";
    /// Whom a node knows: full, that is every member, or partial, that is a few neighbours. Shared.
    view: View = [View::Full, View::Full, View::Full], "word", "design: to some tens of thousands of nodes";
    /// How many neighbours a node with a partial view has; 0 for log10 of the cluster's size, plus one.
    active_view: usize = [5, 5, 5], "peers", "HyParView §5.1: fanout 4 + 1";
    /// How many others it knows whom it could have instead.
    passive_view: usize = [30, 30, 30], "peers", "HyParView §5.1: 30, that is 6 (log10 n + 1) for 10,000 nodes";
    /// How often it exchanges some of those with a random node.
    #[serde(with = "duration::text")]
    shuffle_interval: Duration = [secs(30), secs(60), secs(10)], "duration", "guess: a quarter of an idle node's bytes";
    /// How often the size of the cluster is estimated anew, with a partial view. Shared.
    #[serde(with = "duration::text")]
    epoch_interval: Duration = [secs(300), secs(1_500), secs(300)], "duration", "guess: a third of an idle node's bytes, and four times as long as an estimate takes";
    /// To how many random peers a rumor goes at each round.
    fanout: usize = [3, 4, 3], "peers", "memberlist gossip_nodes: lan 3, wan 4";
    /// The time between two rounds while there is news.
    #[serde(with = "duration::text")]
    gossip_interval: Duration = [ms(200), ms(500), ms(100)], "duration", "memberlist gossip_interval: lan 200 ms, wan 500 ms, local 100 ms";
    /// Rounds that ask for news back off to this while nothing is new.
    #[serde(with = "duration::text")]
    gossip_interval_max: Duration = [secs(10), secs(20), secs(10)], "duration", "repair_interval";
    /// How often a node compares itself with one random peer, in every mode.
    #[serde(with = "duration::text")]
    repair_interval: Duration = [secs(10), secs(20), secs(10)], "duration", "design; Demers et al. 1987 §1.3, anti-entropy as a backup";
    /// When a rumor is no longer pushed: never, blind-counter:K, blind-coin:K, feedback-counter:K, feedback-coin:K, forward-once or transmit-limit:LAMBDA.
    stop: StopRule = [StopRule::TransmitLimit { lambda: 4.0 }, StopRule::TransmitLimit { lambda: 4.0 }, StopRule::TransmitLimit { lambda: 4.0 }], "rule", "memberlist retransmit_mult 4";
    /// Whether a new rumor is passed on at once or at the next round.
    forward: Forward = [Forward::AtOnce, Forward::AtOnce, Forward::AtOnce], "word", "design: pass a new one on at once";
    /// Which messages go along trees rather than as rumors: auto, that is all with a partial view and those of busy origins with a full one, always or never.
    tree: TreeUse = [TreeUse::Auto, TreeUse::Auto, TreeUse::Auto], "word", "Plumtree; busy: guess, eight a second";
    /// The largest datagram sent, UDP payload.
    mtu_bytes: usize = [1_200, 1_200, 1_200], "bytes", "IPv6's minimum of 1,280 less headers and a tunnel's";
    /// The most that this node sends in a second, streams included; 0 for no bound.
    bandwidth_max: u64 = [0, 0, 0], "bytes per second", "off";
    /// The time between two probes of this node.
    #[serde(with = "duration::text")]
    probe_interval: Duration = [secs(1), secs(5), secs(1)], "duration", "memberlist: lan and local 1 s, wan 5 s";
    /// How long a probe waits for its ack where no round trip has been measured, and at most.
    #[serde(with = "duration::text")]
    probe_timeout: Duration = [ms(500), secs(1), ms(200)], "duration", "memberlist lan 500 ms, local 200 ms; wan: measured round trips adapt it";
    /// How long a probe waits for its ack at least.
    #[serde(with = "duration::text")]
    probe_timeout_min: Duration = [ms(50), ms(200), ms(50)], "duration", "guess: the scheduling delays of a busy machine";
    /// How often a ping is sent again before others are asked to try.
    probe_resends: u32 = [3, 3, 3], "pings", "design §4";
    /// How many others are asked to try.
    indirect_probes: usize = [3, 3, 3], "members", "memberlist indirect_checks 3; SWIM §3.1 k";
    /// Whether a probe also tries a stream before it fails, for networks that block datagrams.
    stream_probe: bool = [true, true, true], "yes or no", "memberlist's TCP fallback";
    /// The least time that a suspect has to contradict.
    #[serde(with = "duration::text")]
    suspicion_timeout_min: Duration = [ms(2_200), secs(6), ms(2_200)], "duration", "design §4: a pause of 2 s is survived";
    /// That time is at least this much for each power of ten of the cluster's size.
    #[serde(with = "duration::text")]
    suspicion_timeout_log: Duration = [ms(1_300), secs(4), ms(1_300)], "duration", "design §4: 1.3 log10 n s";
    /// With no confirmation the time is this many times longer.
    suspicion_timeout_factor: u32 = [6, 6, 6], "times", "memberlist suspicion_max_timeout_mult 6; Lifeguard §IV-B beta";
    /// How many members must confirm a suspicion for the least time to apply.
    confirmations: u32 = [3, 3, 3], "members", "Lifeguard §IV-B K";
    /// The worst score of a node's own health; it probes that much slower.
    health_max: u32 = [8, 8, 8], "score", "Lifeguard §IV-A S";
    /// How long a member stays listed after it died or left. Shared: the same in the whole cluster.
    #[serde(with = "duration::text")]
    dead_ttl: Duration = [secs(86_400), secs(86_400), secs(86_400)], "duration", "interface: 24 h; serf reconnect_timeout";
    /// How long a deletion is remembered; certificates are rounded to an eighth of it. Shared.
    #[serde(with = "duration::text")]
    tombstone_ttl: Duration = [secs(86_400), secs(86_400), secs(86_400)], "duration", "design §2 rule 3";
    /// How far ahead of this node's clock an update may be.
    #[serde(with = "duration::text")]
    clock_skew_max: Duration = [secs(60), secs(60), secs(60)], "duration", "guess: far above NTP's error, far below history_age";
    /// By how many millionths the monotonic clock of one node may run faster than that of another: whoever waits for a lease of another waits for so much longer.
    clock_drift_max: u32 = [10_000, 10_000, 10_000], "millionths", "guess: 1 %, fifty times what crystals drift";
    /// The longest wait for others to learn that this node leaves.
    #[serde(with = "duration::text")]
    leave_timeout: Duration = [secs(5), secs(10), secs(2)], "duration", "serf leave_propagate_delay and broadcast timeout";
    /// Whether SIGTERM makes the node leave rather than just stop. SIGINT always leaves.
    leave_on_terminate: bool = [false, false, false], "yes or no", "serf: a terminated agent is expected back";
    /// The first wait before a contact that did not answer is tried again.
    #[serde(with = "duration::text")]
    join_retry_min: Duration = [secs(1), secs(1), ms(200)], "duration", "guess";
    /// The longest such wait; it doubles until then.
    #[serde(with = "duration::text")]
    join_retry_max: Duration = [secs(30), secs(30), secs(5)], "duration", "serf retry_interval 30 s";
    /// How often the whole cluster together tries a dead or former member, in case it was only cut off.
    #[serde(with = "duration::text")]
    rejoin_interval: Duration = [secs(1), secs(1), secs(1)], "duration", "design §2, partition";
    /// How many messages of one origin on one topic are kept. Shared.
    history_count: u32 = [1_000, 1_000, 1_000], "messages", "guess";
    /// How many bytes of messages of one origin on one topic are kept. Shared.
    history_bytes: usize = [4 << 20, 4 << 20, 4 << 20], "bytes", "guess: four messages of the largest size";
    /// How long a message is kept. Shared.
    #[serde(with = "duration::text")]
    history_age: Duration = [secs(3_600), secs(3_600), secs(3_600)], "duration", "guess: longer than a reboot";
    /// Nothing is published here while all messages kept are larger than this together.
    messages_bytes_max: usize = [64 << 20, 64 << 20, 64 << 20], "bytes", "guess";
    /// The largest payload of a message.
    payload_bytes_max: usize = [1 << 20, 1 << 20, 1 << 20], "bytes", "design §5: 1 MiB";
    /// The largest value of a register.
    value_bytes_max: usize = [1 << 20, 1 << 20, 1 << 20], "bytes", "interface: 1 MiB";
    /// Nothing that makes the database larger is written here while all of it, 128 bytes for each part included, is larger.
    data_bytes_max: usize = [512 << 20, 512 << 20, 512 << 20], "bytes", "guess: a million small entries and as much again";
    /// How many changes are kept for watchers that come back.
    watch_changes: usize = [4_096, 4_096, 4_096], "changes", "guess: seconds of a busy cluster";
    /// The most writes that wait for the disk.
    writes_max: usize = [4_096, 4_096, 4_096], "writes", "guess: a tenth of a second of the disk's work";
    /// An update above this size is announced rather than pushed.
    announce_bytes: usize = [1_024, 1_024, 1_024], "bytes", "design §2: 1 KiB";
    /// The most updates that are hot at once; beyond it those that were sent most are left to comparisons.
    hot_max: usize = [4_096, 4_096, 4_096], "updates", "guess: a hundred datagrams of claims";
    /// The most streams open at once, either way.
    streams_max: usize = [128, 128, 128], "streams", "guess";
    /// The most members known; claims of others are refused.
    members_max: usize = [65_536, 65_536, 65_536], "members", "design §4: a full view serves some tens of thousands";
    /// How many messages a trace is kept of.
    traces_max: usize = [1_000, 1_000, 1_000], "messages", "design §7";
}

impl Default for ConfigBuilder {
    fn default() -> Self {
        Self::lan()
    }
}

/// Why settings were refused: which, what it was, and the rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} is {value}, must be {rule}")]
pub struct ConfigError {
    /// The setting.
    pub field: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it must be, and why where that is not plain.
    pub rule: String,
}

/// The checked settings of a node. Read them through its fields; they do not change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(into = "ConfigBuilder", try_from = "ConfigBuilder")]
pub struct Config(ConfigBuilder);

impl From<Config> for ConfigBuilder {
    fn from(config: Config) -> Self {
        config.0
    }
}

impl TryFrom<ConfigBuilder> for Config {
    type Error = ConfigError;

    fn try_from(builder: ConfigBuilder) -> Result<Self, ConfigError> {
        builder.build()
    }
}

impl Deref for Config {
    type Target = ConfigBuilder;

    fn deref(&self) -> &ConfigBuilder {
        &self.0
    }
}

impl Default for Config {
    fn default() -> Self {
        ConfigBuilder::lan().build().expect("the presets are valid")
    }
}

impl ConfigBuilder {
    /// Checks every setting and how they relate.
    ///
    /// # Errors
    /// The first setting that breaks a rule.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.check_epidemic()?;
        self.check_detector()?;
        self.check_times()?;
        self.check_caps()?;
        Ok(Config(self))
    }

    fn check_epidemic(&self) -> Result<(), ConfigError> {
        check("cluster", quoted(&self.cluster), is_name(&self.cluster), "1 to 128 bytes without control characters")?;
        let (signed, named) = (self.identity == IdentityKind::Signed, !self.authority.is_empty());
        check(
            "authority",
            quoted(&self.authority),
            if signed { self.authority_key().is_some() } else { !named },
            if signed {
                "the 64 hex digits of the authority's public key, as identity is signed"
            } else {
                "left out, or used with identity = \"signed\""
            },
        )?;
        within("fanout", self.fanout, 1, 64)?;
        check(
            "active_view",
            self.active_view,
            self.active_view == 0 || (2..=16).contains(&self.active_view),
            "from 2 to 16, or 0 for log10 of the cluster's size, plus one",
        )?;
        within("passive_view", self.passive_view, self.active_view.max(8), 1_000)?;
        span("shuffle_interval", self.shuffle_interval, ms(100), secs(3_600))?;
        span("epoch_interval", self.epoch_interval, secs(10), secs(86_400))?;
        check(
            "epoch_interval",
            duration::format(self.epoch_interval),
            self.view == View::Full || self.epoch_interval >= self.probe_interval * (CYCLES + 1),
            &format!("more than {CYCLES} times probe_interval, which an estimate takes"),
        )?;
        span("gossip_interval", self.gossip_interval, ms(1), secs(60))?;
        at_least("gossip_interval_max", self.gossip_interval_max, self.gossip_interval, "gossip_interval")?;
        span("gossip_interval_max", self.gossip_interval_max, ms(1), secs(3_600))?;
        at_least("repair_interval", self.repair_interval, self.gossip_interval, "gossip_interval")?;
        span("repair_interval", self.repair_interval, ms(1), secs(3_600))?;
        within("mtu_bytes", self.mtu_bytes, 1_200, 65_000)?;
        within("announce_bytes", self.announce_bytes, 256, 1_024)?;
        check("stop", self.stop, self.stop.breach().is_none(), self.stop.breach().unwrap_or_default())?;
        check(
            "stop",
            self.stop,
            !matches!(self.stop, StopRule::MedianCounter { .. }),
            "a rule that needs no more than sends and feedback: median-counter compares counters, which messages do not carry",
        )?;
        let least = BANDWIDTH_LEAST + 4 * (self.mtu_bytes as u64 + 28);
        check(
            "bandwidth_max",
            self.bandwidth_max,
            self.bandwidth_max == 0 || self.bandwidth_max >= least,
            &format!(
                "0 for no bound, or at least {least} bytes per second: {BANDWIDTH_LEAST} for acks and probes, and four of the largest datagrams"
            ),
        )
    }

    fn check_detector(&self) -> Result<(), ConfigError> {
        span("probe_interval", self.probe_interval, ms(10), secs(600))?;
        below(
            "probe_timeout",
            self.probe_timeout,
            self.probe_interval,
            "probe_interval",
            "so that a probe can finish",
        )?;
        at_least("probe_timeout", self.probe_timeout, self.probe_timeout_min, "probe_timeout_min")?;
        span("probe_timeout_min", self.probe_timeout_min, ms(1), secs(10))?;
        within("probe_resends", self.probe_resends as usize, 0, 10)?;
        within("indirect_probes", self.indirect_probes, 0, 16)?;
        span("suspicion_timeout_min", self.suspicion_timeout_min, ms(50), secs(600))?;
        at_least("suspicion_timeout_min", self.suspicion_timeout_min, self.probe_timeout, "probe_timeout")?;
        span("suspicion_timeout_log", self.suspicion_timeout_log, ms(0), secs(600))?;
        within("suspicion_timeout_factor", self.suspicion_timeout_factor as usize, 1, 100)?;
        within("confirmations", self.confirmations as usize, 0, 16)?;
        within("health_max", self.health_max as usize, 0, 64)
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        span("dead_ttl", self.dead_ttl, secs(10), secs(30 * 86_400))?;
        span("tombstone_ttl", self.tombstone_ttl, secs(80), secs(30 * 86_400))?;
        span("clock_skew_max", self.clock_skew_max, ms(100), secs(86_400))?;
        within("clock_drift_max", self.clock_drift_max as usize, 0, 500_000)?;
        span("leave_timeout", self.leave_timeout, ms(0), secs(600))?;
        span("join_retry_min", self.join_retry_min, ms(10), secs(600))?;
        at_least("join_retry_max", self.join_retry_max, self.join_retry_min, "join_retry_min")?;
        span("rejoin_interval", self.rejoin_interval, ms(100), secs(3_600))?;
        span("history_age", self.history_age, secs(20), secs(30 * 86_400))
    }

    fn check_caps(&self) -> Result<(), ConfigError> {
        within("history_count", self.history_count as usize, 1, 1 << 20)?;
        within("payload_bytes_max", self.payload_bytes_max, 1, 1 << 20)?;
        check(
            "history_bytes",
            self.history_bytes,
            self.history_bytes >= self.payload_bytes_max + 1_024,
            &format!("at least payload_bytes_max ({}) and 1024, so that one message fits", self.payload_bytes_max),
        )?;
        check(
            "messages_bytes_max",
            self.messages_bytes_max,
            self.messages_bytes_max >= self.history_bytes,
            &format!("at least history_bytes ({}), so that one history fits", self.history_bytes),
        )?;
        within("value_bytes_max", self.value_bytes_max, 1, VALUE_BYTES_MAX)?;
        check(
            "data_bytes_max",
            self.data_bytes_max,
            self.data_bytes_max >= self.value_bytes_max + 1_024,
            &format!("at least value_bytes_max ({}) and 1024, so that one value fits", self.value_bytes_max),
        )?;
        within("watch_changes", self.watch_changes, 0, 1 << 20)?;
        within("writes_max", self.writes_max, 1, 1 << 20)?;
        within("hot_max", self.hot_max, 64, 1 << 20)?;
        within("streams_max", self.streams_max, 8, 65_536)?;
        within("members_max", self.members_max, 2, 1 << 20)?;
        within("traces_max", self.traces_max, 0, 1 << 20)
    }

    /// The public key of the authority, if one is named.
    pub fn authority_key(&self) -> Option<PublicKey> {
        let mut key = PublicKey::default();
        if self.authority.len() != 2 * key.len() || !self.authority.is_ascii() {
            return None;
        }
        for (byte, digits) in key.iter_mut().zip(self.authority.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(key)
    }

    /// A fingerprint of the settings that the whole cluster must share (design §2 rule 4); nodes that differ in it do
    /// not join each other, because their replicas would differ for ever.
    pub fn shared_fingerprint(&self) -> u64 {
        let shared = format!(
            "{:?} {:?} {:?} {:?} {} {} {:?}",
            self.view,
            self.epoch_interval,
            self.dead_ttl,
            self.tombstone_ttl,
            self.history_count,
            self.history_bytes,
            self.history_age
        );
        let shared = match self.authority_key().filter(|_| self.identity == IdentityKind::Signed) {
            Some(authority) => format!("{shared} signed {authority:?}"),
            None => shared,
        };
        crate::hash::keyed(&[0; 16], shared.as_bytes())
    }
}

/// What acks, refutations and probes are granted under any `bandwidth_max`, in bytes per second.
pub(crate) const BANDWIDTH_LEAST: u64 = 2_000;

/// Whether `name` can name a node or a cluster.
pub fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// What [`is_topic`] asks for, in words.
pub const TOPIC_RULE: &str = "1 to 255 bytes without * and >";

/// Whether messages can come on `topic`.
pub fn is_topic(topic: &str) -> bool {
    (1..=255).contains(&topic.len()) && !topic.contains(['*', '>'])
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn check(field: &'static str, value: impl ToString, holds: bool, rule: &str) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError { field, value: value.to_string(), rule: rule.to_owned() })
}

fn within(field: &'static str, value: usize, least: usize, most: usize) -> Result<(), ConfigError> {
    check(field, value, (least..=most).contains(&value), &format!("from {least} to {most}"))
}

fn span(field: &'static str, value: Duration, least: Duration, most: Duration) -> Result<(), ConfigError> {
    let rule = format!("from {} to {}", duration::format(least), duration::format(most));
    check(field, duration::format(value), (least..=most).contains(&value), &rule)
}

fn at_least(field: &'static str, value: Duration, least: Duration, other: &str) -> Result<(), ConfigError> {
    let rule = format!("at least {other} ({})", duration::format(least));
    check(field, duration::format(value), value >= least, &rule)
}

fn below(field: &'static str, value: Duration, most: Duration, other: &str, why: &str) -> Result<(), ConfigError> {
    let rule = format!("below {other} ({}) {why}", duration::format(most));
    check(field, duration::format(value), value < most, &rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid() {
        for preset in [ConfigBuilder::lan(), ConfigBuilder::wan(), ConfigBuilder::local()] {
            preset.build().unwrap();
        }
    }

    #[test]
    fn stop_rules_that_no_node_can_follow_are_refused() {
        for stop in [StopRule::MedianCounter { k: 3 }, StopRule::BlindCoin { k: 0 }] {
            let error = ConfigBuilder { stop, ..ConfigBuilder::lan() }.build().unwrap_err();
            assert_eq!((error.field, error.value), ("stop", stop.to_string()));
        }
    }

    #[test]
    fn a_contradiction_names_the_setting_the_value_and_the_rule() {
        let error = ConfigBuilder { probe_timeout: ms(1_200), ..ConfigBuilder::lan() }.build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "probe_timeout is 1200ms, must be below probe_interval (1s) so that a probe can finish"
        );
    }

    #[test]
    fn a_bandwidth_that_would_starve_the_detector_is_refused() {
        let error = ConfigBuilder { bandwidth_max: 1_999, ..ConfigBuilder::lan() }.build().unwrap_err();
        assert_eq!(error.field, "bandwidth_max");
    }

    #[test]
    fn what_a_running_node_takes_over_is_taken_and_nothing_else() {
        let (lan, local) =
            (ConfigBuilder::lan(), ConfigBuilder { fanout: 7, bandwidth_max: 90_000, ..ConfigBuilder::local() });
        let reloaded = lan.reloaded(&local);
        assert_eq!((reloaded.fanout, reloaded.bandwidth_max), (7, 90_000));
        assert_eq!(reloaded.gossip_interval, lan.gossip_interval);
        assert_eq!(reloaded.difference(&local), Some(("shuffle_interval", "30s".to_owned())));
        assert_eq!(lan.difference(&ConfigBuilder::lan()), None);
        assert!(RELOADED.iter().all(|key| SETTINGS.iter().any(|setting| setting.key == *key)));
    }

    #[test]
    fn settings_that_replicas_depend_on_change_the_fingerprint_and_others_do_not() {
        let lan = ConfigBuilder::lan();
        let shorter = ConfigBuilder { history_count: 10, ..ConfigBuilder::lan() };
        let faster = ConfigBuilder { gossip_interval: ms(10), ..ConfigBuilder::lan() };
        assert_ne!(lan.shared_fingerprint(), shorter.shared_fingerprint());
        assert_eq!(lan.shared_fingerprint(), faster.shared_fingerprint());
    }
}
