//! The way to the agent: one stream of what happens to members, numbers every second, and answers to what is asked. An agent
//! that is gone is asked again and again, at longer and longer intervals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Method;

use super::Input;
use crate::client::{Client, Heard, ServerEvents};
use crate::documents::{
    DeliveryDocument, Info, MemberDocument, MemberEvent, MembersByState, TopicDocument, WhyDocument,
};
use crate::failure::Failure;
use crate::percent;

/// How often numbers are asked for.
const EVERY: Duration = Duration::from_secs(1);
/// The longest wait for an agent that is gone.
const AGAIN_MAX: Duration = Duration::from_secs(8);
/// Round trips change slowly: so many looks go by before the list is read anew.
const LOOKS_PER_LIST: u64 = 10;
/// Whole lists are read again only where they are small; where they are large what changes has to do.
const LISTED_MAX: u64 = 500;
/// How many of a topic's messages are asked for that came before.
const HISTORY: usize = 50;

/// What the view wants to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ask {
    /// Why a member is held for what it is, by id.
    Story(String),
    /// The messages of a topic, from now on; of no other.
    Follow(String),
    /// Those of no topic.
    FollowNone,
    /// Sent by the reader of a stream: it has ended.
    Ended(u64),
}

/// What the agent said.
#[derive(Debug)]
pub(super) enum News {
    /// It answers: what it is, and how it fares.
    Info(Box<Info>),
    /// All members.
    Members(Vec<MemberDocument>),
    /// A line of the stream about members.
    Happened(MemberEvent),
    /// What it holds of each topic.
    Topics(Vec<TopicDocument>),
    /// Why the member with this id is held for what it is, or why that is not known.
    Story(String, Result<Box<Story>, String>),
    /// A line of the topic that is followed, or why there is none.
    Delivery(String, Result<DeliveryDocument, String>),
    /// It does not answer, and why.
    Gone(String),
}

/// A member, and why it is held for what it is.
#[derive(Debug)]
pub(super) struct Story {
    /// Absent if it is not listed any more.
    pub(super) member: Option<MemberDocument>,
    pub(super) why: WhyDocument,
}

/// Begins to ask; what is sent to the result is asked, too.
pub(super) fn start(client: Client, news: SyncSender<Input>) -> Sender<Ask> {
    let (sender, asks) = mpsc::channel();
    let link = Link {
        client: Arc::new(client),
        news,
        asks,
        sender: sender.clone(),
        stream: Arc::default(),
        is_listening: false,
        looks: 0,
        followed: Arc::default(),
    };
    thread::spawn(move || link.run());
    sender
}

/// The view has ended.
struct Over;

struct Link {
    client: Arc<Client>,
    news: SyncSender<Input>,
    asks: Receiver<Ask>,
    sender: Sender<Ask>,
    /// The number of the present stream about members; what others say does not count.
    stream: Arc<AtomicU64>,
    is_listening: bool,
    looks: u64,
    /// The number of the present stream of a topic.
    followed: Arc<AtomicU64>,
}

impl Link {
    fn run(mut self) {
        let mut wait = EVERY;
        loop {
            let told = match self.look() {
                Ok(news) => {
                    wait = EVERY;
                    news.into_iter().try_for_each(|news| self.tell(news))
                }
                Err(failure) => {
                    // The stream may not have noticed, if the machine is gone.
                    self.is_listening = false;
                    wait = (wait * 2).min(AGAIN_MAX);
                    self.tell(News::Gone(failure.message().to_owned()))
                }
            };
            if told.and_then(|()| self.answer_for(wait)).is_err() {
                return;
            }
        }
    }

    fn tell(&self, news: News) -> Result<(), Over> {
        self.news.send(Input::News(news)).map_err(|_| Over)
    }

    /// Asks for what changes all the time.
    fn look(&mut self) -> Result<Vec<News>, Failure> {
        let info: Info = self.client.get("/v1/info")?;
        let MembersByState { alive, suspect, dead, left } = info.members;
        let is_short = alive + suspect + dead + left <= LISTED_MAX;
        let mut news = vec![News::Info(Box::new(info))];
        if !self.is_listening {
            self.listen()?;
            self.looks = 0;
        } else if is_short && self.looks.is_multiple_of(LOOKS_PER_LIST) {
            news.push(News::Members(self.client.get("/v1/members")?));
        }
        self.looks += 1;
        // An agent of an earlier version tells none.
        news.extend(self.client.get("/v1/topics").ok().map(News::Topics));
        Ok(news)
    }

    /// Opens the stream about members, which begins with all of them.
    fn listen(&mut self) -> Result<(), Failure> {
        let mut events = self.client.stream(Method::GET, "/v1/events", Vec::new())?;
        let number = self.stream.fetch_add(1, Ordering::Relaxed) + 1;
        self.is_listening = true;
        let (stream, news, ended) = (Arc::clone(&self.stream), self.news.clone(), self.sender.clone());
        thread::spawn(move || {
            while let Ok(Some(event)) = events.next() {
                let Ok(document) = event.document() else { break };
                if stream.load(Ordering::Relaxed) != number || news.send(Input::News(News::Happened(document))).is_err()
                {
                    return;
                }
            }
            ended.send(Ask::Ended(number)).ok();
        });
        Ok(())
    }

    /// Answers what is asked until it is time to look again.
    fn answer_for(&mut self, wait: Duration) -> Result<(), Over> {
        let until = Instant::now() + wait;
        loop {
            match self.asks.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ask::Story(id)) => {
                    let story = self.story(&id).map_err(|failure| failure.message().to_owned());
                    self.tell(News::Story(id, story))?;
                }
                Ok(Ask::Follow(topic)) => self.follow(topic),
                Ok(Ask::FollowNone) => drop(self.followed.fetch_add(1, Ordering::Relaxed)),
                Ok(Ask::Ended(number)) if number == self.stream.load(Ordering::Relaxed) => {
                    self.is_listening = false;
                    return Ok(());
                }
                Ok(Ask::Ended(_)) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Over),
            }
        }
    }

    fn story(&self, id: &str) -> Result<Box<Story>, Failure> {
        let why = self.client.get(&format!("/v1/why/{id}"))?;
        let member = self.client.get(&format!("/v1/members/{id}")).ok();
        Ok(Box::new(Story { member, why }))
    }

    fn follow(&self, topic: String) {
        let number = self.followed.fetch_add(1, Ordering::Relaxed) + 1;
        let (client, news, followed) = (Arc::clone(&self.client), self.news.clone(), Arc::clone(&self.followed));
        thread::spawn(move || {
            let path = format!("/v1/topics/{}?history={HISTORY}", percent::encode(&topic));
            let is_wanted = || followed.load(Ordering::Relaxed) == number;
            let tell = |line| news.send(Input::News(News::Delivery(topic.clone(), line))).is_ok();
            let opened = client.stream(Method::GET, &path, Vec::new());
            let ended = opened.and_then(|mut lines| pass_on(&mut lines, is_wanted, |line| tell(Ok(line))));
            if is_wanted() {
                tell(Err(
                    ended.map_or_else(|failure| failure.message().to_owned(), |()| "the agent has stopped".to_owned())
                ));
            }
        });
    }
}

/// Passes a topic's lines on for as long as somebody wants them.
fn pass_on(
    lines: &mut ServerEvents,
    is_wanted: impl Fn() -> bool,
    tell: impl Fn(DeliveryDocument) -> bool,
) -> Result<(), Failure> {
    while let Some(heard) = lines.next_or_pause()? {
        let is_over = match heard {
            _ if !is_wanted() => true,
            Heard::Event(event) if event.name.is_empty() => !tell(event.document()?),
            Heard::Event(_) | Heard::Pause => false,
        };
        if is_over {
            break;
        }
    }
    Ok(())
}
