//! What a table tells of itself: its commits, its columns, its size.

use domain::Feed;
use lake::operations::describe::describe;
use lake::operations::history::history;

use super::{append, compacted, state, table};
use crate::support::*;

#[tokio::test]
async fn commits_are_told_newest_first_with_what_they_did() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    let batch = Draft::new(1).range(0, None, 30).bad([(0, 3)]).stage(&lake).await;
    must_commit(&lake, &batch).await;
    append(&lake, 1, 30).await;
    let report = compacted(&lake, SALES).await;
    let commits = history(&table(&lake, SALES), 100).await.expect("history");
    let versions: Vec<_> = commits.iter().map(|commit| commit.version).collect();
    assert_eq!(versions, (0..=6).rev().collect::<Vec<_>>());
    assert!(commits.iter().all(|commit| commit.committed_at.is_some()), "{commits:?}");

    let rewrites = &commits[..3];
    assert!(
        rewrites.iter().all(|c| c.operation.as_deref() == Some("OPTIMIZE") && c.rows_added == c.rows_removed)
    );
    assert_eq!(rewrites.iter().map(|c| c.files_removed).sum::<usize>(), report.files_before);
    assert_eq!(rewrites.iter().filter_map(|c| c.rows_added).sum::<u64>(), 59);
    assert_eq!(rewrites.iter().map(|c| c.bytes_removed).sum::<u64>(), report.bytes_before);
    assert_eq!(rewrites[0].transactions[0].0, "rewrite/curated.sales");

    let first = &commits[4];
    assert_eq!(first.operation.as_deref(), Some("WRITE"));
    assert_eq!((first.files_added, first.files_removed), (3, 0));
    assert_eq!((first.rows_added, first.rows_removed), (Some(29), Some(0)));
    assert_eq!(first.commit_id, Some(batch.id.to_string()));
    assert_eq!(first.transactions, [("main/retail.sales.v1/1/0".to_owned(), 30)]);
    assert_eq!(commits[6].operation.as_deref(), Some("CREATE TABLE"));

    assert_eq!(history(&table(&lake, SALES), 2).await.expect("history"), commits[..2]);
    // Where entries have expired, history ends.
    (0..3).for_each(|version| std::fs::remove_file(entry(&lake, SALES, version)).expect("an entry"));
    assert_eq!(history(&table(&lake, SALES), 100).await.expect("history"), commits[..4]);
}

#[tokio::test]
async fn a_description_names_columns_size_and_positions() {
    let folder = folder();
    let lake = lake_with_log(folder.path()).await;
    append(&lake, 2, 30).await;
    let description = describe(&table(&lake, SALES)).await.expect("a description");
    assert_eq!((description.name.as_str(), description.comment.as_str()), (SALES, Feed::Sales.comment()));
    let columns = Feed::Sales.columns();
    assert_eq!(description.columns.len(), columns.len() + 1, "the feed's columns and the period");
    for (described, column) in description.columns.iter().zip(&columns) {
        assert_eq!(
            (described.name.as_str(), described.nullable, described.comment.as_str()),
            (column.name, column.nullable, column.comment)
        );
    }
    let of = |name: &str| description.columns.iter().find(|column| column.name == name).expect("a column");
    assert_eq!(of("quantity").data_type, "decimal(18,3)");
    assert_eq!(of("occurred_at").data_type, "timestamp");
    assert_eq!(description.partitioned_by, ["period"]);

    let log = state(&lake, SALES).await;
    assert_eq!((description.size.version, description.size.files), (log.version(), 6));
    assert_eq!(description.size.rows, Some(60));
    assert!(description.size.bytes > 0);
    assert!(description.properties.contains(&("intellicartel.contract".to_owned(), "4".to_owned())));
    assert!(description.transactions.contains(&("main/retail.sales.v1/1/0".to_owned(), 60)));
}
