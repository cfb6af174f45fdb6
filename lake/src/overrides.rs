//! Planners' words into `marts.forecast_overrides`: added, never changed.

use async_trait::async_trait;
use domain::planning::Override;
use domain::ports::OverrideSink;
use domain::{Error, Result};

use crate::lake::Lake;
use crate::replace::{Request, replace};
use crate::stage::write_files;
use crate::tables;

#[async_trait]
impl OverrideSink for Lake {
    async fn add_overrides(&self, overrides: &[Override]) -> Result<u64> {
        let is_sound = |of: &&Override| of.units.is_none_or(|units| units.is_finite() && units >= 0.0);
        if overrides.is_empty() || !overrides.iter().all(|of| is_sound(&of)) {
            return Err(Error::invalid("overrides: give one at least, of units that are 0 or more"));
        }
        let table = self.table(&tables::overrides().qualified_name())?;
        let rows = tables::override_rows(overrides)?;
        let files = write_files(&table.log_store().object_store(None), table.definition(), rows).await?;
        Ok(replace(table, Request { rows: None, files, transactions: Vec::new() }).await?.version)
    }
}
