//! The database of real nodes on real sockets of this machine.

mod support;

use std::time::Duration;

use rumormill::data::{ChangeKind, Condition, Edit, Kind, News, Value, Watch, Write};
use rumormill::{Cluster, ConfigBuilder, Data, MemberChange, Refusal, WriteError};
use support::{PATIENCE, join, node, start, until, within};

/// Two nodes that know each other.
async fn pair() -> (Cluster, Cluster) {
    let (a, b) = (start("a").await, start("b").await);
    acquaint(&a, &b).await;
    (a, b)
}

async fn acquaint(a: &Cluster, b: &Cluster) {
    let mut events = a.events();
    join(b, a).await;
    until(&mut events, MemberChange::Joined, b.id()).await;
}

/// The next news as text: the key with what it holds, and by whom.
async fn news(watch: &mut Watch) -> String {
    within(watch.next()).await.expect("the node runs").to_string()
}

/// What a key holds, as text.
fn shown(data: &Data, key: &str) -> Option<String> {
    data.get(key).map(|entry| entry.value.to_string())
}

#[tokio::test]
async fn what_one_node_writes_another_is_told_and_reads() {
    let (a, b) = pair().await;
    let mut watch = b.data().watch("").await.unwrap();
    let data = a.data();
    for (write, expected) in [
        (data.put("color", "green"), "color = green (a)"),
        (data.add("hits", 3), "hits = 3 (a)"),
        (data.add("hits", -5), "hits = -2 (a)"),
        (data.insert("tags", "new"), "tags = {new} (a)"),
        (data.delete("color"), "color was deleted (a)"),
    ] {
        let written = write.await.unwrap();
        assert!(!written.durable, "there is no data directory");
        assert_eq!(news(&mut watch).await, expected);
    }
    assert_eq!(shown(&b.data(), "hits").unwrap(), "-2");
    assert_eq!(b.data().get("color"), None);
}

#[tokio::test]
async fn adds_of_two_nodes_at_once_all_count() {
    let (a, b) = pair().await;
    let mut watch = a.data().watch("hits").await.unwrap();
    for _ in 0..20 {
        let (one, other) = (a.data(), b.data());
        let (one, other) = tokio::join!(async { one.add("hits", 1).await }, async { other.add("hits", 10).await });
        assert!(one.is_ok() && other.is_ok());
    }
    while shown(&a.data(), "hits").as_deref() != Some("220") {
        news(&mut watch).await;
    }
}

#[tokio::test]
async fn a_write_waits_for_the_disks_of_others_and_says_how_many_have_it() {
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let started = directories
        .iter()
        .zip(["a", "b", "c"])
        .map(|(directory, name)| async { node(name).data_dir(directory.path()).start().await.unwrap() });
    let mut nodes = Vec::new();
    for started in started {
        nodes.push(started.await);
    }
    let in_memory = start("d").await;
    let [a, b, c] = [&nodes[0], &nodes[1], &nodes[2]];
    for other in [b, c, &in_memory] {
        acquaint(a, other).await;
    }
    let written = a.data().put("color", "green").replicas(2).timeout(PATIENCE).await.unwrap();
    assert_eq!((written.durable, written.replicas, written.wanted), (true, 2, 2));
    assert!([b, c].iter().all(|other| shown(&other.data(), "color").as_deref() == Some("green")));

    // The fourth has no disk, so that three cannot confirm.
    let error = a.data().put("color", "blue").replicas(3).timeout(Duration::from_millis(200)).await.unwrap_err();
    let WriteError::Unconfirmed(written) = &error else { panic!("{error}") };
    assert!(written.durable && written.replicas < 3, "{written:?}");
    let sentence =
        format!("written here, but confirmed by {} of 3 other nodes in time; it goes on spreading", written.replicas);
    assert_eq!(error.to_string(), sentence);
    // What keeps nothing itself asks no more of others.
    let written = in_memory.data().put("color", "red").replicas(3).timeout(PATIENCE).await.unwrap();
    assert_eq!((written.durable, written.replicas), (false, 3));
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = node("a").data_dir(directory.path()).start().await.unwrap();
    let data = first.data();
    assert!(data.put("color", "green").await.unwrap().durable);
    data.add("hits", 7).await.unwrap();
    data.insert("tags", "x").await.unwrap();
    drop(data);
    within(first.stop()).await;
    let second = node("a").data_dir(directory.path()).start().await.unwrap();
    let entries: Vec<String> = second.data().list("").map(|entry| entry.to_string()).collect();
    assert_eq!(entries, ["color = green", "hits = 7", "tags = {x}"]);
}

#[tokio::test]
async fn a_watcher_that_was_away_gets_what_it_missed_or_is_told_to_reload() {
    let a = start("a").await;
    let data = a.data();
    let mut watch = data.watch("flags/").await.unwrap();
    data.put("flags/one", "on").await.unwrap();
    data.put("other", "x").await.unwrap();
    assert_eq!(news(&mut watch).await, "flags/one = on (a)");
    let position = watch.position();
    drop(watch);

    data.put("flags/one", "off").await.unwrap();
    data.delete("flags/one").await.unwrap();
    let mut watch = data.watch_since("flags/", position).await.unwrap();
    assert_eq!(watch.position(), position, "nothing was read yet");
    data.put("flags/two", "on").await.unwrap();
    for expected in ["flags/one = off (a)", "flags/one was deleted (a)", "flags/two = on (a)"] {
        assert_eq!(news(&mut watch).await, expected);
    }
    assert_eq!(watch.position(), data.position().await.unwrap());

    let b = start("b").await;
    let mut elsewhere = b.data().watch_since("flags/", position).await.unwrap();
    let Some(News::Reload(position)) = within(elsewhere.next()).await else { panic!("it must reload") };
    assert_eq!(position, b.data().position().await.unwrap());
    b.data().put("flags/three", "on").await.unwrap();
    assert_eq!(news(&mut elsewhere).await, "flags/three = on (b)");
}

#[tokio::test]
async fn a_position_is_too_old_once_more_has_changed_than_is_kept() {
    let config = ConfigBuilder { watch_changes: 2, ..ConfigBuilder::local() };
    let a = node("a").config(config).start().await.unwrap();
    let data = a.data();
    let position = data.position().await.unwrap();
    for value in ["one", "two", "three"] {
        data.put("key", value).await.unwrap();
    }
    let mut watch = data.watch_since("", position).await.unwrap();
    assert!(matches!(within(watch.next()).await, Some(News::Reload(_))));
}

#[tokio::test]
async fn a_value_runs_out_everywhere() {
    let (a, b) = pair().await;
    let mut watch = b.data().watch("session/").await.unwrap();
    let written = a.data().put("session/7", "ann").ttl(Duration::from_millis(100)).await.unwrap();
    assert!(written.holds.unwrap().expires.is_some());
    assert_eq!(news(&mut watch).await, "session/7 = ann (a)");
    let Some(News::Change(expired)) = within(watch.next()).await else { panic!("it runs out") };
    assert_eq!((expired.change.change, expired.author_name), (ChangeKind::Expire, None));
    assert_eq!(b.data().get("session/7"), None);
}

#[tokio::test]
async fn types_of_the_application_are_kept_as_json() {
    let a = start("a").await;
    let data = a.data();
    data.put_as("limits", &(10, "soft")).await.unwrap();
    assert_eq!(shown(&data, "limits").unwrap(), r#"[10,"soft"]"#);
    assert_eq!(data.get_as("limits"), Ok(Some((10, "soft".to_owned()))));
    assert_eq!(data.get_as::<u32>("nothing"), Ok(None));
    data.add("hits", 3).await.unwrap();
    assert_eq!(data.get_as("hits"), Ok(Some(3)));
    data.insert("tags", "b").await.unwrap();
    data.insert("tags", "a").await.unwrap();
    assert_eq!(data.get_as("tags"), Ok(Some(["a".to_owned(), "b".to_owned()])));

    let error = data.get_as::<bool>("limits").unwrap_err();
    assert_eq!((&*error.key, error.kind), ("limits", Kind::Register));
    assert!(error.to_string().starts_with("\"limits\" holds a register that is no bool: "), "{error}");
    let no_text = std::collections::BTreeMap::from([(vec![1], 1)]);
    let error = data.put_as("map", &no_text).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused(Refusal::Invalid { field: "value", .. })), "{error}");
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_field_value_and_rule_and_changes_nothing() {
    let config = ConfigBuilder { value_bytes_max: 1_000, data_bytes_max: 3_000, ..ConfigBuilder::local() };
    let a = node("a").config(config).start().await.unwrap();
    let data = a.data();
    data.add("hits", 1).await.unwrap();
    data.put("color", "green").await.unwrap();
    let position = data.position().await.unwrap();
    for (write, expected) in [
        (data.put("", "x"), "key is 0 bytes, must be 1 to 512 bytes"),
        (data.put("k".repeat(513), "x"), "key is 513 bytes, must be 1 to 512 bytes"),
        (data.put("k", vec![0; 1_001]), "value is 1001 bytes, must be 0 to 1000 bytes"),
        (data.insert("set", vec![0; 513]), "element is 513 bytes, must be 1 to 512 bytes"),
        (data.put("hits", "x"), "\"hits\" is a counter, which is no register; delete it first"),
        (data.add("color", 1), "\"color\" is a register, which is no counter; delete it first"),
        (data.insert("color", "x"), "\"color\" is a register, which is no set; delete it first"),
        (data.delete("nothing"), "no key \"nothing\""),
        (data.remove_element("set", "x"), "no element \"x\""),
        (data.put("k", "x").ttl(Duration::ZERO), "ttl is 0s, must be above zero and at most ten years"),
        (data.delete("color").ttl(PATIENCE), "ttl is 30s, must be left out where nothing is put"),
    ] {
        assert_eq!(write.await.unwrap_err().to_string(), expected);
    }
    assert_eq!(data.position().await.unwrap(), position);
    let full = data.write((0..3).map(|n| Write::new(format!("k{n}"), put(vec![0; 1_000]))).collect()).await;
    let Err(WriteError::Refused(Refusal::At { place: 2, refusal })) = full else { panic!("{full:?}") };
    assert!(matches!(*refusal, Refusal::DataFull { limit: 3_000, .. }), "{refusal}");
    assert_eq!(data.position().await.unwrap(), position);
}

fn put(value: impl Into<Vec<u8>>) -> Edit {
    Edit::Put { value: value.into(), ttl: None }
}

#[tokio::test]
async fn conditions_compare_with_what_this_node_holds() {
    let a = start("a").await;
    let data = a.data();
    let first = data.put("color", "green").if_absent().await.unwrap().holds.unwrap();
    assert!(data.put("color", "red").if_absent().await.is_err());
    let second = data.put("color", "blue").if_revision(first.revision).await.unwrap().holds.unwrap();
    let error = data.put("color", "red").if_revision(first.revision).await.unwrap_err();
    let WriteError::Refused(Refusal::Mismatch { actual, expected, .. }) = error else { panic!("{error}") };
    assert_eq!((actual, expected), (Some(second.revision), Some(first.revision)));
    assert_eq!(shown(&data, "color").unwrap(), "blue");
}

#[tokio::test]
async fn several_writes_are_made_together_or_not_at_all() {
    let a = start("a").await;
    let data = a.data();
    let writes = vec![
        Write::new("one", put("1")),
        Write::new("two", Edit::Add { amount: 2 }),
        Write { condition: Condition::Absent, ..Write::new("one", put("again")) },
    ];
    let error = data.write(writes.clone()).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused(Refusal::At { place: 2, .. })), "{error}");
    assert_eq!(data.list("").count(), 0);
    data.write(writes[..2].to_vec()).await.unwrap();
    assert_eq!(data.list("").map(|entry| entry.key).collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test]
async fn many_writes_are_checked_before_they_are_made_in_pieces() {
    let config = ConfigBuilder { value_bytes_max: 1_000, data_bytes_max: 1_000_000, ..ConfigBuilder::local() };
    let a = node("a").config(config).start().await.unwrap();
    let data = a.data();
    data.add("hits", 1).await.unwrap();
    let position = data.position().await.unwrap();
    let many = |count: usize| (0..count).map(|n| Write::new(format!("many/{n:05}"), put("x"))).collect::<Vec<_>>();
    for (count, bad, place) in [
        (2_001, Write::new("hits", put("x")), 2_001),
        (2_500, Write::new("k".repeat(513), put("x")), 2_500),
        (500, Write::new("k", put(vec![0; 1_001])), 500),
    ] {
        let error = data.write([many(count), vec![bad]].concat()).in_pieces().await.unwrap_err();
        let WriteError::Refused(Refusal::At { place: at, .. }) = error else { panic!("{error}") };
        assert_eq!(at, place);
    }
    // Each piece would have room, but not all of them.
    let error = data.write(many(8_000)).in_pieces().await.unwrap_err();
    let WriteError::Refused(Refusal::At { refusal, .. }) = error else { panic!("{error}") };
    assert!(matches!(*refusal, Refusal::DataFull { .. }), "{refusal}");
    assert_eq!(data.position().await.unwrap(), position, "nothing was made");
    data.write(many(2_500)).in_pieces().await.unwrap();
    assert_eq!(data.list("many/").count(), 2_500);
}

#[tokio::test]
async fn what_was_read_on_one_cluster_is_restored_on_another() {
    let (from, to) = (start("a").await, start("b").await);
    let data = from.data();
    data.put("color", "green").await.unwrap();
    data.put("session", "ann").ttl(PATIENCE).await.unwrap();
    data.add("hits", -3).await.unwrap();
    data.insert("tags", "x").await.unwrap();
    let restored = to.data();
    restored.add("hits", 10).await.unwrap();
    restored.insert("tags", "y").await.unwrap();
    restored.restore(data.list("")).await.unwrap();
    let held = |data: &Data| data.list("").map(|entry| (entry.key, entry.value, entry.expires)).collect::<Vec<_>>();
    assert_eq!(held(&restored), held(&data));
}

#[tokio::test]
async fn a_long_list_is_read_in_pieces_and_is_whole_and_sorted() {
    let a = start("a").await;
    let data = a.data();
    let keys: Vec<String> = (0..2_500).map(|n| format!("list/{n:04}")).collect();
    data.write(keys.iter().map(|key| Write::new(key, put("x"))).collect()).await.unwrap();
    data.put("lisu", "x").await.unwrap();
    let page = data.page("list/", Some("list/1200"));
    assert_eq!((page.entries.len(), page.entries[0].key.as_str()), (1_000, "list/1201"));
    assert_eq!(page.next.as_deref(), Some("list/2200"));
    assert_eq!(data.list("list/").map(|entry| entry.key).collect::<Vec<_>>(), keys);
    // Deleted keys are no end of the list.
    data.write(keys[..2_400].iter().map(|key| Write::new(key, Edit::Delete)).collect()).await.unwrap();
    assert_eq!(data.list("list/").map(|entry| entry.key).collect::<Vec<_>>(), keys[2_400..]);
}

#[tokio::test]
async fn reads_outlive_the_node_and_writes_do_not() {
    let a = start("a").await;
    let data = a.data();
    data.put("color", "green").await.unwrap();
    let mut watch = data.watch("").await.unwrap();
    within(a.leave()).await.unwrap();
    within(a.stopped()).await;
    assert_eq!(data.get("color").unwrap().value, Value::Register(b"green".to_vec()));
    assert!(matches!(data.put("color", "red").await, Err(WriteError::Closed(_))));
    assert!(within(watch.next()).await.is_none());
    assert!(data.watch("").await.is_err());
}
