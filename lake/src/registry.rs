//! What happened to models, in `ops.model_versions`: an event is a row, added on the very state whose last event has the number before it.

use async_trait::async_trait;
use domain::Result;
use domain::ports::ModelRegistry;
use domain::registry::{ModelEvent, ModelHistory};

use crate::lake::Lake;
use crate::read::read_file;
use crate::replace::{Request, replace};
use crate::stage::write_files;
use crate::tables;

/// The application transaction that holds the number of the last event.
const LAST_EVENT: &str = "model_events";

#[async_trait]
impl ModelRegistry for Lake {
    async fn model_history(&self, tenant: Option<&str>) -> Result<ModelHistory> {
        let table = self.table(&tables::model_versions().qualified_name())?;
        let log = table.snapshot().await?;
        let store = table.log_store().object_store(None);
        let mut events = Vec::new();
        for file in log.files().values() {
            for batch in read_file(&store, file, &[]).await? {
                events.extend(tables::model_events(&batch)?);
            }
        }
        events.retain(|event| tenant.is_none_or(|tenant| event.tenant == tenant));
        events.sort_unstable_by_key(|event| event.number);
        Ok(ModelHistory { last: log.transaction(LAST_EVENT).unwrap_or_default(), events })
    }

    async fn add_model_event(&self, event: &ModelEvent) -> Result<()> {
        let table = self.table(&tables::model_versions().qualified_name())?;
        let rows = vec![(String::new(), tables::model_event_row(event)?)];
        let files = write_files(&table.log_store().object_store(None), table.definition(), rows).await?;
        let seen = Some(event.number - 1).filter(|last| *last > 0);
        let transactions = vec![(LAST_EVENT.to_owned(), seen, event.number)];
        replace(table, Request { rows: None, files, transactions }).await?;
        Ok(())
    }
}
