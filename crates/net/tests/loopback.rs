//! Real nodes on real sockets of this machine.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::time::Duration;

use rumormill::{
    Cluster, ConfigBuilder, Delivery, EventKind, MemberChange, Refusal, RequestError, StartError, State, StopReason,
    Subscription, Tags,
};
use support::{PATIENCE, join, node, start, until, within};

async fn text(subscription: &mut Subscription) -> String {
    match within(subscription.next()).await {
        Some(Delivery::Message(message)) => String::from_utf8(message.payload.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn boot(node: &Cluster) -> u64 {
    node.inspect(|node| node.incarnation().boot()).await.unwrap()
}

#[tokio::test]
async fn two_nodes_join_and_each_hears_what_the_other_publishes() {
    let (a, b) = (start("a").await, start("b").await);
    let mut events = a.events();
    join(&b, &a).await;
    until(&mut events, MemberChange::Joined, b.id()).await;

    for (from, to) in [(&a, &b), (&b, &a)] {
        let mut news = to.subscribe("news").await.unwrap();
        from.publish("news", "hi").await.unwrap();
        assert_eq!(text(&mut news).await, "hi");
    }
    let names: Vec<_> = a.members().await.unwrap().into_iter().map(|member| member.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let (a, b) = (start("a").await, start("b").await);
    join(&b, &a).await;
    let mut news = b.subscribe("news").await.unwrap();
    let payload = "rumor ".repeat(170_000);
    a.publish("news", payload.clone()).await.unwrap();
    assert!(text(&mut news).await == payload);
}

#[tokio::test]
async fn history_comes_before_what_is_new() {
    let a = start("a").await;
    for text in ["one", "two", "three"] {
        a.publish("news", text).await.unwrap();
    }
    let mut news = a.subscribe_with_history("news", 2).await.unwrap();
    a.publish("news", "four").await.unwrap();
    for expected in ["two", "three", "four"] {
        assert_eq!(text(&mut news).await, expected);
    }
}

#[tokio::test]
async fn a_store_that_is_full_refuses_at_once_or_waits() {
    let config = ConfigBuilder {
        payload_bytes_max: 1_000,
        history_bytes: 2_024,
        messages_bytes_max: 2_024,
        ..ConfigBuilder::local()
    };
    let a = node("a").config(config).start().await.unwrap();
    let error = a.publish("news", vec![0; 1_001]).await.unwrap_err();
    assert_eq!(error.to_string(), "payload is 1001 bytes, must be at most 1000 bytes");
    a.publish("news", vec![0; 900]).await.unwrap();
    let error = a.try_publish("other", vec![0; 900]).await.unwrap_err();
    assert!(matches!(error, RequestError::Refused(Refusal::Full { .. })), "{error}");
    let wait = tokio::time::timeout(Duration::from_millis(50), a.publish("other", vec![0; 900]));
    assert!(wait.await.is_err());
}

#[tokio::test]
async fn a_node_that_is_its_own_contact_joins_through_the_others() {
    let a = start("a").await;
    let b = start("b").await;
    let contacts = [b.local_address().to_string(), a.local_address().to_string()];
    assert_eq!(within(b.join(contacts)).await.unwrap(), a.local_address());
}

#[tokio::test]
async fn a_query_is_answered_by_handlers_and_ends_when_all_have_answered() {
    let (a, b) = (start("a").await, start("b").await);
    let mut events = a.events();
    join(&b, &a).await;
    until(&mut events, MemberChange::Joined, b.id()).await;
    let mut handlers = Vec::new();
    for node in [&a, &b] {
        let mut questions = node.on_query("load").await.unwrap();
        handlers.push(tokio::spawn(async move {
            let question = questions.next().await.unwrap();
            assert_eq!(question.from_name, "a");
            question.answer("0.5").await.unwrap();
        }));
    }
    let mut answers = a.query("load", "", Tags::new(), PATIENCE).await.unwrap();
    let mut from = Vec::new();
    while let Some(answer) = within(answers.next()).await {
        assert_eq!(answer.payload, b"0.5");
        from.push(answer.name);
    }
    from.sort();
    assert_eq!(from, ["a", "b"]);
    let summary = answers.summary().unwrap();
    assert_eq!((summary.asked, summary.estimated, summary.answered), (Some(2), false, 2));
    for handler in handlers {
        within(handler).await.unwrap();
    }
}

#[tokio::test]
async fn a_trace_names_the_way_of_a_message() {
    let (a, b) = (start("a").await, start("b").await);
    join(&b, &a).await;
    let mut news = b.subscribe("news").await.unwrap();
    let sequence = a.publish("news", "hi").await.unwrap();
    text(&mut news).await;
    let mut traces = a.trace("news", a.id(), sequence, PATIENCE).await.unwrap();
    let mut steps = Vec::new();
    while let Some(line) = within(traces.next()).await {
        steps.push((line.step.hop, line.name, line.from_name));
    }
    steps.sort();
    assert_eq!(steps, [(0, "a".to_owned(), None), (1, "b".to_owned(), Some("a".to_owned()))]);
}

#[tokio::test]
async fn who_leaves_is_known_to_have_left_and_its_handles_say_so() {
    let (a, b) = (start("a").await, start("b").await);
    let mut events = a.events();
    join(&b, &a).await;
    within(b.leave()).await.unwrap();
    until(&mut events, MemberChange::Left, b.id()).await;
    assert_eq!(within(b.stopped()).await, StopReason::Left);
    assert!(b.publish("news", "too late").await.is_err());
    let left = a.members().await.unwrap().into_iter().find(|member| member.id == b.id()).unwrap();
    assert_eq!(left.state, State::Left);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_node_and_all_that_reads_from_it() {
    let a = start("a").await;
    let mut events = a.events();
    let mut news = a.subscribe("news").await.unwrap();
    drop(a.clone());
    a.publish("news", "still here").await.unwrap();
    drop(a);
    assert_eq!(text(&mut news).await, "still here");
    assert!(within(news.next()).await.is_none());
    let mut last = None;
    while let Some(event) = within(events.next()).await {
        last = Some(event.unwrap().kind);
    }
    assert!(matches!(last, Some(EventKind::Stopped { reason: StopReason::Stopped })), "{last:?}");
}

#[tokio::test]
async fn a_restart_with_the_data_directory_is_the_same_member_in_a_higher_boot() {
    let directory = tempfile::tempdir().unwrap();
    let first = node("a").data_dir(directory.path()).start().await.unwrap();
    let id = first.id();
    assert!(first.is_durable());
    assert_eq!(boot(&first).await, 1);
    within(first.stop()).await;
    let second = node("a").data_dir(directory.path()).start().await.unwrap();
    assert_eq!(second.id(), id);
    assert_eq!(boot(&second).await, 2);
}

#[tokio::test]
async fn a_node_with_a_data_directory_finds_its_cluster_again_without_a_contact() {
    let directory = tempfile::tempdir().unwrap();
    let a = start("a").await;
    let b = node("b").data_dir(directory.path()).start().await.unwrap();
    let id = b.id();
    let mut events = a.events();
    // With the contact's answer it writes down whom it was told of, and it stops when all is written.
    join(&b, &a).await;
    until(&mut events, MemberChange::Joined, id).await;
    within(b.stop()).await;
    let _b = node("b").data_dir(directory.path()).start().await.unwrap();
    until(&mut events, MemberChange::Updated, id).await;
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = node("a").data_dir(directory.path()).start().await.unwrap();
    let error = node("b").data_dir(directory.path()).start().await.unwrap_err();
    assert!(matches!(error, StartError::DataDirInUse { .. }));
    assert_eq!((error.field(), error.value()), ("data_dir", directory.path().display().to_string()));
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let first = node("a").data_dir(directory.path()).start().await.unwrap();
    let id = first.id();
    within(first.stop()).await;
    std::fs::write(directory.path().join("store.redb"), "not a database").unwrap();
    let builder = node("a").data_dir(directory.path());
    let mut events = builder.events();
    let second = builder.start().await.unwrap();
    assert_ne!(second.id(), id);
    let first_event = within(events.next()).await.unwrap().unwrap();
    assert!(matches!(first_event.kind, EventKind::Warning(_)), "{first_event:?}");
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_the_setting_and_its_value() {
    let a = start("a").await;
    let address = a.local_address().to_string();
    let error = Cluster::builder("b").bind(&address).start().await.unwrap_err();
    assert!(matches!(error, StartError::PortInUse { .. }));
    assert_eq!((error.field(), error.value()), ("bind", address));
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_field() {
    let long = "n".repeat(129);
    let wrong_config = ConfigBuilder { fanout: 0, ..ConfigBuilder::local() };
    for (builder, field) in [
        (node(&long), "name"),
        (node("a").cluster("two\nlines"), "cluster"),
        (node("a").config(wrong_config), "fanout"),
        (node("a").bind("nowhere:port"), "bind"),
        (node("a").join(["1.2.3.4:99999"]), "join"),
        (node("a").advertise("0.0.0.0:1"), "advertise"),
        (node("a").tag("", "empty"), "tags"),
        (node("a").bind("0.0.0.0:0").allow_faults(), "allow_faults"),
    ] {
        assert_eq!(builder.start().await.unwrap_err().field(), field);
    }
}

#[tokio::test]
async fn a_contact_that_does_not_resolve_is_reported_and_tried_again() {
    let builder = node("a").join(["no-such-host.invalid"]);
    let mut events = builder.events();
    let a = builder.start().await.unwrap();
    let mut failures = 0;
    while failures < 2 {
        let event = within(events.next()).await.unwrap().unwrap();
        if let EventKind::ContactFailed { contact, .. } = event.kind {
            assert_eq!(contact, "no-such-host.invalid:4747");
            failures += 1;
        }
    }
    assert_eq!(a.members().await.unwrap().len(), 1);
}

#[tokio::test]
async fn nodes_that_are_cut_off_lose_each_other_and_find_each_other_again() {
    let millis = Duration::from_millis;
    let quick = ConfigBuilder {
        probe_interval: millis(300),
        suspicion_timeout_min: millis(300),
        suspicion_timeout_log: Duration::ZERO,
        ..ConfigBuilder::local()
    };
    let a = node("a").config(quick.clone()).allow_faults().start().await.unwrap();
    let b = node("b").config(quick).allow_faults().start().await.unwrap();
    let mut at_a = a.events();
    let mut at_b = b.events();
    join(&b, &a).await;
    until(&mut at_a, MemberChange::Joined, b.id()).await;

    let faults = a.faults().unwrap();
    faults.cut([b.local_address()]);
    until(&mut at_a, MemberChange::Failed, b.id()).await;
    until(&mut at_b, MemberChange::Failed, a.id()).await;
    faults.heal();
    until(&mut at_a, MemberChange::Joined, b.id()).await;
    until(&mut at_b, MemberChange::Joined, a.id()).await;
}

#[tokio::test]
async fn ipv6_works_as_well() {
    let a = Cluster::builder("a").bind("[::1]:0").start().await.unwrap();
    let b = Cluster::builder("b").bind("[::1]:0").start().await.unwrap();
    join(&b, &a).await;
    let mut news = b.subscribe("news").await.unwrap();
    a.publish("news", "hi").await.unwrap();
    assert_eq!(text(&mut news).await, "hi");
}

#[tokio::test]
async fn requests_wait_for_the_node_up_to_a_bound_and_their_callers_beyond_it() {
    let a = start("a").await;
    let asking: Vec<_> = (0..200)
        .map(|_| {
            let a = a.clone();
            tokio::spawn(async move { a.limits().await.unwrap() })
        })
        .collect();
    let mut highest = 0;
    for asking in asking {
        let limits = within(asking).await.unwrap();
        let requests = limits.iter().find(|limit| limit.what == "requests").unwrap();
        assert!(requests.held <= requests.most && requests.most == 64, "{requests:?}");
        highest = highest.max(requests.held);
    }
    // The one that asks is not waiting any more.
    assert_eq!(highest, 63);
}
