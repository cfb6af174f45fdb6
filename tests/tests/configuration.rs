//! Settings: which layer wins, where secrets come from, and that no secret is shown.

use tests::world::World;

const KEY: &str = "INTELLICARTEL__S3__SECRET_ACCESS_KEY";
const KEY_FILE: &str = "INTELLICARTEL__S3__SECRET_ACCESS_KEY_FILE";
const HUSH: &str = "hush-hush-hush";

/// A world whose environment says nothing of S3's secret.
fn world() -> World {
    let mut world = World::on_folder();
    world.unset(KEY);
    world
}

fn write(world: &World, name: &str, text: &str) -> String {
    let path = world.path(name);
    std::fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_later_layer_wins() {
    let mut world = World::on_folder();
    let shown = |world: &World, arguments: &[&str]| {
        let shown =
            world.run(&[&["config", "print", "--redacted"], arguments].concat()).expect_success().stdout;
        let line = shown.lines().find_map(|line| line.strip_prefix("listen = "));
        line.expect("the setting is shown").trim_matches('"').to_owned()
    };
    assert_eq!(shown(&world, &[]), "127.0.0.1:8080");
    write(&world, "intellicartel.toml", "[http]\nlisten = \"127.0.0.1:1\"\n");
    assert_eq!(shown(&world, &[]), "127.0.0.1:1");
    let named = write(&world, "other.toml", "[http]\nlisten = \"127.0.0.1:2\"\n");
    assert_eq!(shown(&world, &["--config", &named]), "127.0.0.1:2");
    world.set("INTELLICARTEL__HTTP__LISTEN", "127.0.0.1:3");
    assert_eq!(shown(&world, &["--config", &named]), "127.0.0.1:3");
    assert_eq!(shown(&world, &["--set", "http.listen=127.0.0.1:4"]), "127.0.0.1:4");
    assert_eq!(
        shown(&world, &["--set", "http.listen=127.0.0.1:4", "--set", "http.listen=127.0.0.1:5"]),
        "127.0.0.1:5"
    );
    let around = ["--set", "kafka.prefix=a", "config", "--set", "http.listen=127.0.0.1:6"];
    let shown = world.run(&around).expect_success().stdout;
    assert!(shown.contains("prefix = \"a\"") && shown.contains("127.0.0.1:6"), "{shown}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let serve = ["serve", "--set", "http.listen=127.0.0.1:4", "--listen", &address];
    world.set("INTELLICARTEL__LAKE__ROOT", &world.path("").to_string_lossy());
    let _ = world.run(&serve).expect_failure(&[&address, "--listen", "http.listen"]);
}

#[test]
fn what_is_not_a_setting_is_named() {
    let world = World::on_folder();
    for (arguments, words) in [
        (["--set", "ingest.flush_seconds=1"], ["there is no setting `ingest.flush_seconds`", "flush_ms"]),
        (["--set", "injest.flush_ms=1"], ["there is no setting `injest`", "ingest"]),
        (["--set", "ingest.flush_ms=soon"], ["ingest.flush_ms", "soon"]),
        (["--set", "http.listen"], ["--set", "SECTION.KEY=VALUE"]),
        (["--config", "nowhere.toml"], ["nowhere.toml", "No such file"]),
    ] {
        let refused = world.run(&[&["config"], &arguments[..]].concat()).expect_failure(&words);
        assert_eq!((refused.status.code(), refused.stdout.as_str()), (Some(2), ""), "{arguments:?}");
    }
}

#[test]
fn a_group_that_cannot_be_is_refused_with_the_way_on() {
    let world = World::on_folder();
    for (arguments, words) in [
        (&["ingest.group_instance=a"][..], ["ingest.group_instance is `a`", "ingest.group is empty"]),
        (
            &["ingest.group=loaders", "kafka.brokers=embedded"],
            ["ingest.group is `loaders`", "kafka.brokers is `embedded`"],
        ),
        (&["ingest.group=our loaders"], ["ingest.group `our loaders`", "A-Z"]),
    ] {
        let flags: Vec<&str> = arguments.iter().flat_map(|setting| ["--set", setting]).collect();
        let refused = world.run(&[&["ingest"], &flags[..]].concat()).expect_failure(&words);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let mut world = world();
    let file = write(&world, "secret", &format!("{HUSH}\n"));
    world.set(KEY_FILE, &file);
    let shown = world.run(&["config"]).expect_success().stdout;
    assert!(shown.contains(&format!("secret_access_key = \"(from file {file})\"")), "{shown}");
    world.unset(KEY_FILE);
    write(&world, "intellicartel.toml", &format!("[s3]\nsecret_access_key_file = \"{file}\"\n"));
    assert!(world.run(&["config"]).expect_success().stdout.contains(&file));
    world.set(KEY, HUSH);
    expect_silent_refusal(&world, &[KEY, KEY_FILE, "s3.secret_access_key_file", "both"]);
    write(&world, "intellicartel.toml", "");
    let shown = world.run(&["config"]).expect_success().stdout;
    assert!(shown.contains("secret_access_key = \"(set)\"") && !shown.contains(HUSH), "{shown}");
}

#[test]
fn secrets_that_cannot_be_read_are_refused_without_being_shown() {
    let mut world = world();
    let empty = write(&world, "empty", "\n");
    let binary = world.path("binary");
    std::fs::write(&binary, [HUSH.as_bytes(), &[0xff]].concat()).expect("a file");
    let files =
        [empty.as_str(), "/nowhere/secret", &world.path("").to_string_lossy(), &binary.to_string_lossy()]
            .map(ToOwned::to_owned);
    for file in &files {
        world.set(KEY_FILE, file);
        expect_silent_refusal(&world, &[KEY_FILE, file]);
    }
    world.unset(KEY_FILE);
    world.set(KEY, "");
    expect_silent_refusal(&world, &[KEY, "is empty"]);
    world.unset(KEY);
    write(&world, "intellicartel.toml", &format!("[s3]\nsecret_access_key = \"{HUSH}\n"));
    expect_silent_refusal(&world, &["intellicartel.toml", "line 2"]);
    write(&world, "intellicartel.toml", "");
    let given = format!("s3.secret_access_key={HUSH}");
    let refused =
        world.run(&["config", "--set", &given]).expect_failure(&["--set s3.secret_access_key", KEY]);
    assert!(!refused.stderr.contains(HUSH), "{}", refused.stderr);
}

fn expect_silent_refusal(world: &World, words: &[&str]) {
    let refused = world.run(&["config"]).expect_failure(words);
    assert_eq!(refused.status.code(), Some(2));
    assert!(!refused.stderr.contains(HUSH) && refused.stdout.is_empty(), "{refused:?}");
}
