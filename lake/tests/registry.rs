//! What happened to models, in `ops.model_versions`: each event once, in one order, whoever adds them.

mod support;

use std::sync::Arc;

use domain::ErrorKind;
use domain::forecast::Backtest;
use domain::ports::ModelRegistry;
use domain::registry::{ModelAction, ModelEvent, ModelHistory};
use futures::future::join_all;
use support::*;

fn event(number: i64, tenant: &str, action: ModelAction) -> ModelEvent {
    ModelEvent {
        number,
        tenant: tenant.to_owned(),
        at: 1_700_000_000_000_000 + number,
        action,
        model_version: format!("{number:064}"),
        served_version: (number > 1).then(|| format!("{:064}", number - 1)),
        reason: "it's \"better\"\nby far".to_owned(),
        parent: (number > 2).then(|| "0f".repeat(32)),
        origin: (number > 1).then(|| "2011-12-09".parse().expect("a date")),
        backtest: Backtest { wape: Some(0.5), naive_wape: None, coverage_80: Some(0.75), n: 112 },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_back_as_they_were_added() {
    let folder = folder();
    let lake = open(folder.path()).await;
    assert_eq!(lake.model_history(None).await.expect("a history"), ModelHistory::default());
    let events = [
        event(1, "gift-uk", ModelAction::Held),
        event(2, "o'neil", ModelAction::Promoted),
        event(3, "gift-uk", ModelAction::RolledBack),
    ];
    for event in &events {
        lake.add_model_event(event).await.expect("it is added");
    }
    // Another process reads the same.
    for lake in [lake, open(folder.path()).await] {
        let all = lake.model_history(None).await.expect("a history");
        assert_eq!((all.last, all.events.as_slice()), (3, events.as_slice()));
        let own = lake.model_history(Some("o'neil")).await.expect("a history");
        assert_eq!((own.last, own.events.as_slice()), (3, &events[1..2]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_one_number_the_second_is_told_to_look_again() {
    let folder = folder();
    let lakes = join_all((0..4).map(|_| open(folder.path()))).await;
    for number in 1..=5 {
        let adds = lakes.iter().zip(["a", "b", "c", "d"]).map(|(lake, tenant)| {
            let lake = Arc::clone(lake);
            async move { lake.add_model_event(&event(number, tenant, ModelAction::Promoted)).await }
        });
        let added = join_all(adds).await;
        let refused: Vec<ErrorKind> =
            added.iter().filter_map(|added| Some(added.as_ref().err()?.kind())).collect();
        assert_eq!(refused, [ErrorKind::Conflict; 3], "{number}");
    }
    let history = lakes[0].model_history(None).await.expect("a history");
    let numbers: Vec<i64> = history.events.iter().map(|event| event.number).collect();
    assert_eq!((history.last, numbers), (5, vec![1, 2, 3, 4, 5]));
    let skipped = lakes[0].add_model_event(&event(7, "a", ModelAction::Promoted)).await;
    assert_eq!(skipped.expect_err("a gap").kind(), ErrorKind::Conflict);
}
