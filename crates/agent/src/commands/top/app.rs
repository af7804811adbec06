//! What the person sees and has chosen to see.

use std::collections::VecDeque;

use super::draw::members;
use super::keys::Key;
use super::known::Known;
use super::link::{Ask, News, Story};
use super::order::{self, Sort};
use crate::documents::{DeliveryDocument, Info};

/// How many lines a step of a story takes, where they are short.
const LINES_PER_STEP: usize = 2;
/// How many lines of a followed topic are kept.
const DELIVERIES_MAX: usize = 200;

/// A part of the picture; where there is little room it is the whole of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Panel {
    #[default]
    Members,
    Traffic,
    Topics,
    Events,
}

impl Panel {
    const ALL: [Self; 4] = [Self::Members, Self::Traffic, Self::Topics, Self::Events];

    /// So many further on, around the corner.
    fn shifted(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|panel| *panel == self).unwrap_or_default();
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// What lies over the panels.
#[derive(Debug)]
pub(super) enum Overlay {
    Help,
    Story(StoryView),
    Topic(TopicView),
}

/// A member's story: `None` until the agent has told it.
#[derive(Debug)]
pub(super) struct StoryView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) told: Option<Result<Box<Story>, String>>,
    /// How many lines are above the picture.
    pub(super) scrolled: usize,
}

/// The messages of a topic.
#[derive(Debug)]
pub(super) struct TopicView {
    pub(super) topic: String,
    /// The newest first.
    pub(super) deliveries: VecDeque<DeliveryDocument>,
    /// Why no more come.
    pub(super) problem: Option<String>,
    pub(super) scrolled: usize,
}

/// What is to be done after a key or news.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Act {
    Quit,
    /// The shell is to have the terminal for a while.
    Stop,
    Ask(Ask),
}

/// A word that members are filtered by.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) word: String,
    /// Whether what is typed goes into it.
    pub(super) is_typed: bool,
}

/// Everything that the picture is a function of.
#[derive(Debug)]
pub(super) struct App {
    /// The agent's address, as it was given.
    pub(super) agent: String,
    /// Unix seconds.
    pub(super) now: f64,
    live: Known,
    /// What was known when the person paused.
    paused: Option<Box<Known>>,
    pub(super) panel: Panel,
    pub(super) sort: Sort,
    pub(super) filter: Filter,
    /// The ids of the members that are listed, in their order.
    pub(super) listed: Vec<String>,
    /// How wide the widest of their names is.
    pub(super) name_width: u16,
    /// Whether the list has to be made anew.
    is_stale: bool,
    selected: Option<String>,
    /// Where the selected member is listed.
    pub(super) at: usize,
    /// Which topic is selected.
    pub(super) topic_at: usize,
    /// How many events are above the picture.
    pub(super) events_scrolled: usize,
    pub(super) overlay: Option<Overlay>,
}

impl App {
    pub(super) fn new(agent: &str, info: Info, now: f64) -> Self {
        Self {
            agent: agent.to_owned(),
            now,
            live: Known::new(info),
            paused: None,
            panel: Panel::default(),
            sort: Sort::default(),
            filter: Filter::default(),
            listed: Vec::new(),
            name_width: 0,
            is_stale: true,
            selected: None,
            at: 0,
            topic_at: 0,
            events_scrolled: 0,
            overlay: None,
        }
    }

    /// What is shown.
    pub(super) fn known(&self) -> &Known {
        self.paused.as_deref().unwrap_or(&self.live)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Since when the agent does not answer, and why; also while the picture stands still.
    pub(super) fn gone(&self) -> Option<&(f64, String)> {
        self.live.gone.as_ref()
    }

    /// Puts in order what came, before it is drawn. The selection stays with the member, and where that is not listed any more with
    /// its place.
    pub(super) fn settle(&mut self, now: f64) {
        self.now = now;
        if std::mem::take(&mut self.is_stale) {
            self.list_anew();
        }
        self.topic_at = self.topic_at.min(self.known().topics.len().saturating_sub(1));
        self.events_scrolled = self.events_scrolled.min(self.known().happenings.len().saturating_sub(1));
    }

    fn list_anew(&mut self) {
        let members = &self.known().members;
        let listed = order::listed(members, &self.filter.word, self.sort);
        let widths = listed.iter().map(|id| members::name_width(&members[id]));
        self.name_width = widths.max().unwrap_or_default();
        let place = self.selected.as_ref().and_then(|id| listed.iter().position(|listed| listed == id));
        self.listed = listed;
        self.select(place.unwrap_or(self.at));
    }

    fn select(&mut self, at: usize) {
        self.at = at.min(self.listed.len().saturating_sub(1));
        self.selected = self.listed.get(self.at).cloned();
    }

    pub(super) fn on_news(&mut self, news: News) -> Option<Act> {
        match news {
            News::Info(info) => {
                self.live.hear_info(*info, self.now);
                return self.follow_again();
            }
            News::Members(members) => {
                self.is_stale = true;
                self.live.hear_members(members);
            }
            News::Happened(event) => {
                self.is_stale = true;
                self.live.hear_event(event, self.now);
                return self.tell_again();
            }
            News::Topics(topics) => self.live.topics = topics,
            News::Gone(reason) => self.live.hear_gone(reason, self.now),
            News::Story(id, told) => self.hear_story(&id, told),
            News::Delivery(topic, line) => self.hear_delivery(&topic, line),
        }
        None
    }

    /// A story may have gone on.
    fn tell_again(&self) -> Option<Act> {
        match &self.overlay {
            Some(Overlay::Story(StoryView { id, told: Some(_), .. })) => Some(Act::Ask(Ask::Story(id.clone()))),
            Some(Overlay::Story(_) | Overlay::Topic(_) | Overlay::Help) | None => None,
        }
    }

    /// An agent that is back knows of no subscription.
    fn follow_again(&mut self) -> Option<Act> {
        let Some(Overlay::Topic(view)) = &mut self.overlay else { return None };
        view.problem.take()?;
        view.deliveries.clear();
        Some(Act::Ask(Ask::Follow(view.topic.clone())))
    }

    fn hear_story(&mut self, of: &str, story: Result<Box<Story>, String>) {
        if let Some(Overlay::Story(StoryView { id, told, .. })) = &mut self.overlay
            && *id == of
        {
            *told = Some(story);
        }
    }

    fn hear_delivery(&mut self, of: &str, line: Result<DeliveryDocument, String>) {
        let Some(Overlay::Topic(TopicView { topic, deliveries, problem, .. })) = &mut self.overlay else { return };
        match line {
            _ if *topic != of => {}
            Ok(delivery) => {
                deliveries.push_front(delivery);
                deliveries.truncate(DELIVERIES_MAX);
            }
            Err(reason) => *problem = Some(reason),
        }
    }

    pub(super) fn on_key(&mut self, key: Key) -> Option<Act> {
        // Filter and order may change, or what is shown.
        self.is_stale |= !matches!(key, Key::Move(_));
        if key == Key::Control('c') {
            return Some(Act::Quit);
        }
        if key == Key::Control('z') {
            return Some(Act::Stop);
        }
        if self.filter.is_typed {
            self.on_typed(key);
            return None;
        }
        let key = key.as_command();
        if self.overlay.is_some() { self.on_overlay_key(key) } else { self.on_panel_key(key) }
    }

    /// What is typed goes into the filter; what moves still moves.
    fn on_typed(&mut self, key: Key) {
        match key {
            Key::Move(rows) => self.move_by(rows),
            Key::Enter => self.filter.is_typed = false,
            Key::Escape => self.filter = Filter::default(),
            Key::Backspace => drop(self.filter.word.pop()),
            Key::Control('u') => self.filter.word.clear(),
            Key::Letter(letter) => self.filter.word.push(letter),
            Key::NextPanel | Key::PreviousPanel | Key::Control(_) => {}
        }
    }

    fn on_overlay_key(&mut self, key: Key) -> Option<Act> {
        match key {
            Key::Move(rows) => self.move_by(rows),
            Key::Escape | Key::Enter | Key::Letter('q' | '?') => {
                let closed = self.overlay.take();
                let is_topic = matches!(closed, Some(Overlay::Topic(_)));
                return is_topic.then_some(Act::Ask(Ask::FollowNone));
            }
            Key::NextPanel | Key::PreviousPanel | Key::Backspace | Key::Letter(_) | Key::Control(_) => {}
        }
        None
    }

    fn on_panel_key(&mut self, key: Key) -> Option<Act> {
        match key {
            Key::Move(rows) => self.move_by(rows),
            Key::NextPanel => self.panel = self.panel.shifted(1),
            Key::PreviousPanel => self.panel = self.panel.shifted(Panel::ALL.len() - 1),
            Key::Enter => return self.open(),
            Key::Escape => self.filter = Filter::default(),
            Key::Letter('q') => return Some(Act::Quit),
            Key::Letter('/') => {
                self.panel = Panel::Members;
                self.filter.is_typed = true;
            }
            Key::Letter('s') => self.sort = self.sort.next(),
            Key::Letter('p') => {
                self.paused = if self.is_paused() { None } else { Some(Box::new(self.live.clone())) };
            }
            Key::Letter('?') => self.overlay = Some(Overlay::Help),
            Key::Backspace | Key::Letter(_) | Key::Control(_) => {}
        }
        None
    }

    /// Moves whatever has the person's attention.
    fn move_by(&mut self, rows: isize) {
        let (topics, events) = (self.known().topics.len(), self.known().happenings.len());
        let within = |at: usize, count: usize| at.saturating_add_signed(rows).min(count.saturating_sub(1));
        match &mut self.overlay {
            Some(Overlay::Story(StoryView { scrolled, told: Some(Ok(story)), .. })) => {
                *scrolled = within(*scrolled, story.why.steps.len() * LINES_PER_STEP);
            }
            Some(Overlay::Topic(TopicView { scrolled, deliveries, .. })) => {
                *scrolled = within(*scrolled, deliveries.len());
            }
            Some(Overlay::Story(_) | Overlay::Help) => {}
            None => match self.panel {
                Panel::Members => self.select(self.at.saturating_add_signed(rows)),
                Panel::Topics => self.topic_at = within(self.topic_at, topics),
                Panel::Events => self.events_scrolled = within(self.events_scrolled, events),
                Panel::Traffic => {}
            },
        }
    }

    /// Opens what is selected.
    fn open(&mut self) -> Option<Act> {
        match self.panel {
            Panel::Members => {
                let member = self.known().members.get(self.selected.as_ref()?)?;
                let (id, name) = (member.id.clone(), member.name.clone());
                self.overlay = Some(Overlay::Story(StoryView { id: id.clone(), name, told: None, scrolled: 0 }));
                Some(Act::Ask(Ask::Story(id)))
            }
            Panel::Topics => {
                let topic = self.known().topics.get(self.topic_at)?.topic.clone();
                let (deliveries, problem) = (VecDeque::new(), None);
                self.overlay =
                    Some(Overlay::Topic(TopicView { topic: topic.clone(), deliveries, problem, scrolled: 0 }));
                Some(Act::Ask(Ask::Follow(topic)))
            }
            Panel::Traffic | Panel::Events => None,
        }
    }
}
